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
    convolutions and fully connected layers only, as papers count."""

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


def _build(architecture: Architecture) -> tuple[nn.Module, torch.device]:
    if ":" in architecture.model:
        # A user's constructor may compute with real numbers, which `meta` has not.
        return create(architecture), torch.device("cpu")
    with torch.device("meta"):
        return create(architecture), torch.device("meta")


def describe(architecture: Architecture) -> Description:
    """Build the network and follow one picture through it.

    Raises: UsageError, as `catalog.create`.
    """
    model, device = _build(architecture)
    layers: list[Layer] = []

    def follow(scope: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                parameters = sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
                shape = tuple(output.shape[1:])
                layers.append(Layer(scope, type(module).__name__, shape, parameters, _multiply_adds(module, output)))

        return note

    for name, module in model.named_modules():
        if name and not any(True for _ in module.children()):
            module.register_forward_hook(follow(name.replace(".", "/")))
    images = torch.zeros(1, architecture.channels, architecture.height, architecture.width, device=device)
    with torch.no_grad():
        model.eval()(images)
    parameters = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    return Description(architecture, parameters, sum(layer.multiply_adds for layer in layers), tuple(layers))
