"""The judge's networks: NielsenNet for small pictures, four convolutions for photographs, reduced."""

from __future__ import annotations

from torch import Tensor, nn

from deeper.models import create
from deeper.models.architecture import Architecture
from deeper.models.blocks import Convolution, Dropout, Linear, MaxPool, Style, check_images
from deeper.models.output import Output

PHOTOGRAPH = "photograph"
_SMALLEST = 12


class PhotographNet(nn.Module):
    """Four 3×3 convolutions with batch norm, three pools, the mean over the picture, logits.

    Far fewer weights than NielsenNet at this size, for sets of a few hundred photographs. Any size from 12 pixels.
    """

    def __init__(self, *, classes: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.channels = channels
        style = Style(gamma=True)
        # The comments follow a 48 × 48 input.
        self.conv1 = Convolution(channels, 24, 3, style=style)  # N × 24 × 48 × 48
        self.conv2 = Convolution(24, 48, 3, style=style)  # N × 48 × 24 × 24
        self.conv3 = Convolution(48, 96, 3, style=style)  # N × 96 × 12 × 12
        self.conv4 = Convolution(96, 128, 3, style=style)  # N × 128 × 6 × 6
        self.pool = MaxPool(2, 2)
        self.dropout = Dropout(dropout)
        self.logits = Linear(128, classes, "variance_scaling")

    def forward(self, images: Tensor) -> Output:
        check_images(PHOTOGRAPH, images, self.channels, _SMALLEST)
        x = self.pool(self.conv1(images))
        x = self.pool(self.conv2(x))
        x = self.pool(self.conv3(x))
        features = self.conv4(x).mean((2, 3))  # N × 128
        return Output(self.logits(self.dropout(features)), (), features)


def network(architecture: Architecture) -> nn.Module:
    """Build one with random weights, from torch's generator."""
    if architecture.model != PHOTOGRAPH:
        return create(architecture)
    return PhotographNet(
        classes=architecture.classes, channels=architecture.channels, dropout=float(architecture.arguments["dropout"])
    )
