"""Inception-ResNet-v2: Szegedy et al., Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning, arXiv 1602.07261.

Layer by layer as `tensorflow/models`, `research/slim/nets/inception_resnet_v2.py`, with its endpoint names (its
`PreAuxLogits` is the output of `Repeat_1`). Shapes are those of a 299 × 299 input.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from deeper.models.blocks import Dropout, Initialisation, Linear, Style, check_images, check_size
from deeper.models.heads import AuxiliaryHead, global_average
from deeper.models.mixed import Average, Conv, Max, Residual, Trunk
from deeper.models.output import Output

SMALLEST = 75

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"momentum": 0.0003, "initialisation": "truncated_normal"},
    "slim": {"momentum": 0.0003, "initialisation": "variance_scaling"},
    "timm": {"gamma": True, "momentum": 0.1, "dropout": 0.0, "auxiliary": False, "initialisation": "pytorch"},
    "keras": {"momentum": 0.01, "dropout": 0.0, "auxiliary": False, "initialisation": "glorot_uniform"},
}


class InceptionResNetV2(nn.Module):
    """Mixed blocks as residuals: 55.8 million parameters, 13.2 billion multiply-adds at 299 × 299.

    Any size from 75 pixels, also another than built for; any channels and classes. `auxiliary`: whether it has the
    auxiliary head on the last 17×17 block, whose logits come out in training only.

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
        check_size("inception_resnet_v2", height, width, SMALLEST)
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
        self.Mixed_5b = trunk.mixed(  # N × 320 × 35 × 35
            [Conv(96, 1)],
            [Conv(48, 1), Conv(64, 5)],
            [Conv(64, 1), Conv(96, 3), Conv(96, 3)],
            [Average(3), Conv(64, 1)],
        )
        self.Repeat = nn.Sequential()  # N × 320 × 35 × 35
        for number in range(1, 11):
            self.Repeat.add_module(f"block35_{number}", block_35(trunk))
        self.Mixed_6a = trunk.mixed(  # N × 1088 × 17 × 17
            [Conv(384, 3, stride=2, padding="valid")],
            [Conv(256, 1), Conv(256, 3), Conv(384, 3, stride=2, padding="valid")],
            [Max(3, stride=2, padding="valid")],
        )
        self.Repeat_1 = nn.Sequential()  # N × 1088 × 17 × 17
        for number in range(1, 21):
            self.Repeat_1.add_module(f"block17_{number}", block_17(trunk))
        self.AuxLogits = AuxiliaryHead(trunk.channels, classes, style) if auxiliary else None
        self.Mixed_7a = trunk.mixed(  # N × 2080 × 8 × 8
            [Conv(256, 1), Conv(384, 3, stride=2, padding="valid")],
            [Conv(256, 1), Conv(288, 3, stride=2, padding="valid")],
            [Conv(256, 1), Conv(288, 3), Conv(320, 3, stride=2, padding="valid")],
            [Max(3, stride=2, padding="valid")],
        )
        self.Repeat_2 = nn.Sequential()  # N × 2080 × 8 × 8
        for number in range(1, 10):
            self.Repeat_2.add_module(f"block8_{number}", block_8(trunk, scale=0.2))
        # The tenth is unscaled and has no ReLU.
        self.Block8 = block_8(trunk, scale=1.0, activation=False)
        self.Conv2d_7b_1x1 = trunk.conv(1536, 1)  # N × 1536 × 8 × 8
        self.Dropout_1b = Dropout(dropout)
        self.Logits = Linear(trunk.channels, classes, initialisation)

    def forward(self, images: Tensor) -> Output:
        check_images("inception_resnet_v2", images, self.channels, SMALLEST)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.MaxPool_3a_3x3(x)))
        x = self.Repeat(self.Mixed_5b(self.MaxPool_5a_3x3(x)))
        x = self.Repeat_1(self.Mixed_6a(x))
        aux = (self.AuxLogits(x),) if self.AuxLogits is not None and self.training else ()
        x = self.Block8(self.Repeat_2(self.Mixed_7a(x)))
        features = global_average(self.Conv2d_7b_1x1(x))  # N × 1536
        return Output(self.Logits(self.Dropout_1b(features)), aux, features)


def block_35(trunk: Trunk) -> Residual:
    """Inception-ResNet-A, figure 16."""
    return trunk.residual(
        [Conv(32, 1)],
        [Conv(32, 1), Conv(32, 3)],
        [Conv(32, 1), Conv(48, 3), Conv(64, 3)],
        scale=0.17,
    )


def block_17(trunk: Trunk) -> Residual:
    """Inception-ResNet-B, figure 17."""
    return trunk.residual(
        [Conv(192, 1)],
        [Conv(128, 1), Conv(160, (1, 7)), Conv(192, (7, 1))],
        scale=0.1,
    )


def block_8(trunk: Trunk, *, scale: float, activation: bool = True) -> Residual:
    """Inception-ResNet-C, figure 19."""
    return trunk.residual(
        [Conv(192, 1)],
        [Conv(192, 1), Conv(224, (1, 3)), Conv(256, (3, 1))],
        scale=scale,
        activation=activation,
    )
