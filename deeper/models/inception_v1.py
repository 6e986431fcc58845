"""Inception v1, GoogLeNet: Szegedy et al., Going Deeper with Convolutions, arXiv 1409.4842, table 1.

Endpoints are named as in `tensorflow/models`, `research/slim/nets/inception_v1.py`, whose letters begin at b: its
Mixed_3b is the paper's inception (3a). Shapes are those of a 224 × 224 input.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from deeper.models.blocks import Dropout, Initialisation, Linear, Style, check_images, check_size
from deeper.models.heads import EarlyAuxiliaryHead, global_average
from deeper.models.mixed import Conv, Max, Mixed, Trunk
from deeper.models.output import Output

SMALLEST = 32

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "batch_norm": False,
        "local_response": True,
        "five_by_five": True,
        "dropout": 0.4,
        "adaptive_auxiliary": False,
        "initialisation": "glorot_uniform",
    },
    "slim": {
        "auxiliary": False,
        "momentum": 0.0003,
        "initialisation": "truncated_normal",
        "deviation": 0.01,
    },
    "torchvision": {
        "gamma": True,
        "tensorflow_padding": False,
        "initialisation": "truncated_normal",
        "deviation": 0.01,
    },
}


class InceptionV1(nn.Module):
    """22 layers deep, 6.6 million parameters with 1000 classes and batch norm, 1.5 billion multiply-adds at 224 × 224.

    Any size from 32 pixels, also another than built for; any channels and classes. The paper has no batch norm but
    local response normalisation, and 5×5 convolutions in the third branch where TF-Slim and torchvision have 3×3.
    `auxiliary`: whether it has the paper's two auxiliary heads, on Mixed_4b and Mixed_4e, whose logits come out in
    training only.

    Raises: UsageError, for an input below 32 pixels or another number of channels than built for.
    """

    def __init__(
        self,
        *,
        classes: int,
        channels: int = 3,
        height: int = 224,
        width: int = 224,
        auxiliary: bool = True,
        adaptive_auxiliary: bool = True,
        auxiliary_dropout: float = 0.7,
        dropout: float = 0.2,
        batch_norm: bool = True,
        local_response: bool = False,
        five_by_five: bool = False,
        gamma: bool = False,
        tensorflow_padding: bool = True,
        epsilon: float = 0.001,
        momentum: float = 0.1,
        initialisation: Initialisation = "variance_scaling",
        deviation: float = 0.1,
    ) -> None:
        super().__init__()
        check_size("inception_v1", height, width, SMALLEST)
        self.channels = channels
        style = Style(
            batch_norm=batch_norm,
            gamma=gamma,
            tensorflow_padding=tensorflow_padding,
            epsilon=epsilon,
            momentum=momentum,
            initialisation=initialisation,
            deviation=deviation,
        )
        large = 5 if five_by_five else 3
        # As in Caffe's bvlc_googlenet: k = 1 and alpha divided by the window. Krizhevsky et al. 2012, which the paper
        # refers to, have the same numbers with k = 2 and alpha undivided.
        self.local_response = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75) if local_response else nn.Identity()
        trunk = Trunk(channels, style)

        def block(one: int, reduce_3: int, three: int, reduce_5: int, five: int, pooled: int) -> Mixed:
            """A row of table 1; the columns stand in its order."""
            return trunk.mixed(
                [Conv(one, 1)],
                [Conv(reduce_3, 1), Conv(three, 3)],
                [Conv(reduce_5, 1), Conv(five, large)],
                [Max(3), Conv(pooled, 1)],
            )

        def head() -> EarlyAuxiliaryHead:
            return EarlyAuxiliaryHead(
                trunk.channels, classes, style, adaptive=adaptive_auxiliary, dropout=auxiliary_dropout
            )

        self.Conv2d_1a_7x7 = trunk.conv(64, 7, stride=2)  # N × 64 × 112 × 112
        self.MaxPool_2a_3x3 = trunk.max_pool(3, padding="same")  # N × 64 × 56 × 56
        self.Conv2d_2b_1x1 = trunk.conv(64, 1)  # N × 64 × 56 × 56
        self.Conv2d_2c_3x3 = trunk.conv(192, 3)  # N × 192 × 56 × 56
        self.MaxPool_3a_3x3 = trunk.max_pool(3, padding="same")  # N × 192 × 28 × 28
        self.Mixed_3b = block(64, 96, 128, 16, 32, 32)  # N × 256 × 28 × 28
        self.Mixed_3c = block(128, 128, 192, 32, 96, 64)  # N × 480 × 28 × 28
        self.MaxPool_4a_3x3 = trunk.max_pool(3, padding="same")  # N × 480 × 14 × 14
        self.Mixed_4b = block(192, 96, 208, 16, 48, 64)  # N × 512 × 14 × 14
        self.AuxLogits_4b = head() if auxiliary else None
        self.Mixed_4c = block(160, 112, 224, 24, 64, 64)  # N × 512 × 14 × 14
        self.Mixed_4d = block(128, 128, 256, 24, 64, 64)  # N × 512 × 14 × 14
        self.Mixed_4e = block(112, 144, 288, 32, 64, 64)  # N × 528 × 14 × 14
        self.AuxLogits_4e = head() if auxiliary else None
        self.Mixed_4f = block(256, 160, 320, 32, 128, 128)  # N × 832 × 14 × 14
        self.MaxPool_5a_2x2 = trunk.max_pool(2, padding="same")  # N × 832 × 7 × 7
        self.Mixed_5b = block(256, 160, 320, 32, 128, 128)  # N × 832 × 7 × 7
        self.Mixed_5c = block(384, 192, 384, 48, 128, 128)  # N × 1024 × 7 × 7
        self.Dropout_1b = Dropout(dropout)
        self.Logits = Linear(trunk.channels, classes, initialisation)

    def forward(self, images: Tensor) -> Output:
        check_images("inception_v1", images, self.channels, SMALLEST)
        x = self.local_response(self.MaxPool_2a_3x3(self.Conv2d_1a_7x7(images)))
        x = self.local_response(self.Conv2d_2c_3x3(self.Conv2d_2b_1x1(x)))
        x = self.Mixed_3c(self.Mixed_3b(self.MaxPool_3a_3x3(x)))
        aux: tuple[Tensor, ...] = ()
        x = self.Mixed_4b(self.MaxPool_4a_3x3(x))
        if self.AuxLogits_4b is not None and self.training:
            aux += (self.AuxLogits_4b(x),)
        x = self.Mixed_4e(self.Mixed_4d(self.Mixed_4c(x)))
        if self.AuxLogits_4e is not None and self.training:
            aux += (self.AuxLogits_4e(x),)
        x = self.MaxPool_5a_2x2(self.Mixed_4f(x))
        features = global_average(self.Mixed_5c(self.Mixed_5b(x)))  # N × 1024
        return Output(self.Logits(self.Dropout_1b(features)), aux, features)
