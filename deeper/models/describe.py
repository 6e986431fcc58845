"""A network layer by layer, found by running it on tensors without data (device `meta`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deeper.models.architecture import Architecture
from deeper.models.catalog import create


@dataclass(frozen=True)
class Layer:
    """One leaf module as it ran. `shape`: of its output without the batch, e.g. (288, 35, 35)."""

    scope: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Description:
    """`parameters`: those that are trained, auxiliary heads included. `multiply_adds`: of one picture in evaluation,
    convolutions and fully connected layers only, as papers count. `layers`: in the order in which they run in training,
    those of auxiliary heads, which run only then, included."""

    architecture: Architecture
    parameters: int
    multiply_adds: int
    layers: tuple[Layer, ...]


def _multiply_adds(module: nn.Module, output: Tensor) -> int:
    if isinstance(module, nn.Conv2d):
        return output[0].numel() * module.weight[0].numel()
    if isinstance(module, nn.Linear):
        return output[0].numel() * module.in_features
    return 0


def build(architecture: Architecture) -> tuple[nn.Module, torch.device]:
    if ":" in architecture.model:
        # A user's constructor may compute with real numbers, which `meta` has not.
        return create(architecture), torch.device("cpu")
    with torch.device("meta"):
        return create(architecture), torch.device("meta")


def describe(architecture: Architecture) -> Description:
    """Build the network and follow one picture through it.

    Raises: UsageError, as `catalog.create`.
    """
    model, device = build(architecture)
    images = torch.zeros(1, architecture.channels, architecture.height, architecture.width, device=device)
    layers = layers_of(model.eval(), images)
    parameters = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    shown = _with_auxiliary(model, images, layers)
    return Description(architecture, parameters, sum(layer.multiply_adds for layer in layers), shown)


def _with_auxiliary(model: nn.Module, images: Tensor, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """`layers`, and those that run in training alone after the last layer of `layers` before them."""
    try:
        # Two pictures: batch norm of a single position cannot train on one.
        training = layers_of(model.train(), images.expand(2, -1, -1, -1))
    except Exception:  # a user's network may not train on two blank pictures; then its heads are not listed
        return layers
    known = {layer.scope for layer in layers}
    after: dict[str, list[Layer]] = {}
    last = ""
    for layer in training:
        if layer.scope in known:
            last = layer.scope
        else:
            after.setdefault(last, []).append(layer)
    shown: list[Layer] = [*after.pop("", [])]
    for layer in layers:
        shown += [layer, *after.pop(layer.scope, [])]
    return tuple(shown)


def layers_of(module: nn.Module, images: Tensor) -> tuple[Layer, ...]:
    """The leaves of any module (a network, one of its blocks), as they run on `images`, N × C × H × W.

    On device `meta` nothing is computed: module and images may be as large as they like.
    """
    layers: list[Layer] = []

    def follow(scope: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(leaf: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                parameters = sum(weight.numel() for weight in leaf.parameters() if weight.requires_grad)
                shape = tuple(output.shape[1:])
                layers.append(Layer(scope, type(leaf).__name__, shape, parameters, _multiply_adds(leaf, output)))

        return note

    hooks = [
        leaf.register_forward_hook(follow(name.replace(".", "/")))
        for name, leaf in module.named_modules()
        # A layer whose weight is parametrised has children, and is one all the same.
        if name and (isinstance(leaf, (nn.Conv2d, nn.Linear)) or not any(True for _ in leaf.children()))
    ]
    try:
        with torch.no_grad():
            module(images)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(layers)
