"""The statistics that every report here uses: intervals and paired tests, exact where that is affordable."""

from __future__ import annotations

import math
from collections.abc import Sequence

# The 97.5 % point of the normal distribution.
_Z = 1.959963984540054


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion (Wilson 1927). (0, 1) when there is nothing to judge by."""
    if total == 0:
        return 0.0, 1.0
    share = correct / total
    middle = share + _Z * _Z / (2 * total)
    spread = _Z * math.sqrt(share * (1 - share) / total + _Z * _Z / (4 * total * total))
    scale = 1 + _Z * _Z / total
    # Rounding must not leave the share itself outside.
    return min(share, max(0.0, (middle - spread) / scale)), max(share, min(1.0, (middle + spread) / scale))


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar p-value from the pictures that only one of two got right (McNemar 1947): a binomial test
    of their split against one half."""
    total = only_first + only_second
    # Whole numbers: exact for any count. Each binomial coefficient follows from the one before.
    tail = term = 1
    for number in range(min(only_first, only_second)):
        term = term * (total - number) // (number + 1)
        tail += term
    return min(1.0, float(2 * tail / 2**total))


def paired_interval(both: int, only_first: int, only_second: int, neither: int) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same pictures (first − second), by Newcombe (1998,
    Statistics in Medicine 17:2635, method 10): Wilson's intervals of the two, joined with the correlation that the
    pairing gives them. The four counts are of pictures. (−1, 1) when there are none.

    It holds its level where both accuracies are near 1, which the textbook interval does not.
    """
    total = both + only_first + only_second + neither
    if total == 0:
        return -1.0, 1.0
    first, second = (both + only_first) / total, (both + only_second) / total
    first_low, first_high = wilson_interval(both + only_first, total)
    second_low, second_high = wilson_interval(both + only_second, total)
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    crossed = float(both * neither - only_first * only_second)
    if crossed > 0:
        # Newcombe's correction for continuity.
        crossed = max(0.0, crossed - total / 2)
    correlation = crossed / math.sqrt(margins) if margins else 0.0
    difference = first - second

    def joined(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))

    low = difference - joined(first - first_low, second_high - second)
    high = difference + joined(first_high - first, second - second_low)
    return max(-1.0, low), min(1.0, high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979), in the given order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
