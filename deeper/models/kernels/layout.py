"""How tensors lie in memory, for the kernels: rows of channels, one position after the other.

A block's output is written in place by its branches, each into its `Slot` of the `Joint`, instead of being copied
together.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_int64
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from deeper.models.kernels.library import active

KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.float64: 2}


def usable(x: Tensor, parameters: torch.dtype | None = None) -> bool:
    """Whether a layer in training may compute with the kernels on `x`: switched on, on a processor, channels-last, in
    a type they know, and not being traced, compiled, exported or transformed. `parameters`: their type, where the
    layer has any; it and `x` are both in double precision, or neither is."""
    return (
        active() is not None
        and computed_in(x) in KINDS
        and (parameters is None or (parameters == torch.float64) == (x.dtype == torch.float64))
        and type(x) is Tensor
        and x.device.type == "cpu"
        and x.dtype in KINDS
        and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )


def computed_in(x: Tensor) -> torch.dtype:
    """The type a convolution of `x` gives: autocast's, where that is on."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def row_stride(x: Tensor) -> int | None:
    """Elements from one position's channels to the next one's, where all positions lie so; else None."""
    count, channels, height, width = x.shape
    stride = channels
    for size, step, positions in ((width, 3, 1), (height, 2, width), (count, 0, height * width)):
        if size > 1:
            stride = x.stride(step) // positions
            break
    regular = (
        (channels == 1 or x.stride(1) == 1)
        and (width == 1 or x.stride(3) == stride)
        and (height == 1 or x.stride(2) == width * stride)
        and (count == 1 or x.stride(0) == height * width * stride)
        and stride >= channels
    )
    return stride if regular else None


def rows(x: Tensor) -> tuple[Tensor, int]:
    """`x`, or a copy where it does not lie in rows of channels, with its row stride."""
    stride = row_stride(x)
    if stride is None:
        x = x.contiguous(memory_format=torch.channels_last)
        stride = x.shape[1]
    return x, stride


def blank(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Unfilled, channels-last."""
    return torch.empty(tuple(shape), dtype=dtype, memory_format=torch.channels_last)


class Joint:
    """The output of a block before it is there: its branches write their channels into it, each in its `Slot`."""

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self.tensor: Tensor | None = None


@dataclass(frozen=True)
class Slot:
    """The channels from `first` on of a `Joint`, or, without one, a tensor of its own."""

    joint: Joint | None = None
    first: int = 0

    def after(self, channels: int) -> Slot:
        return Slot(self.joint, self.first + channels)

    def tensor(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """N × C × H × W to write into."""
        if self.joint is None:
            return blank(shape, dtype)
        count, channels, height, width = shape
        if self.joint.tensor is None:
            self.joint.tensor = blank((count, self.joint.channels, height, width), dtype)
        assert self.joint.tensor.dtype == dtype
        return self.joint.tensor.narrow(1, self.first, channels)


OWN = Slot()


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, joint: Joint, *parts: Tensor) -> Tensor:
        ctx.channels = [part.shape[1] for part in parts]
        assert joint.tensor is not None
        return joint.tensor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradient, _ = rows(gradient)
        return (None, *torch.split(gradient, ctx.channels, 1))


def join(joint: Joint, parts: Sequence[Tensor]) -> Tensor:
    """The tensor that `parts` were written into, in the order of their slots."""
    result: Tensor = _Join.apply(joint, *parts)  # type: ignore[no-untyped-call]
    # What differentiates the parts remembers their slots: held there, the result would hold itself.
    joint.tensor = None
    return result


def address(tensor: Tensor | None) -> int | None:
    """Of its first value; None for null."""
    return None if tensor is None else tensor.data_ptr()


def sides(x: Tensor, out: tuple[int, int] = (0, 0)) -> Any:
    """The kernels' description of N × C × H × W and an output's height and width."""
    count, channels, height, width = x.shape
    return (c_int64 * 6)(count, height, width, channels, *out)
