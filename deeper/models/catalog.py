"""Every network by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from deeper.errors import UsageError, nearest, printable
from deeper.models.architecture import Architecture
from deeper.models.custom import load_custom
from deeper.models.nielsen import NielsenNet


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network of the catalog.

    `native`: the input size of its paper, in pixels. `smallest`: the smallest side that works. `source`: where it was
    published. `presets`: named sets of arguments, one per reference that it can equal.
    """

    build: Callable[..., nn.Module]
    native: int
    smallest: int
    source: str
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

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
        source="Nielsen, Neural Networks and Deep Learning, chapter 6; Chu, We Need to Go Deeper (2017)",
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
    known = entry.arguments()
    for argument in architecture.arguments:
        if argument not in known:
            raise UsageError(f"{name} has no argument {printable(argument)!r}{nearest(argument, known)}")
    model: nn.Module = entry.build(**sizes, **architecture.arguments)
    return model


def native_size(model: str) -> tuple[int | None, str]:
    """The input size of a model in pixels, and why; (None, …) for a network of the user's own, which states none."""
    if model in MODELS:
        return MODELS[model].native, f"the native size of {model}"
    return None, "your own network states no size"
