"""The statistics that every report here uses: intervals and paired tests, exact where that is affordable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist

# The 97.5 % point of the normal distribution.
_Z = 1.959963984540054


def simultaneous_z(intervals: int, level: float = 0.95) -> float:
    """The normal quantile for so many two-sided intervals that cover together with probability `level` or more, whatever
    depends on what (Bonferroni; Dunn 1961)."""
    return NormalDist().inv_cdf(1 - (1 - level) / (2 * max(1, intervals)))


@cache
def student_quantile(freedom: int) -> float:
    """The 97.5 % point of Student's t distribution: its integral is a finite sum of powers of a cosine (Abramowitz and
    Stegun, 26.7.3 and 26.7.4), inverted by bisection. `freedom`: 1 or more."""
    low, high = 0.0, math.pi / 2
    while low < (angle := (low + high) / 2) < high:
        cosine = math.cos(angle)
        term = cosine if freedom % 2 else 1.0
        total = 0.0
        for power in range(1 + freedom % 2, freedom, 2):
            total += term
            term *= cosine * cosine * power / (power + 1)
        within = math.sin(angle) * total
        if freedom % 2:
            within = (angle + within) * 2 / math.pi
        low, high = (angle, high) if within < 0.95 else (low, angle)
    return math.sqrt(freedom) * math.tan(low)


def wilson_interval(correct: int, total: int, z: float = _Z) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927), 95 % unless `z` is another normal quantile. (0, 1) when
    there is nothing to judge by."""
    if total == 0:
        return 0.0, 1.0
    share = correct / total
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
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


def paired_interval(both: int, only_first: int, only_second: int, neither: int, z: float = _Z) -> tuple[float, float]:
    """Interval (95 % unless `z` is another normal quantile) of the difference of two accuracies on the same pictures
    (first − second), by Newcombe (1998, Statistics in Medicine 17:2635, method 10): Wilson's intervals of the two,
    joined with the correlation that the pairing gives them. The four counts are of pictures. (−1, 1) when there are none.

    It holds its level where both accuracies are near 1, which the textbook interval does not.
    """
    total = both + only_first + only_second + neither
    if total == 0:
        return -1.0, 1.0
    first, second = (both + only_first) / total, (both + only_second) / total
    first_low, first_high = wilson_interval(both + only_first, total, z)
    second_low, second_high = wilson_interval(both + only_second, total, z)
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


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's step-up adjustment (1995), in the given order: calling all below q significant makes a
    share of at most q of the calls false, on average."""
    count = len(p_values)
    order = sorted(range(count), key=lambda index: p_values[index], reverse=True)
    adjusted = [0.0] * count
    lowest = 1.0
    for rank, index in enumerate(order):
        lowest = min(lowest, p_values[index] * count / (count - rank))
        adjusted[index] = lowest
    return adjusted


def fisher_exact(first_yes: int, first_no: int, second_yes: int, second_no: int) -> float:
    """Fisher's exact two-sided p-value that two groups have the same share (Fisher 1922): the probability, all margins
    given, of every table that is no more likely than this one."""
    yes, total = first_yes + second_yes, first_yes + first_no + second_yes + second_no
    first = first_yes + first_no
    lowest, highest = max(0, first + yes - total), min(first, yes)
    if lowest == highest:
        return 1.0
    # Relative to the given table, term by term: no binomial coefficient of thousands is written out.
    logarithms = [
        -(
            math.lgamma(k + 1)
            + math.lgamma(first - k + 1)
            + math.lgamma(yes - k + 1)
            + math.lgamma(total - first - yes + k + 1)
        )
        for k in range(lowest, highest + 1)
    ]
    here = logarithms[first_yes - lowest]
    largest = max(logarithms)
    weights = [math.exp(value - largest) for value in logarithms]
    # Tables as likely as this one count; rounding must not leave them out (as in R and SciPy).
    chosen = math.fsum(weight for weight, value in zip(weights, logarithms, strict=True) if value <= here + 1e-7)
    return min(1.0, chosen / math.fsum(weights))


def permutation_test(first: Sequence[int], second: Sequence[int]) -> float:
    """Exact two-sided permutation p-value of the difference of two groups' means: the share of all ways to deal the same
    whole numbers into groups of these sizes whose difference is at least as large. 1 where a group is empty.

    The ways are counted by their sums (Pagano and Tritchler 1983), not dealt: twenty and twenty, 138 thousand million
    ways, take as long as it takes to add some long numbers.
    """
    if not first or not second:
        return 1.0
    sizes, total = (len(first), len(second)), sum(first) + sum(second)
    lowest = min(*first, *second)
    ways = math.comb(sum(sizes), sizes[0])

    def difference(chosen: int) -> int:
        # Of the means, times the product of the sizes: a whole number, which is compared without rounding.
        return abs(chosen * sizes[1] - (total - chosen) * sizes[0])

    here = difference(sum(first))
    digit = -(-ways.bit_length() // 8)
    # Of so many values above `lowest`, how often each sum occurs: one long number, with a digit for each sum.
    counts = [1, *(0 for _ in first)]
    for value in (*first, *second):
        for taken in range(sizes[0], 0, -1):
            counts[taken] += counts[taken - 1] << (8 * digit * (value - lowest))
    text = counts[-1].to_bytes(-(-counts[-1].bit_length() // 8), "little")
    far = sum(
        int.from_bytes(text[place * digit : (place + 1) * digit], "little")
        for place in range(-(-len(text) // digit))
        if difference(place + lowest * sizes[0]) >= here
    )
    return far / ways
