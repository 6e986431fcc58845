"""Every network by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from deeper.errors import UsageError, nearest, printable
from deeper.models import inception_resnet_v2, inception_small, inception_v1, inception_v2, inception_v3, inception_v4
from deeper.models.architecture import Architecture
from deeper.models.custom import load_custom
from deeper.models.nielsen import NielsenNet


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network of the catalog.

    `native`: the input size of its paper, in pixels. `smallest`: the smallest side that works. `source`: where it was
    published. `presets`: named sets of arguments, one per reference that it can equal. `one_size`: whether it takes
    only the size it was built for. `largest_own`: pictures of at most so many pixels are taken at their own size. `shaping`:
    arguments of recipes that decide how large its weights are, so that weights that are there already know better.
    """

    build: Callable[..., nn.Module]
    native: int
    smallest: int
    source: str
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    one_size: bool = False
    largest_own: int = 0
    shaping: frozenset[str] = frozenset()

    def arguments(self) -> dict[str, Any]:
        """The names and defaults of the arguments beyond classes, channels and size."""
        fixed = ("classes", "channels", "height", "width")
        parameters = inspect.signature(self.build).parameters.values()
        return {parameter.name: parameter.default for parameter in parameters if parameter.name not in fixed}


MODELS: dict[str, Entry] = {
    "nielsen": Entry(
        build=NielsenNet,
        native=28,
        smallest=12,
        one_size=True,
        largest_own=40,
        source="Nielsen, Neural Networks and Deep Learning, chapter 6; Chu, We Need to Go Deeper (2017)",
    ),
    "inception_small": Entry(
        build=inception_small.InceptionSmall,
        native=28,
        smallest=inception_small.SMALLEST,
        largest_own=64,
        shaping=frozenset({"depth_multiplier"}),
        source="Zhang et al., Understanding Deep Learning Requires Rethinking Generalization, arXiv 1611.03530",
    ),
    "inception_v1": Entry(
        build=inception_v1.InceptionV1,
        native=224,
        smallest=inception_v1.SMALLEST,
        source="Szegedy et al., Going Deeper with Convolutions, arXiv 1409.4842",
        presets=inception_v1.PRESETS,
    ),
    "inception_v2": Entry(
        build=inception_v2.InceptionV2,
        native=224,
        smallest=inception_v2.SMALLEST,
        source="Ioffe and Szegedy, Batch Normalization, arXiv 1502.03167",
        presets=inception_v2.PRESETS,
    ),
    "inception_v3": Entry(
        build=inception_v3.InceptionV3,
        native=299,
        smallest=inception_v3.SMALLEST,
        source="Szegedy et al., Rethinking the Inception Architecture, arXiv 1512.00567",
        presets=inception_v3.PRESETS,
    ),
    "inception_v4": Entry(
        build=inception_v4.InceptionV4,
        native=299,
        smallest=inception_v4.SMALLEST,
        source="Szegedy et al., Inception-v4 and Inception-ResNet, arXiv 1602.07261",
        presets=inception_v4.PRESETS,
    ),
    "inception_resnet_v2": Entry(
        build=inception_resnet_v2.InceptionResNetV2,
        native=299,
        smallest=inception_resnet_v2.SMALLEST,
        source="Szegedy et al., Inception-v4 and Inception-ResNet, arXiv 1602.07261",
        presets=inception_resnet_v2.PRESETS,
    ),
}


def create(architecture: Architecture) -> nn.Module:
    """Build the network with random weights (from torch's generator).

    Its forward takes normalised float N × channels × height × width and returns an `Output`.

    Raises: UsageError, for an unknown model or argument, too small an input, or a class that cannot be loaded.
    """
    name = architecture.model
    sizes = {
        "classes": architecture.classes,
        "channels": architecture.channels,
        "height": architecture.height,
        "width": architecture.width,
    }
    if ":" in name:
        return load_custom(name, sizes, architecture.arguments)
    if name not in MODELS:
        raise UsageError(f"no model {printable(name)!r} (your own: package.module:Class){nearest(name, MODELS)}")
    entry = MODELS[name]
    arguments = expand(name, architecture.arguments)
    known = entry.arguments()
    for argument, value in arguments.items():
        if argument not in known:
            raise UsageError(f"{name} has no argument {printable(argument)!r}{nearest(argument, [*known, 'preset'])}")
        default = known[argument]
        fits = isinstance(value, type(default)) or (isinstance(default, float) and isinstance(value, int))
        if not fits or (isinstance(value, bool) and not isinstance(default, bool)):
            raise UsageError(
                f"{name}: {argument} must be a {type(default).__name__} such as {default!r}, "
                f"got {printable(repr(value))}"
            )
    model: nn.Module = entry.build(**sizes, **arguments)
    return model


def expand(model: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`arguments` with a `preset` replaced by what it stands for; arguments given beside it win.

    Raises: UsageError, for a preset that the model has not.
    """
    rest = {name: value for name, value in arguments.items() if name != "preset"}
    if "preset" not in arguments or model not in MODELS:
        return dict(arguments)
    presets = MODELS[model].presets
    given = str(arguments["preset"])
    if given not in presets:
        raise UsageError(f"{model} has no preset {printable(given)!r}{nearest(given, presets)}")
    return {**presets[given], **rest}


def native_size(model: str) -> tuple[int | None, str]:
    """The input size of a model in pixels, and why; (None, …) for a network of the user's own, which states none."""
    if model in MODELS:
        return MODELS[model].native, f"the native size of {model}"
    return None, "your own network states no size"
