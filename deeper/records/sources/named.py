"""Sets that a name is enough for: `mnist`, `fashion-mnist`, and `digits`, which is drawn.

MNIST and Fashion-MNIST are looked for in `$DEEPER_DATA/NAME/`, then in the cache, then fetched from public
mirrors; every file is checked by its hash. `DEEPER_MIRROR=URL` fetches `URL/NAME/FILE` instead.

The first 5,000 of the 60,000 training pictures are the validation split, as TensorFlow's `input_data` took
them; the other 55,000 train. Ids are positions in the original files: `train/00000` … `train/59999`, `test/00000` ….
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeper import download
from deeper.errors import DownloadError, SourceError, UsageError, nearest, printable
from deeper.records.sources.idx import parse_idx
from deeper.records.sources.item import Item
from deeper.records.sources.listing import Listing, digest, file_bytes

_VALIDATION = 5_000


@dataclass(frozen=True)
class _File:
    """One file of a set: its name without `.gz`."""

    name: str
    shape: tuple[int, ...]
    packed: str
    """SHA-256 of the `.gz` that the mirrors serve."""
    unpacked: str | None = None
    """SHA-256 of the content, where it is known: a file packed anew by someone else is as good."""


@dataclass(frozen=True)
class _Set:
    title: str
    classes: tuple[str, ...]
    mirrors: tuple[str, ...]
    files: tuple[_File, ...]


# The hashes of the packed files are those of TensorFlow Datasets' url_checksums; those of MNIST's contents were
# computed from files whose MD5 are the canonical ones.
_SETS: Mapping[str, _Set] = {
    "mnist": _Set(
        "MNIST, 70,000 handwritten digits, 28×28 (LeCun, Cortes and Burges)",
        tuple("0123456789"),
        (
            "https://storage.googleapis.com/cvdf-datasets/mnist",
            "https://ossci-datasets.s3.amazonaws.com/mnist",
        ),
        (
            _File(
                "train-images-idx3-ubyte",
                (60_000, 28, 28),
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            ),
            _File(
                "train-labels-idx1-ubyte",
                (60_000,),
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            ),
            _File(
                "t10k-images-idx3-ubyte",
                (10_000, 28, 28),
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            _File(
                "t10k-labels-idx1-ubyte",
                (10_000,),
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
    ),
    "fashion-mnist": _Set(
        "Fashion-MNIST, 70,000 grey pictures of clothing, 28×28 (Xiao, Rasul and Vollgraf 2017)",
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        ),
        (
            _File(
                "train-images-idx3-ubyte",
                (60_000, 28, 28),
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            _File(
                "train-labels-idx1-ubyte", (60_000,), "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
            ),
            _File(
                "t10k-images-idx3-ubyte",
                (10_000, 28, 28),
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            _File(
                "t10k-labels-idx1-ubyte", (10_000,), "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
            ),
        ),
    ),
}


def names() -> tuple[str, ...]:
    """The names that `open_named` knows."""
    return (*_SETS, "digits")


def open_named(name: str) -> Listing:
    """The set called `name`.

    Raises: UsageError, for an unknown name; SourceError, for a file under `DEEPER_DATA` that is damaged;
    DownloadError, where the files are nowhere and no mirror answers.
    """
    if name == "digits":
        # Drawing needs Pillow's fonts, which no other set does.
        from deeper.records.sources.digits import open_digits

        return open_digits()
    if name not in _SETS:
        raise UsageError(f"no set is called {printable(name)!r}{nearest(name, names())}")
    chosen = _SETS[name]
    paths = {file.name: _locate(name, chosen, file) for file in chosen.files}

    def list_items() -> list[Item]:
        arrays = {file.name: _read(paths[file.name], file) for file in chosen.files}
        items: list[Item] = []
        for split, prefix in (("train", "train"), ("test", "t10k")):
            images = arrays[f"{prefix}-images-idx3-ubyte"]
            labels = arrays[f"{prefix}-labels-idx1-ubyte"].tolist()
            if max(labels) >= len(chosen.classes):
                raise SourceError(f"{name} has a label {max(labels)}; wanted 0..{len(chosen.classes) - 1}")
            for position, (image, label) in enumerate(zip(images, labels)):
                given = "validation" if split == "train" and position < _VALIDATION else split
                items.append(Item(f"{split}/{position:05d}", chosen.classes[label], given, None, None, image))
        return items

    return Listing(
        name=name,
        description=f"{chosen.title}; validation: the first {_VALIDATION:,} of the training pictures",
        classes=chosen.classes,
        list_items=list_items,
        identify=lambda: digest(
            ["named", name, str(_VALIDATION), *(_identity(paths[file.name], file) for file in chosen.files)]
        ),
    )


def _locate(name: str, chosen: _Set, file: _File) -> Path:
    given = os.environ.get("DEEPER_DATA")
    cached = download.cache_folder() / name
    for folder in ([Path(given) / name] if given else []) + [cached]:
        for path in (folder / f"{file.name}.gz", folder / file.name):
            if path.is_file():
                return path
    mirror = os.environ.get("DEEPER_MIRROR")
    bases = (f"{mirror.rstrip('/')}/{name}",) if mirror else chosen.mirrors
    target = cached / f"{file.name}.gz"
    try:
        return download.fetch([f"{base}/{file.name}.gz" for base in bases], file.packed, target)
    except DownloadError as error:
        raise DownloadError(
            f"{error}; without network put the four {name} files into a folder {name}/ and set DEEPER_DATA to the "
            "folder above it, or use the built-in set 'digits'"
        ) from None


def _read(path: Path, file: _File) -> NDArray[np.uint8]:
    """The array in one file, checked by hash, dtype and shape."""
    packed = file_bytes(path)
    gzipped = packed.startswith(b"\x1f\x8b")
    known = gzipped and hashlib.sha256(packed).hexdigest() == file.packed
    try:
        data = gzip.decompress(packed) if gzipped else packed
    except (EOFError, zlib.error, OSError):
        raise _damaged(path) from None
    if not known and file.unpacked is not None and hashlib.sha256(data).hexdigest() != file.unpacked:
        raise _damaged(path)
    array = parse_idx(data, path.name)
    if array.dtype != np.uint8 or array.shape != file.shape:
        raise _damaged(path)
    return array


def _identity(path: Path, file: _File) -> str:
    # Contents with a known hash are checked against it when they are read, so it stands for them, however packed.
    return file.packed if file.unpacked else hashlib.sha256(file_bytes(path)).hexdigest()


def _damaged(path: Path) -> SourceError:
    return SourceError(
        f"{printable(path)} is not the file it should be (wrong hash or size); remove it or fetch it again"
    )
