"""What a network says of a batch, whichever engine ran it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

# Pictures that go through the network at once: the same cut for everyone, so that equal pictures in equal order get
# bit-equal answers.
BATCH = 250


@dataclass(frozen=True)
class Scores:
    """`logits`: float32 N × K. `features`: float32 N × D, the penultimate layer."""

    logits: NDArray[np.float32]
    features: NDArray[np.float32]


Predict: TypeAlias = Callable[[NDArray[np.uint8]], Scores]
"""uint8 N × H × W × C at the model's size → `Scores`."""


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logarithms of the probabilities, over the last axis, in float64: finite where the probability is too small to be
    told from 0."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def familiarity(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """log Σ exp(logit), over the last axis: how loudly the classes speak up for a picture, all together.

    It is the negative energy of Liu et al. 2020 (arXiv 2010.03759) at temperature 1. The softmax takes it away, and with
    it what best tells pictures of another kind: noise may get a high probability from small logits.
    """
    largest = logits.max(axis=-1).astype(np.float64)
    result: NDArray[np.float64] = largest + np.log(np.exp(logits - largest[..., None]).sum(axis=-1))
    return result


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities, over the last axis, in float64. They add up to 1 within 1e-12."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    result: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return result
