"""What ends a network: global pooling with logits, and the auxiliary heads that help the lower layers learn."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from deeper.models.blocks import Convolution, Dropout, Linear, Style


def global_average(x: Tensor) -> Tensor:
    """The mean over all positions, whatever the input's size. N × C × H × W → N × C."""
    return x.mean((2, 3))


class AuxiliaryHead(nn.Module):
    """Of v3, v4 and Inception-ResNet-v2, on the last 17×17 block: average-pool 5×5 stride 3, 1×1×128, 5×5×768, logits.

    At 299 the 5×5 convolution sees a 5×5 map. Smaller maps get a smaller pooling window and are padded with zeros up
    to 5×5 (the middle of the kernel sees them), larger ones are averaged after it: one set of weights serves every
    input size, so that training may change sizes on the way. TF-Slim shrinks the kernel instead, with other weights
    for each size; at 299 the two are the same.
    """

    def __init__(self, inputs: int, classes: int, style: Style) -> None:
        super().__init__()
        self.Conv2d_1b_1x1 = Convolution(inputs, 128, 1, style=style)
        self.Conv2d_2a_5x5 = Convolution(128, 768, 5, style=style, padding="valid", deviation=0.01)
        self.Logits = Linear(768, classes, style.initialisation, deviation=0.001)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2], x.shape[3]
        x = F.avg_pool2d(x, (min(5, height), min(5, width)), stride=3)  # N × 768 × 5 × 5 at 299
        x = self.Conv2d_1b_1x1(x)  # N × 128 × 5 × 5
        missing_rows, missing_columns = max(0, 5 - x.shape[2]), max(0, 5 - x.shape[3])
        if missing_rows or missing_columns:
            left, top = missing_columns // 2, missing_rows // 2
            x = F.pad(x, (left, missing_columns - left, top, missing_rows - top))
        x = self.Conv2d_2a_5x5(x)  # N × 768 × 1 × 1
        logits: Tensor = self.Logits(global_average(x))
        return logits


class EarlyAuxiliaryHead(nn.Module):
    """Of v1, on two of the 14×14 blocks: pool to 4×4, 1×1×128, fully connected 1024, dropout 0.7, logits.

    The paper pools 5×5 at stride 3, which gives 4×4 only from 14×14; `adaptive` pools any size to 4×4, as torchvision
    does. Without it, maps of another size than 14×14 are pooled adaptively too.
    """

    def __init__(self, inputs: int, classes: int, style: Style, *, adaptive: bool, dropout: float) -> None:
        super().__init__()
        self.adaptive = adaptive
        self.Conv2d_1b_1x1 = Convolution(inputs, 128, 1, style=style)
        self.Full_2a = Linear(128 * 4 * 4, 1024, style.initialisation)
        self.Dropout_2a = Dropout(dropout)
        self.Logits = Linear(1024, classes, style.initialisation)

    def forward(self, x: Tensor) -> Tensor:
        if self.adaptive or x.shape[2] != 14 or x.shape[3] != 14:
            x = F.adaptive_avg_pool2d(x, (4, 4))  # N × 512 × 4 × 4
        else:
            x = F.avg_pool2d(x, 5, stride=3)
        x = self.Conv2d_1b_1x1(x).flatten(1)  # N × 2048
        logits: Tensor = self.Logits(self.Dropout_2a(F.relu(self.Full_2a(x))))
        return logits
