"""A convolution, the largest of each 2 × 2 of its results, and ReLU, whose gradient passes only by what was chosen."""

from __future__ import annotations

from ctypes import c_int64
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from deeper.models.kernels.layout import KINDS, address, blank, computed_in, rows
from deeper.models.kernels.library import library, threads


class _PooledConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x = x.to(computed_in(x))
        results, stride = rows(F.conv2d(x, weight, bias))
        count, filters, height, width = results.shape
        shape = (c_int64 * 8)(
            count, x.shape[2], x.shape[3], x.shape[1], filters, weight.shape[2], height // 2, width // 2
        )
        y = blank((count, filters, height // 2, width // 2), results.dtype)
        winners = torch.empty(y.numel(), dtype=torch.uint8)
        library().deeper_pooled_forward(
            KINDS[y.dtype], results.data_ptr(), stride, y.data_ptr(), winners.data_ptr(), shape, threads()
        )
        ctx.save_for_backward(x, weight, winners)
        ctx.shape = shape
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, winners = ctx.saved_tensors
        gradient, gradient_stride = rows(gradient)
        x, stride = rows(x)
        by_x = blank(x.shape, x.dtype) if ctx.needs_input_grad[0] else None
        # Not `empty_like`: weights may lie channels-last, their gradient is written as it is read.
        by_weight, by_bias = torch.empty(weight.shape), torch.empty(weight.shape[0])
        plain = weight.contiguous()
        library().deeper_pooled_backward(
            KINDS[x.dtype], gradient.data_ptr(), gradient_stride, winners.data_ptr(), x.data_ptr(), stride,
            plain.data_ptr(), address(by_x), by_weight.data_ptr(), by_bias.data_ptr(), ctx.shape, threads(),
        )  # fmt: skip
        return by_x, by_weight, by_bias


def pooled_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """ReLU of the 2 × 2 max-pool, at stride 2, of a convolution at stride 1 without padding.

    `x` N × C × H × W; `weight` F × C × K × K and `bias` F, float32. Result: N × F × H' × W', channels-last, in autocast's
    type. The convolution is PyTorch's; gradients are summed in float32, of weights that are not rounded.

    Raises: ValueError, for what the kernel would misread.
    """
    on_cpu = all(tensor.device.type == "cpu" for tensor in (x, weight, bias))
    floats = (
        on_cpu and weight.dtype == bias.dtype == torch.float32 and computed_in(x) in (torch.float32, torch.bfloat16)
    )
    if weight.shape[1] != x.shape[1] or weight.shape[2] != weight.shape[3] or not floats:
        raise ValueError(
            "the compiled pooled convolution takes float32 weights of square kernels for the channels of `x`"
        )
    result: Tensor = _PooledConvolution.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return result
