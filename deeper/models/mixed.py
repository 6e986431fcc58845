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

from deeper.models.blocks import AveragePool, Convolution, MaxPool, Padding, Style, pair, unwatched
from deeper.models.kernels.layout import OWN, Joint, Slot, computed_in, join, usable
from deeper.models.kernels.norm import norm_relu
from deeper.models.kernels.products import products


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

    def stem(self) -> list[nn.Module]:
        """The layers at its beginning that `Mixed` computes for all branches at once: a 1×1 convolution, maybe with an
        average pool before it."""
        layers = list(self.children())
        pools = isinstance(layers[0], AveragePool) and layers[0].keeps_size and len(layers) > 1
        first = layers[1] if pools else layers[0]
        if isinstance(first, Convolution) and first.is_pointwise and len(layers) - self.ends > int(pools):
            return layers[: 2 if pools else 1]
        return []

    def fuses(self) -> bool:
        """Whether all its layers have compiled kernels for what they would do now."""
        return all(
            isinstance(layer, Convolution | MaxPool) and layer.fuses()
            for layer in list(self.children())[len(self.stem()) - 1 if self.stem() else 0 :]
        )

    def fused(self, x: Tensor, slot: Slot, *, after: int) -> list[Tensor]:
        """What its layers from number `after` on make of `x`, by the compiled kernels, written into `slot` in parts."""
        layers = list(self.children())[after:]
        trunk, ends = layers[: len(layers) - self.ends], layers[len(layers) - self.ends :]
        for layer in trunk:
            assert isinstance(layer, Convolution | MaxPool)
            x = layer.fused(x, slot if layer is layers[-1] else OWN)
        parts = []
        for end in ends:
            assert isinstance(end, Convolution)
            parts.append(end.fused(x, slot))
            slot = slot.after(parts[-1].shape[1])
        return parts or [x]


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
        one_type = x.dtype == computed_in(x)  # a pool keeps the type that it is given
        fits = self.training and one_type and usable(x, torch.float32)  # the type of every layer that fuses
        if fits and unwatched(self) and all(map(Branch.fuses, self._branches())):
            return self._fused(x)
        return torch.cat([branch(x) for branch in self.children()], 1)

    def _branches(self) -> list[Branch]:
        return [branch for branch in self.children() if isinstance(branch, Branch)]

    def _fused(self, x: Tensor) -> Tensor:
        """What `forward` gives, by the compiled kernels.

        The 1×1 convolutions that branches begin with share their input: one matrix product. Those behind an average
        pool do too, because a mean over positions and a mix of channels may change places, and pooling what comes out
        is less work. Every branch writes its channels of the output in place.
        """
        joint = Joint(self.outputs)
        slot, slots = Slot(joint), {}
        for branch in self._branches():
            slots[branch] = slot
            slot = slot.after(branch.outputs)
        weights, norms, stems = [], [], {}
        for branch in self._branches():
            if stem := branch.stem():
                first, pool = stem[-1], stem[0] if len(stem) == 2 else None
                assert isinstance(first, Convolution) and (pool is None or isinstance(pool, AveragePool))
                ends_here = len(stem) == len(list(branch.children()))
                weights.append(first.convolution.weight)
                norms.append(first.normed(slot=slots[branch] if ends_here else OWN, pool=pool))
                stems[branch] = len(norms) - 1
        begun = norm_relu(products(x, weights), norms) if weights else ()
        parts: list[Tensor] = []
        for branch in self._branches():
            into = begun[stems[branch]] if branch in stems else x
            parts += branch.fused(into, slots[branch], after=len(branch.stem()))
        return join(joint, parts)


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
