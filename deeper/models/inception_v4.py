"""Inception v4: Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning,
arXiv 1602.07261.

Layer by layer as `tensorflow/models`, `research/slim/nets/inception_v4.py`, with its endpoint names. Shapes are those
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

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"momentum": 0.0003, "initialisation": "truncated_normal"},
    "slim": {"momentum": 0.0003, "initialisation": "variance_scaling"},
    "timm": {"gamma": True, "momentum": 0.1, "dropout": 0.0, "auxiliary": False, "initialisation": "pytorch"},
}


class InceptionV4(nn.Module):
    """A uniform v3 without its technical baggage: 42.7 million parameters, 12.3 billion multiply-adds at 299 × 299.

    Any size from 75 pixels, also another than built for; any channels and classes. `auxiliary`: whether it has the
    auxiliary head on Mixed_6h, whose logits come out in training only.

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
        check_size("inception_v4", height, width, SMALLEST)
        self.channels = channels
        style = Style(
            gamma=gamma,
            average_padding=average_padding,
            epsilon=epsilon,
            momentum=momentum,
            initialisation=initialisation,
        )
        trunk = Trunk(channels, style)
        # The stem, figure 3.
        self.Conv2d_1a_3x3 = trunk.conv(32, 3, stride=2, padding="valid")  # N × 32 × 149 × 149
        self.Conv2d_2a_3x3 = trunk.conv(32, 3, padding="valid")  # N × 32 × 147 × 147
        self.Conv2d_2b_3x3 = trunk.conv(64, 3)  # N × 64 × 147 × 147
        self.Mixed_3a = trunk.mixed(  # N × 160 × 73 × 73
            [Max(3, stride=2, padding="valid")],
            [Conv(96, 3, stride=2, padding="valid")],
        )
        self.Mixed_4a = trunk.mixed(  # N × 192 × 71 × 71
            [Conv(64, 1), Conv(96, 3, padding="valid")],
            [Conv(64, 1), Conv(64, (1, 7)), Conv(64, (7, 1)), Conv(96, 3, padding="valid")],
        )
        self.Mixed_5a = trunk.mixed(  # N × 384 × 35 × 35
            [Conv(192, 3, stride=2, padding="valid")],
            [Max(3, stride=2, padding="valid")],
        )
        # Four Inception-A.
        self.Mixed_5b = block_a(trunk)  # N × 384 × 35 × 35
        self.Mixed_5c = block_a(trunk)
        self.Mixed_5d = block_a(trunk)
        self.Mixed_5e = block_a(trunk)
        self.Mixed_6a = trunk.mixed(  # N × 1024 × 17 × 17: reduction A, figure 7
            [Conv(384, 3, stride=2, padding="valid")],
            [Conv(192, 1), Conv(224, 3), Conv(256, 3, stride=2, padding="valid")],
            [Max(3, stride=2, padding="valid")],
        )
        # Seven Inception-B.
        self.Mixed_6b = block_b(trunk)  # N × 1024 × 17 × 17
        self.Mixed_6c = block_b(trunk)
        self.Mixed_6d = block_b(trunk)
        self.Mixed_6e = block_b(trunk)
        self.Mixed_6f = block_b(trunk)
        self.Mixed_6g = block_b(trunk)
        self.Mixed_6h = block_b(trunk)
        self.AuxLogits = AuxiliaryHead(trunk.channels, classes, style) if auxiliary else None
        self.Mixed_7a = trunk.mixed(  # N × 1536 × 8 × 8: reduction B, figure 8
            [Conv(192, 1), Conv(192, 3, stride=2, padding="valid")],
            [Conv(256, 1), Conv(256, (1, 7)), Conv(320, (7, 1)), Conv(320, 3, stride=2, padding="valid")],
            [Max(3, stride=2, padding="valid")],
        )
        # Three Inception-C.
        self.Mixed_7b = block_c(trunk)  # N × 1536 × 8 × 8
        self.Mixed_7c = block_c(trunk)
        self.Mixed_7d = block_c(trunk)
        self.Dropout_1b = Dropout(dropout)
        self.Logits = Linear(trunk.channels, classes, initialisation)

    def forward(self, images: Tensor) -> Output:
        check_images("inception_v4", images, self.channels, SMALLEST)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        x = self.Mixed_5a(self.Mixed_4a(self.Mixed_3a(x)))
        x = self.Mixed_5e(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        x = self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x))))
        x = self.Mixed_6h(self.Mixed_6g(self.Mixed_6f(self.Mixed_6e(x))))
        aux = (self.AuxLogits(x),) if self.AuxLogits is not None and self.training else ()
        x = self.Mixed_7d(self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))))
        features = global_average(x)  # N × 1536
        return Output(self.Logits(self.Dropout_1b(features)), aux, features)


def block_a(trunk: Trunk) -> Mixed:
    """Inception-A, figure 4."""
    return trunk.mixed(
        [Conv(96, 1)],
        [Conv(64, 1), Conv(96, 3)],
        [Conv(64, 1), Conv(96, 3), Conv(96, 3)],
        [Average(3), Conv(96, 1)],
    )


def block_b(trunk: Trunk) -> Mixed:
    """Inception-B, figure 5."""
    return trunk.mixed(
        [Conv(384, 1)],
        [Conv(192, 1), Conv(224, (1, 7)), Conv(256, (7, 1))],
        [Conv(192, 1), Conv(192, (7, 1)), Conv(224, (1, 7)), Conv(224, (7, 1)), Conv(256, (1, 7))],
        [Average(3), Conv(128, 1)],
    )


def block_c(trunk: Trunk) -> Mixed:
    """Inception-C, figure 6."""
    return trunk.mixed(
        [Conv(256, 1)],
        [Conv(384, 1), Fork((Conv(256, (1, 3)), Conv(256, (3, 1))))],
        [Conv(384, 1), Conv(448, (3, 1)), Conv(512, (1, 3)), Fork((Conv(256, (1, 3)), Conv(256, (3, 1))))],
        [Average(3), Conv(256, 1)],
    )
