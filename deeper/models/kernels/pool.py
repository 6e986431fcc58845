"""Max-pools with one byte an output to remember the winner by."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from deeper.models.kernels.layout import KINDS, OWN, Slot, blank, row_stride, rows, sides
from deeper.models.kernels.library import library, threads

# Its places fit into a byte.
LARGEST_WINDOW = 15


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: int, step: int, before: tuple[int, int], out: tuple[int, int], slot: Slot
    ) -> Tensor:
        x, stride = rows(x)
        y = slot.tensor((x.shape[0], x.shape[1], *out), x.dtype)
        y_stride = row_stride(y)
        winners = torch.empty(x.shape[0] * out[0] * out[1] * x.shape[1], dtype=torch.uint8)
        library().deeper_max_forward(
            KINDS[x.dtype], x.data_ptr(), stride, y.data_ptr(), y_stride, winners.data_ptr(), sides(x, out), kernel,
            step, *before, threads(),
        )  # fmt: skip
        ctx.save_for_backward(winners)
        ctx.shape, ctx.out, ctx.window = x.shape, out, (kernel, step, *before)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (winners,) = ctx.saved_tensors
        gradient, stride = rows(gradient)
        result = blank(ctx.shape, gradient.dtype)
        library().deeper_max_backward(
            KINDS[gradient.dtype], gradient.data_ptr(), stride, winners.data_ptr(), result.data_ptr(),
            sides(result, ctx.out), *ctx.window, threads(),
        )  # fmt: skip
        return (result, None, None, None, None, None)


def max_pool(
    x: Tensor, kernel: int, step: int, before: tuple[int, int], out: tuple[int, int], slot: Slot = OWN
) -> Tensor:
    """The largest value of each window, kernels up to 15.

    `before`: rows and columns of padding before the first. `out`: height and width of the output; its last windows may
    reach over the edge. What is padded never wins.

    Raises: ValueError, for a larger kernel: the winner's place in its window is remembered in one byte.
    """
    if kernel > LARGEST_WINDOW:
        raise ValueError(f"the compiled max-pool takes kernels up to {LARGEST_WINDOW}, got {kernel}")
    result: Tensor = _MaxPool.apply(x, kernel, step, before, out, slot)  # type: ignore[no-untyped-call]
    return result
