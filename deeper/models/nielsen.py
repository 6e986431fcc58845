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
        self._built = self._layers()

    def forward(self, images: Tensor) -> Output:
        check_images("nielsen", images, self.channels, SMALLEST, exactly=(self.height, self.width))
        # ReLU and maximum commute, both being monotone: pooling first gives the same values and gradients,
        # and leaves a quarter of the units for the ReLU.
        if self.training and self._fits(images) and unwatched(self):
            x = self._fused(images)
        else:
            x = F.relu(self.pool1(self.conv1(images)))
            x = F.relu(self.pool2(self.conv2(x)))
        x = x.flatten(1)  # N × 1000
        x = self.dropout1(F.relu(self.full1(x)))
        features = F.relu(self.full2(x))
        return Output(self.logits(self.dropout2(features)), (), features)

    def _layers(self) -> tuple[object, ...]:
        """What the kernels do the work of."""
        inner = (getattr(layer, "convolution", None) for layer in (self.conv1, self.conv2))
        return (self.conv1, self.pool1, self.conv2, self.pool2, *inner)

    def _fits(self, images: Tensor) -> bool:
        """Whether there are compiled kernels for convolutions of such pictures, which get no gradient, and nobody has put
        another layer in their place."""
        if any(now is not built for now, built in zip(self._layers(), self._built, strict=True)):
            return False
        weights = (self.conv1.convolution.weight, self.conv2.convolution.weight)
        floats = all(tensor.dtype == torch.float32 for tensor in (images, *weights))
        return floats and not images.requires_grad and self.channels <= MOST_CHANNELS and usable(images)

    def _fused(self, images: Tensor) -> Tensor:
        """Both convolutions with their pools and ReLU, by the compiled kernels."""
        first, second = self.conv1.convolution, self.conv2.convolution
        assert first.bias is not None and second.bias is not None
        x = pooled_pictures(images, first.weight, first.bias, SIDE // 2)
        return pooled_convolution(x, second.weight, second.bias)
