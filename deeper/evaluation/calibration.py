"""Whether probabilities mean what they say: reliability, calibration error, and two proper scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeper.inference.scores import familiarity, log_softmax

# Bounds of a temperature and steps of the search for it: to a thousandth of its logarithm's range.
_TEMPERATURES = (0.05, 20.0)
_SEARCHED = 60
# Of the right answers, at most this share is called unsure.
UNSURE_SHARE = 0.01
# Of the right answers, at most this share is called unlike the training pictures.
UNFAMILIAR_SHARE = 0.005

# Equal-width bins of confidence for the calibration error (Guo et al. 2017, arXiv 1706.04599).
BINS = 15


class Bin(NamedTuple):
    """`pictures`: how many whose confidence (probability of the given class) lies in [low, high), the last bin closed.

    `confidence` and `accuracy` are means over them, None where there are none.
    """

    low: float
    high: float
    pictures: int
    confidence: float | None
    accuracy: float | None


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS) -> tuple[Bin, ...]:
    """Pictures sorted into equal-width bins of confidence. Shapes: N."""
    member = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    counts = np.bincount(member, minlength=bins)
    sure = np.bincount(member, weights=confidence, minlength=bins)
    correct = np.bincount(member, weights=right, minlength=bins)
    return tuple(
        Bin(
            number / bins,
            (number + 1) / bins,
            int(count),
            float(sure[number] / count) if count else None,
            float(correct[number] / count) if count else None,
        )
        for number, count in enumerate(counts)
    )


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Mean |accuracy − confidence| over the bins, weighted by pictures (Guo et al. 2017, equation 3). 0..1."""
    total = sum(one.pictures for one in bins)
    gaps = (
        one.pictures * abs(one.accuracy - one.confidence)
        for one in bins
        if one.accuracy is not None and one.confidence is not None
    )
    return sum(gaps) / total


def negative_log_likelihood(log_probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean over the pictures, in nats. Shapes: N × K and N."""
    return float(-log_probabilities[np.arange(len(labels)), labels].mean())


def brier_score(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Squared distance from the true class's unit vector, summed over the classes, mean over the pictures (Brier 1950):
    0 is perfect, 2 is sure and wrong. Shapes: N × K and N."""
    of_true = probabilities[np.arange(len(labels)), labels]
    return float(((probabilities**2).sum(1) - 2 * of_true + 1).mean())


def fitted_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The T that makes softmax(logits / T) most likely for held-out `labels` (Guo et al. 2017, arXiv 1706.04599).

    The likelihood has one peak in 1/T, so a golden-section search of log T finds it, between 0.05 and 20. 1 where every
    answer is right: the likelihood would want 0 then, at which every answer is certain, also those to come that are
    wrong. Shapes: N × K and N, N ≥ 1.
    """
    if (logits.argmax(axis=1) == labels).all():
        return 1.0
    ratio = (np.sqrt(5) - 1) / 2

    def loss(logarithm: float) -> float:
        return negative_log_likelihood(log_softmax((logits / np.exp(logarithm)).astype(np.float32)), labels)

    low, high = np.log(_TEMPERATURES[0]), np.log(_TEMPERATURES[1])
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(_SEARCHED):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = loss(right)
    return float(np.exp((low + high) / 2))


def unfamiliar_below(logits: NDArray[np.float32], right: NDArray[np.bool_]) -> float | None:
    """The familiarity below which a picture is unlike the training pictures: of those answered right in a held-out set,
    one in two hundred lies below it. None where nothing was right. Shapes: N × K and N."""
    return float(np.quantile(familiarity(logits[right]), UNFAMILIAR_SHARE)) if right.any() else None


def unsure_below(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """The probability below which an answer is called unsure: of the right ones of a held-out set, one in a hundred lies
    below it, and never more than 0.99 is asked. 0 where nothing was right. Shapes: N."""
    if not right.any():
        return 0.0
    return float(min(0.99, np.quantile(confidence[right], UNSURE_SHARE)))
