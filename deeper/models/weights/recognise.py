"""Which network a file's weights are of, and whose names they bear; from the names and a few shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from deeper.errors import WeightsError, printable
from deeper.models.weights.opened import Opened
from deeper.models.weights.slim_names import HEADS, SCOPES


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """A network of the catalog as a source has it. `classes` is None for weights without the last layer."""

    source: str
    """Also the preset under which ours equals theirs."""
    model: str
    classes: int | None
    channels: int
    arguments: dict[str, Any] = field(default_factory=dict)
    """What of the preset these weights have otherwise: auxiliary heads, a scale in batch norm."""


@dataclass(frozen=True)
class _Family:
    """Names by which a state dict's network is known, its first and last weight, and its auxiliary heads' names."""

    source: str
    model: str
    names: str
    first: str
    last: tuple[str, ...]
    auxiliary: str | None = None


_FAMILIES = (
    _Family(
        "torchvision",
        "inception_v3",
        r"(Conv2d_\d[ab]_|Mixed_\d[a-e]\.branch|AuxLogits\.(conv|fc)|fc\.)",
        "Conv2d_1a_3x3.conv.weight",
        ("fc.weight",),
        "AuxLogits.",
    ),
    _Family(
        "torchvision",
        "inception_v1",
        r"(conv[123]\.(conv|bn)\.|inception\d[a-e]\.|aux[12]\.|fc\.)",
        "conv1.conv.weight",
        ("fc.weight",),
        "aux",
    ),
    _Family(
        "timm",
        "inception_v4",
        r"(features\.\d+\.((branch\d\S*\.|conv\.)?(conv|bn)\.\w+$)|last_linear\.)",
        "features.0.conv.weight",
        ("last_linear.weight",),
    ),
    _Family(
        "timm",
        "inception_resnet_v2",
        r"(conv2d_\d[ab]\.|mixed_\d[ab]\.|repeat(_\d)?\.\d+\.|block8\.|classif\.|last_linear\.)",
        "conv2d_1a.conv.weight",
        ("classif.weight", "last_linear.weight"),
    ),
)
# Of microscopes and satellites, at most.
_MOST_CHANNELS = 64
# Of these shares of a file's names the network is taken for what most of them say.
_SURE = 0.5
# Our own: of the Inceptions, and of NielsenNet.
_OURS = re.compile(r"^((Mixed|Conv2d)_\w+\.(.+\.)?convolution|full[12])\.weight$")
# Names by which networks that are no Inceptions are known, so that the error can say what was given.
_STRANGERS = (
    (r"layer[1-4]\.\d+\.(conv|bn)\d|resnet_v\d|conv2_block1", "a ResNet"),
    (r"features\.denseblock|denseblock\d", "a DenseNet"),
    (r"blocks\.\d+\.attn|encoder\.layers\.encoder_layer|vit", "a vision transformer"),
    (r"features\.\d+\.(weight|bias)$|vgg_\d+/", "a VGG or AlexNet"),
    (r"features\.\d+\.\d+\.|MobilenetV\d|expanded_conv|block_\d+_expand", "a MobileNet or EfficientNet"),
    (r"\.attention\.|encoder\.layer\.\d+", "a transformer"),
)


def recognise(opened: Opened, name: str) -> Recognised:
    """Raises: WeightsError, for weights of no Inception that is known here; it says what they look like."""
    if opened.names == "torch":
        return _torch(opened.tensors, name)
    return _keras(opened.tensors, name) if opened.names == "keras" else _slim(opened.tensors, name)


def _torch(tensors: Mapping[str, Tensor], name: str) -> Recognised:
    shares = [
        (sum(bool(re.match(family.names, key)) for key in tensors) / max(1, len(tensors)), family)
        for family in _FAMILIES
    ]
    share, family = max(shares, key=lambda pair: pair[0])
    if share < _SURE:
        raise _stranger(tensors, name, f"{family.source} {family.model}", share)
    arguments: dict[str, Any] = {}
    source = family.source
    if family.auxiliary is not None:
        arguments["auxiliary"] = any(key.startswith(family.auxiliary) for key in tensors)
        if family.model == "inception_v3" and not arguments["auxiliary"]:
            source = "timm"
    last = next((tensors[key] for key in family.last if key in tensors), None)
    return Recognised(
        source=source,
        model=family.model,
        classes=_length(last),
        channels=_channels(tensors.get(family.first), 1, name),
        arguments=arguments,
    )


def _keras(tensors: dict[str, Tensor], name: str) -> Recognised:
    layers = {key.partition("/")[0] for key in tensors}
    plain = sorted(layer for layer in layers if re.fullmatch(r"conv2d(_\d{1,6})?", layer))
    dense = [layer for layer in layers if f"{layer}/kernel" in tensors and tensors[f"{layer}/kernel"].ndim == 2]
    if any(layer.startswith("block35_") for layer in layers):
        model, width = "inception_resnet_v2", 1536
    elif len(plain) > 80 and not any("expand" in layer or "_block" in layer for layer in layers):
        model, width = "inception_v3", 2048
    else:
        raise _stranger(tensors, name, "keras inception_v3", 0.0)
    # A last layer of someone's own on top of Keras' network, which gives it another name.
    if "predictions" not in layers and len(dense) == 1 and tensors[f"{dense[0]}/kernel"].shape[0] == width:
        for key in [key for key in tensors if key.startswith(f"{dense[0]}/")]:
            tensors[f"predictions/{key.partition('/')[2]}"] = tensors.pop(key)
    first = min(plain, key=lambda layer: int(layer[len("conv2d_") :] or 0)) if plain else ""
    return Recognised(
        source="keras",
        model=model,
        classes=_length(tensors.get("predictions/bias")),
        channels=_channels(tensors.get(f"{first}/kernel"), 2, name),
        arguments={"gamma": True} if any(key.endswith("/gamma") for key in tensors) else {},
    )


def _slim(tensors: Mapping[str, Tensor], name: str) -> Recognised:
    scopes = [scope for scope in SCOPES if any(key.startswith(f"{scope}/") for key in tensors)]
    if len(scopes) != 1:
        raise _stranger(tensors, name, "slim inception_v3", 0.0)
    scope = scopes[0]
    model = SCOPES[scope]
    arguments: dict[str, Any] = {}
    if model in ("inception_v3", "inception_v4", "inception_resnet_v2"):
        arguments["auxiliary"] = any(key.startswith(f"{scope}/AuxLogits/") for key in tensors)
    if any(key.endswith("BatchNorm/gamma") for key in tensors):
        arguments["gamma"] = True
    firsts = [key for key in tensors if re.search(r"/Conv2d_1a_\dx\d/(depthwise_)?weights$", key)]
    last = next((tensors[key] for head in HEADS if (key := f"{scope}/{head}/biases") in tensors), None)
    first = next((tensors[key] for key in firsts if key.count("/") == 2), None)
    if model == "inception_v2" and not any(key.endswith("depthwise_weights") for key in tensors):
        arguments["separable_stem"] = False
    return Recognised(
        source="slim", model=model, classes=_length(last), channels=_channels(first, 2, name), arguments=arguments
    )


def _length(last: Tensor | None) -> int | None:
    return int(last.shape[0]) if last is not None and last.ndim and last.shape[0] >= 2 else None


def _channels(first: Tensor | None, axis: int, file: str) -> int:
    if first is not None and first.ndim == 4 and first.shape[axis] > _MOST_CHANNELS:
        raise WeightsError(
            f"the weights {printable(file)} have an input layer of {first.shape[axis]:,} channels, more than pictures have "
            f"({_MOST_CHANNELS}); take a sound copy"
        )
    return int(first.shape[axis]) if first is not None and first.ndim == 4 and first.shape[axis] >= 1 else 3


def _stranger(names: Iterable[str], file: str, nearest: str, share: float) -> WeightsError:
    keys = list(names)
    like = next((what for pattern, what in _STRANGERS if sum(bool(re.search(pattern, key)) for key in keys) > 3), None)
    if sum(bool(_OURS.search(key)) for key in keys) >= 2:
        return WeightsError(
            f"the weights {printable(file)} are named as deeper names its own; give the run or the bundle that they are of, "
            "which says of what network (deeper train --weights RUN)"
        )
    example = printable(keys[len(keys) // 2], 60) if keys else "none"
    seems = f"they look like {like}'s" if like else f"{len(keys)} names such as {example}"
    return WeightsError(
        f"the weights {printable(file)} are of no Inception: {seems}; the nearest known are {nearest}'s "
        f"({share:.0%} of the names); `deeper models` lists the networks"
    )
