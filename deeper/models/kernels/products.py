"""Convolutions that share their input as one matrix product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from deeper.models.kernels.layout import computed_in


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, *weights: Tensor) -> Tensor:
        width = weights[0][0].numel()
        positions = x.shape[2:] if width == x.shape[1] else (1, 1)
        matrix = x.to(dtype).permute(0, 2, 3, 1).reshape(-1, width)
        outputs = [weight.shape[0] for weight in weights]
        joined = torch.empty(sum(outputs), width, dtype=dtype)
        for weight, part in zip(weights, torch.split(joined, outputs)):
            part.copy_(weight.permute(0, 2, 3, 1).reshape(-1, width))
        ctx.save_for_backward(matrix, joined)
        ctx.like = [(weight.shape, weight.stride()) for weight in weights]
        ctx.x_shape, ctx.x_dtype, ctx.dtype, ctx.outputs = x.shape, x.dtype, weights[0].dtype, outputs
        return torch.mm(matrix, joined.t()).view(x.shape[0], *positions, -1).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        matrix, joined = ctx.saved_tensors
        count, channels, height, width = ctx.x_shape
        flat = gradient.permute(0, 2, 3, 1).reshape(len(matrix), -1)
        by_x: Tensor | None = None
        if ctx.needs_input_grad[0]:
            by_x = torch.mm(flat, joined).view(count, height, width, channels).permute(0, 3, 1, 2).to(ctx.x_dtype)
        wanted = ctx.needs_input_grad[2:]
        by_weights: list[Tensor | None] = [None] * len(wanted)
        if any(wanted):
            parts = torch.split(torch.mm(flat.t(), matrix).to(ctx.dtype), ctx.outputs)
            by_weights = [
                _as(shape, stride, part) if wants else None
                for (shape, stride), part, wants in zip(ctx.like, parts, wanted)
            ]
        return (by_x, None, *by_weights)


def _as(shape: torch.Size, stride: tuple[int, ...], matrix: Tensor) -> Tensor:
    """A weight's gradient from its matrix. With the weight's own strides (arbitrary for a side of 1) it is taken over
    without a copy."""
    outputs, channels, height, width = shape
    if height == width == 1:
        return matrix.as_strided(shape, stride)
    return matrix.view(outputs, height, width, channels).permute(0, 3, 1, 2)


def products(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Convolutions of the same `x` side by side as one matrix product: N × ΣO × H × W.

    `weights`, each O × C × kernel: all 1 × 1, or all as large as `x`, which leaves one position. Under autocast in its
    type, else in that of `x`.
    """
    result: Tensor = _Products.apply(x, computed_in(x), *weights)  # type: ignore[no-untyped-call]
    return result
