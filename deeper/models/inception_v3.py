"""Inception v3: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, arXiv 1512.00567.

Layer by layer as `tensorflow/models`, `research/slim/nets/inception_v3.py`, with its endpoint names. Shapes are those
of a 299 × 299 input.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from deeper.models.blocks import Dropout, Initialisation, Linear, Style, check_images, check_size
from deeper.models.heads import AuxiliaryHead, global_average
from deeper.models.mixed import Average, Conv, Fork, Max, Mixed, Trunk
from deeper.models.output import Output

SMALLEST = 75

# Where the published networks differ (FACTS §3). `momentum` is PyTorch's: TensorFlow's decay 0.9997 is 0.0003.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"momentum": 0.0003, "initialisation": "truncated_normal"},  # research/inception, the authors' code
    "slim": {"momentum": 0.0003, "initialisation": "variance_scaling"},
    "torchvision": {
        "gamma": True,
        "average_padding": True,
        "momentum": 0.1,
        "dropout": 0.5,
        "initialisation": "truncated_normal",
    },
    "timm": {"gamma": True, "average_padding": True, "momentum": 0.1, "dropout": 0.0, "auxiliary": False},
    "keras": {"momentum": 0.01, "dropout": 0.0, "auxiliary": False, "initialisation": "glorot_uniform"},
}


class InceptionV3(nn.Module):
    """48 layers deep, 23.8 million parameters with 1000 classes, 5.7 billion multiply-adds at 299 × 299.

    Any size from 75 pixels, also another than built for; any channels and classes. `auxiliary`: whether it has the
    auxiliary head on Mixed_6e, whose logits come out in training only.

    Raises: UsageError, for an input below 75 pixels or another number of channels than built for.
    """

    def __init__(
        self,
        *,
        classes: int,
        channels: int = 3,
        height: int = 299,
        width: int = 299,
        auxiliary: bool = True,
        dropout: float = 0.2,
        gamma: bool = False,
        average_padding: bool = False,
        epsilon: float = 0.001,
        momentum: float = 0.1,
        initialisation: Initialisation = "variance_scaling",
    ) -> None:
        super().__init__()
        check_size("inception_v3", height, width, SMALLEST)
        self.channels = channels
        style = Style(
            gamma=gamma,
            average_padding=average_padding,
            epsilon=epsilon,
            momentum=momentum,
            initialisation=initialisation,
        )
        trunk = Trunk(channels, style)
        self.Conv2d_1a_3x3 = trunk.conv(32, 3, stride=2, padding="valid")  # N × 32 × 149 × 149
        self.Conv2d_2a_3x3 = trunk.conv(32, 3, padding="valid")  # N × 32 × 147 × 147
        self.Conv2d_2b_3x3 = trunk.conv(64, 3)  # N × 64 × 147 × 147
        self.MaxPool_3a_3x3 = trunk.max_pool(3)  # N × 64 × 73 × 73
        self.Conv2d_3b_1x1 = trunk.conv(80, 1)  # N × 80 × 73 × 73
        self.Conv2d_4a_3x3 = trunk.conv(192, 3, padding="valid")  # N × 192 × 71 × 71
        self.MaxPool_5a_3x3 = trunk.max_pool(3)  # N × 192 × 35 × 35
        self.Mixed_5b = block_35(trunk, pooled=32)  # N × 256 × 35 × 35
        self.Mixed_5c = block_35(trunk, pooled=64)  # N × 288 × 35 × 35
        self.Mixed_5d = block_35(trunk, pooled=64)  # N × 288 × 35 × 35
        self.Mixed_6a = trunk.mixed(  # N × 768 × 17 × 17
            [Conv(384, 3, stride=2, padding="valid")],
            [Conv(64, 1), Conv(96, 3), Conv(96, 3, stride=2, padding="valid")],
            [Max(3, stride=2, padding="valid")],
        )
        self.Mixed_6b = block_17(trunk, inner=128)  # N × 768 × 17 × 17
        self.Mixed_6c = block_17(trunk, inner=160)  # N × 768 × 17 × 17
        self.Mixed_6d = block_17(trunk, inner=160)  # N × 768 × 17 × 17
        self.Mixed_6e = block_17(trunk, inner=192)  # N × 768 × 17 × 17
        self.AuxLogits = AuxiliaryHead(trunk.channels, classes, style) if auxiliary else None
        self.Mixed_7a = trunk.mixed(  # N × 1280 × 8 × 8
            [Conv(192, 1), Conv(320, 3, stride=2, padding="valid")],
            [Conv(192, 1), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, stride=2, padding="valid")],
            [Max(3, stride=2, padding="valid")],
        )
        self.Mixed_7b = block_8(trunk)  # N × 2048 × 8 × 8
        self.Mixed_7c = block_8(trunk)  # N × 2048 × 8 × 8
        self.Dropout_1b = Dropout(dropout)
        self.Logits = Linear(trunk.channels, classes, initialisation)

    def forward(self, images: Tensor) -> Output:
        check_images("inception_v3", images, self.channels, SMALLEST)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.MaxPool_3a_3x3(x)))
        x = self.MaxPool_5a_3x3(x)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        aux = (self.AuxLogits(x),) if self.AuxLogits is not None and self.training else ()
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        features = global_average(x)  # N × 2048
        return Output(self.Logits(self.Dropout_1b(features)), aux, features)


def block_35(trunk: Trunk, *, pooled: int) -> Mixed:
    """Figure 5 of the paper, with one 5×5 kept as in the authors' code."""
    return trunk.mixed(
        [Conv(64, 1)],
        [Conv(48, 1), Conv(64, 5)],
        [Conv(64, 1), Conv(96, 3), Conv(96, 3)],
        [Average(3), Conv(pooled, 1)],
    )


def block_17(trunk: Trunk, *, inner: int) -> Mixed:
    """Figure 6: 7×7 factorised into 1×7 and 7×1."""
    return trunk.mixed(
        [Conv(192, 1)],
        [Conv(inner, 1), Conv(inner, (1, 7)), Conv(192, (7, 1))],
        [Conv(inner, 1), Conv(inner, (7, 1)), Conv(inner, (1, 7)), Conv(inner, (7, 1)), Conv(192, (1, 7))],
        [Average(3), Conv(192, 1)],
    )


def block_8(trunk: Trunk) -> Mixed:
    """Figure 7: the coarsest grid, widened by forks."""
    return trunk.mixed(
        [Conv(320, 1)],
        [Conv(384, 1), Fork((Conv(384, (1, 3)), Conv(384, (3, 1))))],
        [Conv(448, 1), Conv(384, 3), Fork((Conv(384, (1, 3)), Conv(384, (3, 1))))],
        [Average(3), Conv(192, 1)],
    )
