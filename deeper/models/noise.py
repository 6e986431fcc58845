"""Dropout whose masks are a function of (seed, step): an exact resume needs no generator state.

Drawing one float per unit was 19 % of NielsenNet's training step; raw random bits are far cheaper
(`docs/log.md`, 2026-11-23): at a probability of one half a unit needs one bit, otherwise two bytes.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeper import draws
from deeper.errors import UsageError


class Dropout(nn.Module):
    """Zeroes each unit with `probability` in training and scales the others so that the expectation stays.

    On a CPU, after `set_noise`, masks come from Philox keyed by (seed, step, which layer, which call of the step).
    Elsewhere, in compiled code, and where `set_noise` was never called, they are `F.dropout`'s, from torch's own
    generator (which the training loop seeds for each step).

    Raises: UsageError, for a probability outside [0, 1).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0 <= probability < 1:
            raise UsageError(f"dropout must be in [0, 1), got {probability}")
        self.probability = probability
        self._key: int | None = None
        self._calls = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return x
        # Asked first: compiled code that reads the key would be compiled anew for each step's.
        if torch.compiler.is_compiling() or self._key is None or x.device.type != "cpu":
            return F.dropout(x, self.probability)
        mask, scale = self._draw(x.shape)
        self._calls += 1
        # Scaling the mask, not the units, makes it one multiplication each way.
        return x * mask.to(x.dtype).mul_(scale)

    def _draw(self, shape: torch.Size) -> tuple[Tensor, float]:
        """The mask (uint8, 1 where a unit stays) and one over the share of units that stay."""
        count = shape.numel()
        # The key names the layer and step, the counter's highest word the call: streams never overlap.
        bits = np.random.Philox(key=self._key, counter=self._calls << 192)
        if self.probability == 0.5:
            packed = bits.random_raw((count + 63) // 64).view(np.uint8)
            kept, share = np.unpackbits(packed, count=count), 0.5
        else:
            # 16 bits round the probability to 1/65536; the scale uses the rounded value, so the expectation is exact.
            threshold = max(1, min(65535, round(self.probability * 65536)))
            halves = bits.random_raw((count + 3) // 4).view(np.uint16)[:count]
            kept, share = (halves >= threshold).view(np.uint8), 1 - threshold / 65536
        return torch.from_numpy(kept).view(shape), 1 / share

    def extra_repr(self) -> str:
        return f"{self.probability:g}"


def set_noise(model: nn.Module, seed: int, step: int) -> None:
    """Fix all dropout masks of the coming step. To be called before the forward pass of each training step."""
    number = 0
    for module in model.modules():
        if isinstance(module, Dropout):
            module._key = draws.derive(seed, step, f"dropout {number}")
            module._calls = 0
            number += 1
