"""The small Inception, for pictures of about 28 pixels: Zhang et al., Understanding Deep Learning Requires Rethinking
Generalization, arXiv 1611.03530, appendix A, figure 3.

Its layers are those of MXNet's `example/image-classification/symbols/inception-bn-28-small.py`, which the paper took
over; endpoints follow that file's names (its `in3a` is Mixed_3a here). Strides pad as TensorFlow's SAME does, so that odd
sizes are halved too, rounding up; that file pads alike on all sides, and takes only sizes that four divides. Shapes are
those of a 28 × 28 input.
"""

from __future__ import annotations

from torch import Tensor, nn

from deeper.errors import UsageError
from deeper.models.blocks import Dropout, Initialisation, Linear, Style, check_images, check_size
from deeper.models.heads import global_average
from deeper.models.mixed import Conv, Max, Mixed, Trunk
from deeper.models.output import Output

SMALLEST = 8


class InceptionSmall(nn.Module):
    """Mixed blocks of two branches, 1×1 and 3×3, and a mean over all positions: 1.65 million parameters with ten classes,
    0.2 billion multiply-adds at 28 × 28.

    Any size from 8 pixels, also another than built for; any channels and classes. It has no auxiliary head.
    `depth_multiplier`: all layers so many times as wide, as TF-Slim calls it; half the width needs a quarter of the work.

    Raises: UsageError, for an input below 8 pixels or another number of channels than built for, or layers without width.
    """

    def __init__(
        self,
        *,
        classes: int,
        channels: int = 3,
        height: int = 28,
        width: int = 28,
        dropout: float = 0.0,
        depth_multiplier: float = 1.0,
        gamma: bool = False,
        epsilon: float = 0.001,
        momentum: float = 0.1,
        initialisation: Initialisation = "variance_scaling",
    ) -> None:
        super().__init__()
        check_size("inception_small", height, width, SMALLEST)
        if not 0 < depth_multiplier <= 16:
            raise UsageError(
                f"inception_small: depth_multiplier must be above 0 and at most 16, got {depth_multiplier}"
            )
        self.channels = channels
        style = Style(
            gamma=gamma,
            epsilon=epsilon,
            momentum=momentum,
            initialisation=initialisation,
        )
        trunk = Trunk(channels, style)

        def wide(outputs: int) -> int:
            return max(1, round(outputs * depth_multiplier))

        def block(one: int, three: int) -> Mixed:
            """An "Inception module" of the figure."""
            return trunk.mixed([Conv(wide(one), 1)], [Conv(wide(three), 3)])

        def reduction(three: int) -> Mixed:
            """A "downsample module" of the figure."""
            return trunk.mixed([Conv(wide(three), 3, stride=2)], [Max(3, stride=2)])

        self.Conv2d_1a_3x3 = trunk.conv(wide(96), 3)  # N × 96 × 28 × 28
        self.Mixed_3a = block(32, 32)  # N × 64 × 28 × 28
        self.Mixed_3b = block(32, 48)  # N × 80 × 28 × 28
        self.Mixed_3c = reduction(80)  # N × 160 × 14 × 14
        self.Mixed_4a = block(112, 48)  # N × 160 × 14 × 14
        self.Mixed_4b = block(96, 64)  # N × 160 × 14 × 14
        self.Mixed_4c = block(80, 80)  # N × 160 × 14 × 14
        self.Mixed_4d = block(48, 96)  # N × 144 × 14 × 14
        self.Mixed_4e = reduction(96)  # N × 240 × 7 × 7
        self.Mixed_5a = block(176, 160)  # N × 336 × 7 × 7
        self.Mixed_5b = block(176, 160)  # N × 336 × 7 × 7
        self.Dropout_1b = Dropout(dropout)
        self.Logits = Linear(trunk.channels, classes, initialisation)

    def forward(self, images: Tensor) -> Output:
        check_images("inception_small", images, self.channels, SMALLEST)
        x = self.Mixed_3c(self.Mixed_3b(self.Mixed_3a(self.Conv2d_1a_3x3(images))))
        x = self.Mixed_4d(self.Mixed_4c(self.Mixed_4b(self.Mixed_4a(x))))
        x = self.Mixed_5b(self.Mixed_5a(self.Mixed_4e(x)))
        features = global_average(x)  # N × 336
        return Output(self.Logits(self.Dropout_1b(features)), (), features)
