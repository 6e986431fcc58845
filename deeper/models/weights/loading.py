"""A network with someone's weights, ready to use or to train on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from deeper.download import Progress
from deeper.errors import UsageError, WeightsError, nearest, printable
from deeper.images import Preprocess
from deeper.models.architecture import Architecture
from deeper.models.catalog import MODELS, create
from deeper.models.weights.fitting import Fitted, fit
from deeper.models.weights.foreign import Weights, open_weights
from deeper.models.weights.named import NAMED, fetched, known, looks_like_a_name
from deeper.models.weights.reading import FORMS, is_weights_file


@dataclass(frozen=True, eq=False)
class LoadedWeights:
    """`model` is in evaluation mode; its forward takes `preprocess.normalise`d pictures. `fitted` accounts for every
    weight."""

    model: nn.Module
    architecture: Architecture
    preprocess: Preprocess
    weights: Weights
    fitted: Fitted


def opened(name: str | Path, *, model: str | None = None, progress: Progress | None = None) -> tuple[Weights, Path]:
    """A file's weights, or published ones by name, and the file. `model`: what they must be of, where that is settled.

    Raises: UsageError, for what is neither; WeightsError, DownloadError, StorageError, MissingExtraError.
    """
    text, path = str(name), Path(name)
    if is_weights_file(path) or path.is_dir():
        return open_weights(path, model=model, name=text), path
    if not looks_like_a_name(text):
        raise UsageError(
            f"no weights at {printable(text)}; wanted a file ({FORMS}), a run, a bundle or a name{nearest(text, NAMED)}"
        )
    entry = known(text)
    if model is not None and model != entry.model:
        raise WeightsError(
            f"{text} are weights of {entry.model}, not of {printable(model)}; leave --model out, or say {entry.model}"
        )
    file = fetched(text, progress=progress)
    return open_weights(file, model=entry.model, look=entry.look, name=text), file


def load_weights(
    name: str | Path,
    *,
    model: str | None = None,
    classes: int | None = None,
    channels: int | None = None,
    size: int | None = None,
    progress: Progress | None = None,
) -> LoadedWeights:
    """The network that weights of torchvision, timm, Keras or TF-Slim belong to, with them loaded.

    `name`: a file (torch.save, safetensors, Keras' HDF5, TF-Slim's checkpoint, or a tar archive with one of these), or
    a published name such as `torchvision/inception_v3`, which is downloaded once and checked by its hash. Nothing in a
    file is run. `model`: the network they must be of. `classes`: another number than theirs gives a new last layer with
    random weights (of torch's generator). `channels`: 1 sums the input layer's kernels. `size`: of the input, in
    pixels; the network's native size when not given. `progress(done, total)`: bytes of a download.

    Raises: WeightsError, for weights that are damaged, hostile, incomplete or of another network; UsageError,
    DownloadError, StorageError, MissingExtraError.
    """
    weights, _ = opened(name, model=model, progress=progress)
    classes = classes if classes is not None else weights.classes
    if classes is None:
        raise UsageError(f"the weights {printable(name)} have {weights.last_layer}; say how many classes you want")
    channels = channels if channels is not None else weights.channels
    side = size if size is not None else MODELS[weights.model].native
    architecture = weights.architecture(classes=classes, channels=channels, height=side, width=side)
    network = create(architecture)
    fitted = fit(network, weights, classes=classes, channels=channels)
    preprocess = weights.look.preprocess(side, side, channels)
    return LoadedWeights(network.eval(), architecture, preprocess, weights, fitted)
