"""Inception's mixed blocks, written as their figure: branches side by side, each a list of layers.

    self.Mixed_5b = trunk.mixed(
        [Conv(64, 1)],
        [Conv(48, 1), Conv(64, 5)],
        [Average(3), Conv(32, 1)],
    )

Scopes follow TF-Slim: `Mixed_5b/Branch_1/Conv2d_0b_5x5` is the second layer of the second branch. The digit grows
where the picture shrinks, the letter counts the layers at that size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deeper.models.blocks import AveragePool, Convolution, MaxPool, Padding, Style, pair


@dataclass(frozen=True)
class Conv:
    """A convolution with batch norm and ReLU, `outputs` channels wide."""

    outputs: int
    kernel: int | tuple[int, int]
    stride: int = 1
    padding: Padding = "same"


@dataclass(frozen=True)
class Max:
    """A max-pool."""

    kernel: int
    stride: int = 1
    padding: Padding = "same"


@dataclass(frozen=True)
class Average:
    """An average pool at stride 1 that keeps the size."""

    kernel: int


@dataclass(frozen=True)
class Fork:
    """The end of a branch: convolutions side by side over the same input, their outputs concatenated."""

    ends: tuple[Conv, ...]


Spec = Conv | Max | Average | Fork


def scope_name(kind: str, level: int, position: int, kernel: int | tuple[int, int]) -> str:
    """TF-Slim's name of a layer, e.g. `Conv2d_0b_1x7`."""
    height, width = pair(kernel)
    return f"{kind}_{level}{chr(ord('a') + position)}_{height}x{width}"


class Branch(nn.Module):
    """Layers one after the other; the last `ends` of them side by side. Shape: N × inputs × H × W → N × outputs × …."""

    def __init__(self, inputs: int, specs: Sequence[Spec], style: Style) -> None:
        super().__init__()
        self.outputs = inputs
        self.ends = 0
        self._level = self._position = 0
        for spec in specs:
            if isinstance(spec, Fork):
                before = self.outputs
                for end in spec.ends:
                    self._add(before, end, style)
                self.outputs = sum(end.outputs for end in spec.ends)
                self.ends = len(spec.ends)
            else:
                self._add(self.outputs, spec, style)

    def _add(self, inputs: int, spec: Conv | Max | Average, style: Style) -> None:
        layer: nn.Module
        shrinks = not isinstance(spec, Average) and (spec.stride > 1 or spec.padding == "valid") and spec.kernel != 1
        if shrinks:
            self._level, self._position = self._level + 1, 0
        if isinstance(spec, Conv):
            kind = "Conv2d"
            layer = Convolution(
                inputs, spec.outputs, spec.kernel, style=style, stride=spec.stride, padding=spec.padding
            )
            self.outputs = spec.outputs
        elif isinstance(spec, Max):
            kind = "MaxPool"
            layer = MaxPool(spec.kernel, spec.stride, padding=spec.padding, tensorflow_padding=style.tensorflow_padding)
        else:
            kind = "AvgPool"
            layer = AveragePool(spec.kernel, counts_padding=style.average_padding)
        self.add_module(scope_name(kind, self._level, self._position, spec.kernel), layer)
        self._position += 1

    def forward(self, x: Tensor) -> Tensor:
        layers = list(self.children())
        for layer in layers[: len(layers) - self.ends]:
            x = layer(x)
        return torch.cat([end(x) for end in layers[-self.ends :]], 1) if self.ends else x


class Mixed(nn.Module):
    """Branches over the same input, their outputs concatenated. `outputs`: the sum of the branches' channels."""

    def __init__(self, inputs: int, branches: Sequence[Sequence[Spec]], style: Style) -> None:
        super().__init__()
        self.outputs = 0
        for number, specs in enumerate(branches):
            branch = Branch(inputs, specs, style)
            self.add_module(f"Branch_{number}", branch)
            self.outputs += branch.outputs

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], 1)


class Residual(nn.Module):
    """Inception-ResNet: x + scale · up(branches(x)), then ReLU; `up` is a 1×1 convolution with a bias, back to the
    width of x. The scale (0.1 to 0.3 in the paper) keeps training from dying when layers are wide."""

    def __init__(
        self, inputs: int, branches: Sequence[Sequence[Spec]], style: Style, *, scale: float, activation: bool = True
    ) -> None:
        super().__init__()
        self.scale = scale
        self.mixed = Mixed(inputs, branches, style)
        self.Conv2d_1x1 = Convolution(self.mixed.outputs, inputs, 1, style=style, batch_norm=False, activation=False)
        self.activation = nn.ReLU(inplace=True) if activation else None

    def forward(self, x: Tensor) -> Tensor:
        x = torch.add(x, self.Conv2d_1x1(self.mixed(x)), alpha=self.scale)
        return x if self.activation is None else self.activation(x)


class Trunk:
    """Builds layer after layer, keeping count of the channels, so that a network's lines hold only what its paper's
    table does. `channels`: of the output of what was built last."""

    def __init__(self, channels: int, style: Style) -> None:
        self.channels, self.style = channels, style

    def conv(
        self, outputs: int, kernel: int | tuple[int, int], *, stride: int = 1, padding: Padding = "same"
    ) -> Convolution:
        layer = Convolution(self.channels, outputs, kernel, style=self.style, stride=stride, padding=padding)
        self.channels = outputs
        return layer

    def max_pool(self, kernel: int, *, stride: int = 2, padding: Padding = "valid") -> MaxPool:
        return MaxPool(kernel, stride, padding=padding, tensorflow_padding=self.style.tensorflow_padding)

    def mixed(self, *branches: Sequence[Spec]) -> Mixed:
        block = Mixed(self.channels, branches, self.style)
        self.channels = block.outputs
        return block

    def residual(self, *branches: Sequence[Spec], scale: float, activation: bool = True) -> Residual:
        return Residual(self.channels, branches, self.style, scale=scale, activation=activation)
