"""Batch norm with ReLU in training, two passes over memory each way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from deeper.models.kernels.layout import KINDS, OWN, Slot, address, blank, row_stride, rows, sides
from deeper.models.kernels.library import library, threads


@dataclass(frozen=True, kw_only=True, eq=False)
class Norm:
    """What `norm_relu` does with some channels: batch norm, ReLU or none, and before them, maybe, an average pool."""

    channels: int
    gamma: Tensor | None
    beta: Tensor
    mean: Tensor | None
    variance: Tensor | None
    """Running statistics, moved by `momentum`; None where none are kept."""
    epsilon: float
    momentum: float
    relu: bool = True
    pool: int | None = None
    """The kernel of an average pool at stride 1 that keeps the size."""
    counts_padding: bool = False
    slot: Slot = field(default=OWN)


class _NormRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, norms: Sequence[Norm], reuse: bool, *parameters: Tensor | None) -> Any:
        kernels, kind = library(), KINDS[x.dtype]
        x, stride = rows(x)
        computed = torch.float64 if x.dtype == torch.float64 else torch.float32
        inputs: list[Tensor] = []
        outputs: list[Tensor] = []
        saved: list[Tensor] = []
        first = 0
        for norm in norms:
            part, part_stride = x.narrow(1, first, norm.channels), stride
            first += norm.channels
            if norm.pool is not None:
                pooled = blank(part.shape, x.dtype)
                kernels.deeper_mean_around(
                    kind, part.data_ptr(), stride, pooled.data_ptr(), norm.channels, sides(part), norm.pool,
                    norm.counts_padding, 0, threads(),
                )  # fmt: skip
                part, part_stride = pooled, norm.channels
            y = norm.slot.tensor(part.shape, x.dtype)
            y_stride = row_stride(y)
            assert y_stride is not None
            values = torch.empty(4, norm.channels, dtype=computed)
            kernels.deeper_norm_forward(
                kind, part.data_ptr(), part_stride, y.data_ptr(), y_stride, x.numel() // x.shape[1], norm.channels,
                address(norm.gamma), norm.beta.data_ptr(), norm.epsilon, norm.momentum, address(norm.mean),
                address(norm.variance), values.data_ptr(), norm.relu, threads(),
            )  # fmt: skip
            inputs.append(part)
            outputs.append(y)
            saved.append(values)
        pooled_inputs = [part for part, norm in zip(inputs, norms) if norm.pool is not None]
        ctx.save_for_backward(x, *pooled_inputs, *saved)
        ctx.norms, ctx.reuse, ctx.spent = norms, reuse, False
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.spent:
            raise RuntimeError("a training step with compiled kernels can be differentiated only once")
        norms: Sequence[Norm] = ctx.norms
        kernels = library()
        x, *rest = ctx.saved_tensors
        saved, pooled = rest[len(rest) - len(norms) :], iter(rest[: len(rest) - len(norms)])
        kind, (_, stride) = KINDS[x.dtype], rows(x)
        # What the norm took in is needed no more once its gradient is known: one place in memory for both. `x` may be
        # some channels of a wider tensor, which a new one is not.
        result, result_stride = (x, stride) if ctx.reuse else (blank(x.shape, x.dtype), x.shape[1])
        ctx.spent = ctx.reuse
        parameters: list[Tensor | None] = []
        first = 0
        for number, (norm, values, given) in enumerate(zip(norms, saved, gradients)):
            part, target = x.narrow(1, first, norm.channels), result.narrow(1, first, norm.channels)
            first += norm.channels
            gradient, gradient_stride = rows(given)
            wants_gamma, wants_beta = ctx.needs_input_grad[3 + 2 * number : 5 + 2 * number]
            by_gamma = torch.empty_like(values[0]) if wants_gamma else None
            by_beta = torch.empty_like(values[0]) if wants_beta else None
            taken, into, taken_stride, into_stride = part, target, stride, result_stride
            if norm.pool is not None:
                taken = next(pooled)
                into = taken if ctx.reuse else torch.empty_like(taken)
                taken_stride = into_stride = norm.channels
            kernels.deeper_norm_backward(
                kind, gradient.data_ptr(), gradient_stride, taken.data_ptr(), taken_stride, into.data_ptr(),
                into_stride, x.numel() // x.shape[1], norm.channels, values.data_ptr(), address(by_gamma),
                address(by_beta), norm.relu, threads(),
            )  # fmt: skip
            if norm.pool is not None:
                kernels.deeper_mean_around(
                    kind, into.data_ptr(), norm.channels, target.data_ptr(), result_stride, sides(part), norm.pool,
                    norm.counts_padding, 1, threads(),
                )  # fmt: skip
            parameters += [by_gamma, by_beta]
        return (result.detach(), None, None, *parameters)


def norm_relu(x: Tensor, norms: Sequence[Norm], *, reuse: bool = True) -> tuple[Tensor, ...]:
    """Batch norm (by the batch's statistics) and ReLU of consecutive groups of channels, one output each.

    `x` N × C × H × W, float32, bfloat16 or float64; statistics and parameters float32 (float64 with float64). `reuse`:
    the gradient by `x` overwrites `x`, which nobody else may read.

    Raises: ValueError, as PyTorch's batch norm does, when a channel has only one value; TypeError, for statistics or
    parameters of another type.
    """
    if x.numel() == x.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.shape}")
    parameters: list[Tensor | None] = []
    wanted = torch.float64 if x.dtype == torch.float64 else torch.float32
    for norm in norms:
        # The kernels would read and write beyond the ends of others.
        for tensor in (norm.gamma, norm.beta, norm.mean, norm.variance):
            if tensor is not None and tensor.dtype != wanted:
                raise TypeError(f"the compiled batch norm of {x.dtype} takes {wanted}, got {tensor.dtype}")
        parameters += [norm.gamma, norm.beta]
    results: tuple[Tensor, ...] = _NormRelu.apply(x, tuple(norms), reuse, *parameters)  # type: ignore[no-untyped-call]
    return results
