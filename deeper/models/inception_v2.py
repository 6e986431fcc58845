"""Inception v2, BN-Inception: Ioffe and Szegedy, Batch Normalization, arXiv 1502.03167, figure 5.

Endpoints are named as in `tensorflow/models`, `research/slim/nets/inception_v2.py`: its Mixed_3b is the paper's
inception (3a), its Mixed_4a the paper's (3c). Shapes are those of a 224 × 224 input.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from deeper.models.blocks import (
    Dropout,
    Initialisation,
    Linear,
    Style,
    check_images,
    check_size,
    initialise,
    pad_as_tensorflow,
    pair,
)
from deeper.models.heads import global_average
from deeper.models.mixed import Average, Conv, Max, Mixed, Trunk
from deeper.models.output import Output

SMALLEST = 32

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"gamma": True, "momentum": 0.1},
    "slim": {"separable_stem": True, "momentum": 0.0003},
}


class InceptionV2(nn.Module):
    """v1 with batch norm, 5×5 as two 3×3, and strides inside mixed blocks: 11.2 million parameters with 1000 classes,
    2.0 billion multiply-adds at 224 × 224.

    Any size from 32 pixels, also another than built for; any channels and classes. It has no auxiliary head.
    `separable_stem`: TF-Slim's first layer, depthwise 7×7 with eight filters a channel, then 1×1. The paper's figure
    gives the pool projections of (4c) and (4d) as 128, which its own 576 outputs contradict; 96 here, as in TF-Slim.

    Raises: UsageError, for an input below 32 pixels or another number of channels than built for.
    """

    def __init__(
        self,
        *,
        classes: int,
        channels: int = 3,
        height: int = 224,
        width: int = 224,
        dropout: float = 0.2,
        separable_stem: bool = False,
        gamma: bool = False,
        tensorflow_padding: bool = True,
        average_padding: bool = False,
        epsilon: float = 0.001,
        momentum: float = 0.1,
        initialisation: Initialisation = "variance_scaling",
    ) -> None:
        super().__init__()
        check_size("inception_v2", height, width, SMALLEST)
        self.channels = channels
        style = Style(
            gamma=gamma,
            tensorflow_padding=tensorflow_padding,
            average_padding=average_padding,
            epsilon=epsilon,
            momentum=momentum,
            initialisation=initialisation,
        )
        trunk = Trunk(channels, style)

        def block(
            one: int, reduce: int, three: int, reduce_double: int, double: int, pool: Max | Average, pooled: int
        ) -> Mixed:
            """A row of figure 5; the columns stand in its order."""
            return trunk.mixed(
                [Conv(one, 1)],
                [Conv(reduce, 1), Conv(three, 3)],
                [Conv(reduce_double, 1), Conv(double, 3), Conv(double, 3)],
                [pool, Conv(pooled, 1)],
            )

        def reduction(reduce: int, three: int, reduce_double: int, double: int) -> Mixed:
            """A row of figure 5 with stride 2."""
            return trunk.mixed(
                [Conv(reduce, 1), Conv(three, 3, stride=2)],
                [Conv(reduce_double, 1), Conv(double, 3), Conv(double, 3, stride=2)],
                [Max(3, stride=2)],
            )

        self.Conv2d_1a_7x7: nn.Module  # N × 64 × 112 × 112
        if separable_stem:
            self.Conv2d_1a_7x7 = SeparableConvolution(channels, 64, 7, stride=2, multiplier=8, style=style)
            trunk.channels = 64
        else:
            self.Conv2d_1a_7x7 = trunk.conv(64, 7, stride=2)
        self.MaxPool_2a_3x3 = trunk.max_pool(3, padding="same")  # N × 64 × 56 × 56
        self.Conv2d_2b_1x1 = trunk.conv(64, 1)  # N × 64 × 56 × 56
        self.Conv2d_2c_3x3 = trunk.conv(192, 3)  # N × 192 × 56 × 56
        self.MaxPool_3a_3x3 = trunk.max_pool(3, padding="same")  # N × 192 × 28 × 28
        self.Mixed_3b = block(64, 64, 64, 64, 96, Average(3), 32)  # N × 256 × 28 × 28
        self.Mixed_3c = block(64, 64, 96, 64, 96, Average(3), 64)  # N × 320 × 28 × 28
        self.Mixed_4a = reduction(128, 160, 64, 96)  # N × 576 × 14 × 14
        self.Mixed_4b = block(224, 64, 96, 96, 128, Average(3), 128)  # N × 576 × 14 × 14
        self.Mixed_4c = block(192, 96, 128, 96, 128, Average(3), 128)  # N × 576 × 14 × 14
        self.Mixed_4d = block(160, 128, 160, 128, 160, Average(3), 96)  # N × 576 × 14 × 14
        self.Mixed_4e = block(96, 128, 192, 160, 192, Average(3), 96)  # N × 576 × 14 × 14
        self.Mixed_5a = reduction(128, 192, 192, 256)  # N × 1024 × 7 × 7
        self.Mixed_5b = block(352, 192, 320, 160, 224, Average(3), 128)  # N × 1024 × 7 × 7
        self.Mixed_5c = block(352, 192, 320, 192, 224, Max(3), 128)  # N × 1024 × 7 × 7
        self.Dropout_1b = Dropout(dropout)
        self.Logits = Linear(trunk.channels, classes, initialisation)

    def forward(self, images: Tensor) -> Output:
        check_images("inception_v2", images, self.channels, SMALLEST)
        x = self.Conv2d_2b_1x1(self.MaxPool_2a_3x3(self.Conv2d_1a_7x7(images)))
        x = self.MaxPool_3a_3x3(self.Conv2d_2c_3x3(x))
        x = self.Mixed_3c(self.Mixed_3b(x))
        x = self.Mixed_4e(self.Mixed_4d(self.Mixed_4c(self.Mixed_4b(self.Mixed_4a(x)))))
        x = self.Mixed_5c(self.Mixed_5b(self.Mixed_5a(x)))
        features = global_average(x)  # N × 1024
        return Output(self.Logits(self.Dropout_1b(features)), (), features)


class SeparableConvolution(nn.Module):
    """`multiplier` filters for each input channel on its own, then a 1×1 convolution with a bias, and ReLU.

    No batch norm: TF-Slim's argument scope for Inception sets it for plain convolutions only, as its parameter count
    (10,173,112 in `inception_v2_test.py`) confirms.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int, multiplier: int, style: Style) -> None:
        super().__init__()
        self.kernel, self.stride, self.pads_as_tensorflow = pair(kernel), pair(stride), style.tensorflow_padding
        around = 0 if self.pads_as_tensorflow else kernel // 2
        self.depthwise = nn.Conv2d(inputs, inputs * multiplier, kernel, stride, around, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs * multiplier, outputs, 1)
        initialise(self.depthwise, style.initialisation, style.deviation)
        initialise(self.pointwise, style.initialisation, style.deviation)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        if self.pads_as_tensorflow:
            x = pad_as_tensorflow(x, self.kernel, self.stride)
        activations: Tensor = self.activation(self.pointwise(self.depthwise(x)))
        return activations
