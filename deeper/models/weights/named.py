"""Published weights by name: where they are at home, and the hash that a download must have.

A hash stands here only where its publisher, or someone who checks it in code of theirs, has made it public: a whole
SHA-256, Keras' MD5, or the first eight digits of the SHA-256 that torchvision and timm put into a file's name. Weights
without any are named too, but they are not fetched: the error says where to take them from, and a file that one has
fetched oneself is read like any other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deeper import download
from deeper.errors import DownloadError, UsageError, nearest, printable
from deeper.models.weights.look import Look

_IMAGENET = Look(mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225), resample="bicubic")
_PYTORCH = "https://download.pytorch.org/models"
_TIMM = "https://github.com/rwightman/pytorch-image-models/releases/download"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_SLIM = "http://download.tensorflow.org/models"


@dataclass(frozen=True, kw_only=True)
class Named:
    """Weights with a name.

    `sha256`: whole, or its first eight digits; `md5`: where that is what is known. `checked_by`: where the hash is
    public. `look`: where it differs from the source's.
    """

    model: str
    url: str
    sha256: str = ""
    md5: str = ""
    checked_by: str = ""
    look: Look | None = None

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]


_SHA256 = partial(hashlib.new, "sha256")
# Against damage, not against forgers: it is what Keras itself checks.
_MD5 = partial(hashlib.new, "md5", usedforsecurity=False)

NAMED: dict[str, Named] = {
    "torchvision/inception_v3": Named(
        model="inception_v3",
        url=f"{_PYTORCH}/inception_v3_google-0cc3c7bd.pth",
        sha256="0cc3c7bd",
        checked_by="torchvision's file name (torchvision.models.Inception_V3_Weights)",
    ),
    "torchvision/inception_v1": Named(
        model="inception_v1",
        url=f"{_PYTORCH}/googlenet-1378be20.pth",
        sha256="1378be20",
        checked_by="torchvision's file name (torchvision.models.GoogLeNet_Weights)",
    ),
    "timm/inception_v3.tv_in1k": Named(
        model="inception_v3",
        url=f"{_PYTORCH}/inception_v3_google-1a9a5a14.pth",
        sha256="1a9a5a14f40645a370184bd54f4e8e631351e71399112b43ad0294a79da290c8",
        checked_by="openvinotoolkit/open_model_zoo, models/public/googlenet-v3-pytorch/model.yml",
        look=Look(resample="bicubic"),
    ),
    "timm/inception_v3.tf_in1k": Named(
        model="inception_v3",
        url=f"{_TIMM}/v0.1-weights/tf_inception_v3-e0069de4.pth",
        sha256="e0069de4",
        checked_by="timm's file name",
    ),
    "timm/inception_v3.gluon_in1k": Named(
        model="inception_v3",
        url=f"{_TIMM}/v0.1-weights/gluon_inception_v3-9f746940.pth",
        sha256="9f746940",
        checked_by="timm's file name",
        look=_IMAGENET,
    ),
    "timm/inception_v4.tf_in1k": Named(
        model="inception_v4",
        url=f"{_TIMM}/v0.1-cadene/inceptionv4-8e4777a0.pth",
        sha256="8e4777a0",
        checked_by="timm's file name",
    ),
    "timm/inception_resnet_v2.tf_in1k": Named(
        model="inception_resnet_v2",
        url=f"{_TIMM}/v0.1-weights/inception_resnet_v2-940b1cd6.pth",
        sha256="940b1cd6",
        checked_by="timm's file name",
    ),
    "keras/inception_v3": Named(
        model="inception_v3",
        url=f"{_KERAS}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
        sha256="00c9ea4e4762f716ac4d300d6d9c2935639cc5e4d139b5790d765dcbeea539d0",
        md5="9a0d58056eeedaa3f26cb7ebd46da564",
        checked_by="keras/src/applications/inception_v3.py (MD5); gomlx/gomlx, examples/inceptionv3 (SHA-256)",
    ),
    "keras/inception_resnet_v2": Named(
        model="inception_resnet_v2",
        url=f"{_KERAS}/inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels.h5",
        md5="e693bd0210a403b3192acc6073ad2e96",
        checked_by="keras/src/applications/inception_resnet_v2.py",
    ),
    "slim/inception_v1": Named(model="inception_v1", url=f"{_SLIM}/inception_v1_2016_08_28.tar.gz"),
    "slim/inception_v2": Named(model="inception_v2", url=f"{_SLIM}/inception_v2_2016_08_28.tar.gz"),
    "slim/inception_v3": Named(model="inception_v3", url=f"{_SLIM}/inception_v3_2016_08_28.tar.gz"),
    "slim/inception_v4": Named(model="inception_v4", url=f"{_SLIM}/inception_v4_2016_09_09.tar.gz"),
    "slim/inception_resnet_v2": Named(
        model="inception_resnet_v2",
        url=f"{_SLIM}/inception_resnet_v2_2016_08_30.tar.gz",
        md5="9e0f18e1259acf943e30690460d96123",
        checked_by="ports that check it (inception_resnet_v2 for Keras, extract_weights.py)",
    ),
}


def looks_like_a_name(text: str) -> bool:
    """Whether `SOURCE/NAME` is meant rather than a path."""
    return bool(re.fullmatch(r"(torchvision|timm|keras|slim)/[\w.-]+", text))


def known(name: str) -> Named:
    """Raises: UsageError, for a name that is not in the list."""
    if name not in NAMED:
        raise UsageError(f"no weights are named {printable(name)}{nearest(name, NAMED)}")
    return NAMED[name]


def look_of(sha256: str) -> Look | None:
    """How the published weights with this hash are shown pictures, where that differs from their source's others: a file
    that one has fetched oneself is what its name would have given."""
    return next((one.look for one in NAMED.values() if one.sha256 and sha256.startswith(one.sha256)), None)


def fetched(
    name: str,
    *,
    entry: Named | None = None,
    mirrors: Sequence[str] = (),
    progress: download.Progress | None = None,
) -> Path:
    """The file of weights with a name, downloaded into the cache folder unless it is there, its hash checked.

    `entry` and `mirrors` replace what the list says, for copies on a network of one's own.

    Raises: UsageError, for an unknown name; DownloadError; StorageError.
    """
    entry = entry or known(name)
    target = download.cache_folder() / "weights" / name.partition("/")[0] / entry.file
    advice = f"take it from {entry.url} yourself and give --weights {printable(entry.file)}"
    if not (entry.sha256 or entry.md5):
        raise DownloadError(
            f"{name} is not fetched, because no hash of it is public that a copy could be checked by; {advice}"
        )
    return download.fetch_checked(mirrors or (entry.url,), _check(entry), target, progress=progress)


def _check(entry: Named) -> download.Check:
    """Tells what is wrong with a file, or nothing."""

    def check(path: Path) -> str | None:
        for name, algorithm, wanted in (("SHA-256", _SHA256, entry.sha256), ("MD5", _MD5, entry.md5)):
            if wanted:
                with open(path, "rb") as file:
                    given = hashlib.file_digest(file, algorithm).hexdigest()
                if not given.startswith(wanted):
                    return f"the file has the {name} {given[:12]}…, wanted {wanted[:12]}…"
        return None

    return check
