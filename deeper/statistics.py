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
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided McNemar p-value from the pictures that only one of two got right (McNemar 1947): a binomial test
    of their split against one half."""
    total = only_first + only_second
    if total == 0:
        return 1.0
    fewer = min(only_first, only_second)
    # Whole numbers: exact for any count.
    tail = sum(math.comb(total, number) for number in range(fewer + 1))
    return float(min(1.0, 2 * tail / 2**total))


def paired_interval(only_first: int, only_second: int, total: int) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same pictures (first − second), by Agresti and Min
    (2005): Wald's with half an observation added to each of the four cells."""
    first, second, count = only_first + 0.5, only_second + 0.5, total + 2
    difference = (first - second) / count
    spread = _Z * math.sqrt(max(0.0, (first + second) - (first - second) ** 2 / count)) / count
    return max(-1.0, difference - spread), min(1.0, difference + spread)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment (Holm 1979), in the given order."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
