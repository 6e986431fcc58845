"""NielsenNet: the guide's first network, from Nielsen, Neural Networks and Deep Learning, chapter 6 (FACTS §2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeper.errors import UsageError
from deeper.models.blocks import (
    Convolution,
    Dropout,
    Initialisation,
    Linear,
    MaxPool,
    Style,
    check_images,
    check_size,
    unwatched,
)
from deeper.models.kernels.layout import usable
from deeper.models.kernels.pooled import pooled_convolution
from deeper.models.kernels.pooled_pictures import MOST_CHANNELS, SIDE, pooled_pictures
from deeper.models.output import Output

SMALLEST = 12


class NielsenNet(nn.Module):
    """Two convolutions with pooling, two fully connected layers with dropout, logits.

    Any channels and classes; any size from 12 pixels, fixed when built (the first fully connected layer's weights
    depend on it). The published code also put ReLU and dropout on the output layer: a slip, plain logits here.

    Raises: UsageError, for an input below 12 pixels, another size than built for, or widths below 1.
    """

    has_kernel = True

    def __init__(
        self,
        *,
        classes: int,
        channels: int = 1,
        height: int = 28,
        width: int = 28,
        dropout: float = 0.5,
        first_filters: int = 20,
        second_filters: int = 40,
        hidden: int = 1000,
        initialisation: Initialisation = "pytorch",
    ) -> None:
        super().__init__()
        check_size("nielsen", height, width, SMALLEST)
        if min(first_filters, second_filters, hidden) < 1:
            raise UsageError("nielsen: first_filters, second_filters and hidden must be 1 or more")
        self.channels, self.height, self.width = channels, height, width
        style = Style(batch_norm=False, initialisation=initialisation)
        # The comments follow a 28 × 28 input.
        self.conv1 = Convolution(channels, first_filters, 5, style=style, activation=False)  # N × 20 × 28 × 28
        self.pool1 = MaxPool(2, 2)  # N × 20 × 14 × 14
        self.conv2 = Convolution(  # N × 40 × 10 × 10
            first_filters, second_filters, 5, style=style, padding="valid", activation=False
        )
        self.pool2 = MaxPool(2, 2)  # N × 40 × 5 × 5
        inputs = second_filters * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)
        self.full1 = Linear(inputs, hidden, initialisation)
        self.dropout1 = Dropout(dropout)
        self.full2 = Linear(hidden, hidden, initialisation)
        self.dropout2 = Dropout(dropout)
        self.logits = Linear(hidden, classes, initialisation)

    def forward(self, images: Tensor) -> Output:
        check_images("nielsen", images, self.channels, SMALLEST, exactly=(self.height, self.width))
        # ReLU and maximum commute, both being monotone: pooling first gives the same values and gradients,
        # and leaves a quarter of the units for the ReLU.
        fits = self.training and self.channels <= MOST_CHANNELS and images.dtype == torch.float32
        if fits and not images.requires_grad and usable(images, torch.float32) and unwatched(self):
            first, second = _pooled(self.conv1, self.pool1, SIDE // 2), _pooled(self.conv2, self.pool2, 0)
        else:
            first = second = None
        if first is not None and second is not None:
            x = pooled_convolution(pooled_pictures(images, *first, SIDE // 2), *second)
        else:
            x = F.relu(self.pool1(self.conv1(images)))
            x = F.relu(self.pool2(self.conv2(x)))
        x = x.flatten(1)  # N × 1000
        x = self.dropout1(F.relu(self.full1(x)))
        features = F.relu(self.full2(x))
        return Output(self.logits(self.dropout2(features)), (), features)


def _pooled(layer: nn.Module, pool: nn.Module, around: int) -> tuple[Tensor, Tensor] | None:
    """Weight and bias of `layer`, where it and `pool` are what the compiled kernels compute, and not what somebody has put in
    their place or changed; a parametrisation makes another type of a convolution. `around`: its padding."""
    if type(layer) is not Convolution or layer.norm is not None or layer.activation is not None:
        return None
    inner = layer.convolution
    if type(inner) is not nn.Conv2d or inner.bias is None or layer.pads_as_tensorflow:
        return None
    usual = (inner.stride, inner.dilation, inner.padding, inner.groups, inner.padding_mode)
    if usual != ((1, 1), (1, 1), (around, around), 1, "zeros") or inner.weight.shape[2:] != (SIDE, SIDE):
        return None
    if type(pool) is not MaxPool or (pool.kernel, pool.stride, pool.around) != (2, 2, 0):
        return None
    if pool.reaches_over or pool.pads_as_tensorflow:
        return None
    floats = all(part.dtype == torch.float32 and part.device.type == "cpu" for part in (inner.weight, inner.bias))
    return (inner.weight, inner.bias) if floats else None
