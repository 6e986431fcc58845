"""Which unlabelled pictures are worth labelling next: those between two classes (Settles, "Active Learning Literature
Survey", 2009, section 3.1: margin sampling)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deeper.prediction.answers import NO_CLASS, Prediction


@dataclass(frozen=True)
class Ranked:
    """A picture and how undecided its answer is. `margin`: probability of the first class less that of the second.
    `index`: of its prediction among those given; names may repeat."""

    source: str
    first: str
    second: str
    probability: float
    margin: float
    unsure: str
    index: int


def rank_uncertain(predictions: Iterable[Prediction], count: int | None = None) -> list[Ranked]:
    """The most undecided first; of equal ones, in the order given. `count`: how many, all when None.

    Pictures whose input is amiss (blank, inverted, …) come last: a label for them would teach little.
    """
    ranked = []
    for index, one in enumerate(predictions):
        (first, high), (second, low) = one.top(2)
        ranked.append(Ranked(one.source, first, second, high, high - low, one.unsure, index))
    amiss = [bool(one.unsure) and not one.unsure.startswith(NO_CLASS) for one in ranked]
    order = sorted(range(len(ranked)), key=lambda number: (amiss[number], ranked[number].margin))
    return [ranked[number] for number in order[:count]]
