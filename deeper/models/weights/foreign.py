"""Weights that wait for a network: under our names, complete, with the preset and the preprocessing they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deeper.errors import WeightsError, printable
from deeper.models.architecture import Architecture
from deeper.models.catalog import MODELS, create
from deeper.models.weights import keras_names, slim_names, torch_names
from deeper.models.weights.look import Look
from deeper.models.weights.named import look_of
from deeper.models.weights.opened import LARGEST, Opened
from deeper.models.weights.placed import Placed, check, missing, with_heads_of
from deeper.models.weights.reading import read, sha256
from deeper.models.weights.recognise import Recognised, recognise

# Of ImageNet in TensorFlow: its 1,000 classes and, first, one for "none of them".
BACKGROUND = 1001


# -1..1 throughout: slim's `preprocessing/inception_preprocessing.py`, Keras' `preprocess_input`, timm's
# IMAGENET_INCEPTION_MEAN. torchvision states ImageNet's mean and deviation, but its networks with published weights
# undo that (`transform_input`) and compute on -1..1 too. Crops: slim and timm 0.875 (timm's Inception-ResNet-v2 0.8975),
# torchvision 299 of 342 and 224 of 256; Keras states none.
LOOKS: dict[tuple[str, str], Look] = {
    ("torchvision", "inception_v3"): Look(crop=299 / 342),
    ("torchvision", "inception_v1"): Look(crop=224 / 256),
    ("timm", "inception_v3"): Look(resample="bicubic"),
    ("timm", "inception_v4"): Look(resample="bicubic"),
    ("timm", "inception_resnet_v2"): Look(crop=0.8975, resample="bicubic"),
    ("keras", "inception_v3"): Look(crop=1.0),
    ("keras", "inception_resnet_v2"): Look(crop=1.0),
    **{("slim", model): Look() for model in slim_names.SCOPES.values()},
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """A network's weights by our names, float32 (counters int64). Complete but for a last layer where `classes` is
    None; one of a single output may be there then, which no network here has."""

    name: str
    """The file's path or the name that it was asked for by."""
    sha256: str
    source: str
    """torchvision, timm, keras, slim or deeper."""
    form: str
    model: str
    classes: int | None
    channels: int
    arguments: Mapping[str, Any]
    """Of the network that equals theirs: the source's preset and what differs from it."""
    look: Look
    tensors: Mapping[str, Tensor]
    left: tuple[str, ...] = field(default=())
    """What else was in the file: optimizers' moments, counters."""

    def architecture(self, *, classes: int, channels: int, height: int, width: int) -> Architecture:
        """Their network with another last layer or input."""
        return Architecture(
            model=self.model,
            classes=classes,
            channels=channels,
            height=height,
            width=width,
            arguments=dict(self.arguments),
        )

    @property
    def last_layer(self) -> str:
        """In words."""
        if self.classes:
            return f"{self.classes} classes"
        return "a last layer of one output" if "Logits.weight" in self.tensors else "no last layer"

    def describe(self) -> str:
        """One line: what they are and of whom."""
        background = ", the first of them for the background" if self.classes == BACKGROUND else ""
        left = f"; not read: {len(self.left)} other entries" if self.left else ""
        return (
            f"weights of {self.model} by {self.source} ({self.form}, {self.last_layer}{background}, "
            f"{self.channels} channels), SHA-256 {self.sha256[:12]}…{left}"
        )


def open_weights(path: Path, *, model: str | None = None, look: Look | None = None, name: str | None = None) -> Weights:
    """Read a file of someone's weights. `model`: what they must be of, where that is settled; `look`: how pictures were
    shown, where that is known better than by the source; `name`: what the file was asked for by.

    Raises: WeightsError, for a file that is missing, damaged, hostile, of no known network or of another one than
    `model`, incomplete, or with a weight that is NaN or infinite; MissingExtraError.
    """
    name = name or str(path)
    opened = read(path)
    found = recognise(opened, name)
    if model is not None and model != found.model:
        raise WeightsError(
            f"the weights {printable(name)} are {found.source}'s of {found.model}, not of {printable(model)}; "
            f"leave --model out, or say --model {found.model}"
        )
    digest = sha256(path)
    return Weights(
        name=name,
        sha256=digest,
        source=found.source,
        form=opened.form,
        model=found.model,
        classes=found.classes,
        channels=found.channels,
        arguments={"preset": found.source, **found.arguments},
        look=look or look_of(digest) or LOOKS[found.source, found.model],
        tensors=translated(opened, found, name),
        left=opened.left,
    )


def translated(opened: Opened, found: Recognised, name: str) -> dict[str, Tensor]:
    """All tensors by our names, each of the shape that a network of the same classes and channels has; auxiliary heads
    may be for other classes.

    Raises: WeightsError, which names what does not fit.
    """
    native = MODELS[found.model].native
    with torch.device("meta"):
        model = create(
            Architecture(
                model=found.model,
                classes=2,  # of what the heads have, below: a file may claim any number
                channels=found.channels,
                height=native,
                width=native,
                arguments={"preset": found.source, **found.arguments},
            )
        )
    if opened.names == "torch":
        placed = torch_names.place(model, found.model, opened.tensors, found.source)
    elif opened.names == "keras":
        placed = keras_names.place(model, _layers(opened.tensors))
    else:
        placed = slim_names.place(model, opened.tensors)
    wanted = model.state_dict()
    if found.classes is None and not any(key.startswith("Logits.") for key in placed.tensors):
        wanted = {key: tensor for key, tensor in wanted.items() if not key.startswith("Logits.")}
    check(found.model, f"{printable(name, 80)}: {found.source}", placed, with_heads_of(placed.tensors, wanted))
    return _sound(placed, wanted, name)


def _layers(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    layers: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        layer, _, variable = key.rpartition("/")
        layers.setdefault(layer, {})[variable] = tensor
    return layers


def _sound(placed: Placed, wanted: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """As the types that the network has, checked for NaN and infinity."""
    # A tensor may claim more than its file holds, and a last layer may have as many classes as it likes.
    if sum(tensor.numel() * wanted[key].dtype.itemsize for key, tensor in placed.tensors.items()) > LARGEST:
        raise WeightsError(f"the weights {printable(name)} claim to be larger than any Inception's; take a sound file")
    sound = {}
    for key, tensor in placed.tensors.items():
        if tensor.is_complex() or tensor.is_quantized or tensor.layout != torch.strided:
            raise WeightsError(f"the weights {printable(name)}: {key} is {tensor.dtype}; wanted plain numbers")
        if wanted[key].is_floating_point() and not tensor.is_floating_point():
            raise WeightsError(
                f"the weights {printable(name)}: {key} is {tensor.dtype}, which a quantised network has; wanted floats"
            )
        sound[key] = tensor.detach().to(wanted[key].dtype).contiguous()
        if not bool(torch.isfinite(sound[key]).all()):
            raise WeightsError(f"the weights {printable(name)}: {key} holds NaN or infinity; take a sound file")
        if key.endswith("running_var") and bool((sound[key] < 0).any()):
            raise WeightsError(f"the weights {printable(name)}: {key} holds a variance below 0; take a sound file")
    for key in wanted:
        if key not in sound and key not in missing(sound, wanted):
            sound[key] = torch.zeros((), dtype=torch.int64)
    return sound
