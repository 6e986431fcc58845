"""What `--weights` names, opened: someone else's file, published weights by name, or a run or bundle of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from deeper import bundle
from deeper.download import Progress
from deeper.errors import UsageError, WeightsError, printable
from deeper.models import MODELS
from deeper.models.weights.fitting import Fitted, fit
from deeper.models.weights.foreign import Weights
from deeper.models.weights.loading import opened
from deeper.models.weights.look import Look
from deeper.runs.folder import is_run
from deeper.runs.origin import Origin
from deeper.training.options import Options


@dataclass(frozen=True)
class Initial:
    """Opened weights with where they came from. `size`: (height, width) of a network of one's own; `names`: its
    classes."""

    weights: Weights
    origin: Origin
    size: tuple[int, int] | None = None
    names: tuple[str, ...] | None = None
    dataset: str | None = None
    """Hash of the dataset that a run or bundle was trained on, where it says."""


def open_initial(name: str, *, model: str | None = None, progress: Progress | None = None) -> Initial:
    """`name`: a file, a published name (`torchvision/inception_v3`), or the folder of a run or bundle. `model`: the
    network that they must be of, where that is settled. `progress(done, total)`: bytes of a download.

    Raises: UsageError, WeightsError, BundleError, DownloadError, MissingExtraError.
    """
    path = Path(name)
    if is_run(path) or bundle.is_bundle(path):
        return _own(name, path, model)
    return _with_origin(*opened(name, model=model, progress=progress))


def _with_origin(weights: Weights, path: Path) -> Initial:
    look = weights.look
    origin = Origin(
        name=weights.name,
        file=str(path.absolute()),
        sha256=weights.sha256,
        source=weights.source,
        model=weights.model,
        classes=weights.classes,
        mean=look.mean,
        deviation=look.deviation,
        crop=look.crop,
        resample=look.resample,
    )
    return Initial(weights, origin)


def _own(name: str, path: Path, model: str | None) -> Initial:
    """A bundle, or a run's."""
    place = path if bundle.is_bundle(path) else path / "bundle"
    if not bundle.is_bundle(place):
        raise UsageError(f"the run {printable(name)} has no bundle yet; let it train until its first validation")
    own = model if model is not None and ":" in model else None
    loaded = bundle.load(place, model=own)
    built, shown = loaded.info.architecture, loaded.info.preprocess
    if model is not None and model != built.model:
        raise WeightsError(
            f"the weights {printable(name)} are of {printable(built.model)}, not of {printable(model)}; "
            f"leave --model out, or say --model {printable(built.model)}"
        )
    weights = Weights(
        name=name,
        sha256=loaded.info.weights_sha256,
        source="deeper",
        form="bundle",
        model=built.model,
        classes=built.classes,
        channels=built.channels,
        arguments=dict(built.arguments),
        look=Look(
            mean=shown.mean,
            deviation=shown.deviation,
            crop=shown.crop,
            resample=shown.resample,
            mode=shown.mode,
        ),
        tensors=loaded.model.state_dict(),
    )
    trained_on = loaded.info.dataset.get("hash")
    return replace(
        _with_origin(weights, place),
        size=(built.height, built.width),
        names=loaded.info.classes,
        dataset=str(trained_on) if trained_on else None,
    )


def adopted(options: Options, initial: Initial, given: Mapping[str, Any]) -> Options:
    """`options` for training on from `initial`: its network's arguments, which those of the recipe and the user
    (`given`, by dotted names) are set over (not the recipe's where the weights' shapes depend on them), and how it fits
    pictures.

    Raises: UsageError, for a mean, deviation or crop of the user's own: those belong to the weights.
    """
    own = [name for name in ("mean", "deviation", "crop") if given.get(name) is not None]
    if own:
        raise UsageError(
            f"{', '.join(own)} with weights: {printable(initial.weights.name)} were trained with pictures shown in their "
            "own way, and are to be shown them so; leave it out"
        )
    entry = MODELS.get(options.model)
    decided = entry.shaping if entry and "arguments" not in given else frozenset()
    kept = {
        name: value for name, value in options.arguments.items() if name not in decided or f"arguments.{name}" in given
    }
    arguments = {**initial.weights.arguments, **kept}
    look = initial.weights.look
    fitted = options.fit if given.get("fit") is not None else look.mode
    return replace(options, arguments=arguments, fit=fitted, weights=initial.weights.name)


def begin(model: nn.Module, initial: Initial, classes: tuple[str, ...], channels: int) -> Fitted:
    """Load `initial` into a network for `classes`. A last layer of one's own is kept only for the same classes.

    Raises: WeightsError.
    """
    same = initial.names is None or initial.names == classes
    return fit(model, initial.weights, classes=len(classes), channels=channels, head=same)


def reopened(origin: Origin, name: str, model: str) -> Initial:
    """The weights that a run is to begin with, for the run itself. Raises: as `open_initial`; WeightsError, when they
    are others now."""
    try:
        initial = open_initial(name, model=model)
    except UsageError:
        # The run is gone on with from another folder than it was begun in.
        initial = open_initial(origin.file, model=model)
    if initial.weights.sha256 != origin.sha256:
        raise WeightsError(
            f"the weights {printable(name)} are others than those the run was planned with (SHA-256 "
            f"{initial.weights.sha256[:12]}…, wanted {origin.sha256[:12]}…); put the old file back, or train anew"
        )
    return initial
