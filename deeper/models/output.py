"""What every network returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """One fixed return type, in training and in evaluation, with auxiliary heads or without."""

    logits: Tensor
    """N × classes."""
    aux: tuple[Tensor, ...]
    """Logits of the auxiliary heads, N × classes each, from the input upwards; empty in evaluation."""
    features: Tensor
    """N × D: the penultimate layer, what the logits are a linear function of (before dropout)."""
