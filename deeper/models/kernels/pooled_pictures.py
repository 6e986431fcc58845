"""A 5 × 5 convolution of pictures, the largest of each 2 × 2 of its results, and ReLU: one pass over memory each way."""

from __future__ import annotations

from ctypes import c_int64
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from deeper.models.kernels.layout import KINDS, blank, computed_in, rows
from deeper.models.kernels.library import library, threads

SIDE = 5
"""Of the kernel."""
# Pictures have few. Of more PyTorch's convolution is the quicker one.
MOST_CHANNELS = 4
# Of one row, the columns of the output come in whole vectors of so many.
_LANES = 16


class _PooledPictures(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, around: int) -> Tensor:
        dtype = computed_in(images)
        count, channels, height, width = images.shape
        filters = weight.shape[0]
        out_height, out_width = ((side + 2 * around - SIDE + 1) // 2 for side in (height, width))
        shape = (c_int64 * 8)(count, height, width, channels, filters, out_height, out_width, around)
        weight, bias = weight.contiguous(), bias.contiguous()
        y = blank((count, filters, out_height, out_width), dtype)
        lanes = -(-out_width // _LANES) * _LANES
        winners = torch.empty(count * out_height * filters * lanes, dtype=torch.uint8)
        library().deeper_pictures_forward(
            KINDS[dtype], images.data_ptr(), _strides(images), weight.data_ptr(), bias.data_ptr(), y.data_ptr(),
            winners.data_ptr(), shape, threads(),
        )  # fmt: skip
        ctx.save_for_backward(images, winners)
        ctx.shape, ctx.weight_shape = shape, weight.shape
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, winners = ctx.saved_tensors
        gradient, stride = rows(gradient)
        by_weight = torch.empty(ctx.weight_shape)
        by_bias = torch.empty(ctx.weight_shape[0])
        library().deeper_pictures_backward(
            KINDS[gradient.dtype], gradient.data_ptr(), stride, images.data_ptr(), _strides(images), winners.data_ptr(),
            by_weight.data_ptr(), by_bias.data_ptr(), ctx.shape, threads(),
        )  # fmt: skip
        return None, by_weight, by_bias, None


def _strides(images: Tensor) -> Any:
    return (c_int64 * 4)(*images.stride())


def pooled_pictures(images: Tensor, weight: Tensor, bias: Tensor, around: int) -> Tensor:
    """ReLU of the 2 × 2 max-pool, at stride 2, of a convolution at stride 1.

    `images` N × C × H × W, float32, C up to `MOST_CHANNELS`, which get no gradient. `weight` F × C × 5 × 5 and `bias` F, float32.
    `around`: rows and columns of zeros on each side. Result: N × F × H' × W', channels-last, in autocast's type; sums are
    taken in float32, and neither pictures nor weights are rounded.

    Raises: ValueError, for what the kernel would misread.
    """
    floats = all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in (images, weight, bias))
    fits = weight.shape[1:] == (images.shape[1], SIDE, SIDE) and bias.shape == weight.shape[:1] and around >= 0
    if not floats or not fits or computed_in(images) not in KINDS:
        raise ValueError(
            "the compiled convolution of pictures takes float32 pictures and 5 × 5 weights for their channels"
        )
    result: Tensor = _PooledPictures.apply(images, weight, bias, around)  # type: ignore[no-untyped-call]
    return result
