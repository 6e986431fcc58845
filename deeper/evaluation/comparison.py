"""Several evaluations of the same pictures: who is better, and can that be told from chance?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.errors import UsageError, printable
from deeper.evaluation.evaluation import Evaluation
from deeper.statistics import holm, mcnemar, paired_interval

# What counts as told from chance, after Holm's adjustment.
LEVEL = 0.05


@dataclass(frozen=True)
class Pair:
    """Two runs on the same pictures.

    `difference`: accuracy of the first minus that of the second, with Newcombe's paired 95 % interval (of this pair
    alone), an approximation. `p_value`: exact McNemar; `adjusted`: the same by Holm over all pairs, which is what
    `differs` goes by, also where the interval just leaves 0 out or in.
    """

    first: str
    second: str
    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    interval: tuple[float, float]
    p_value: float
    adjusted: float

    @property
    def differs(self) -> bool:
        """Whether the difference is told from chance at 5 %, over all pairs together."""
        return self.adjusted < LEVEL

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it; keys are described in docs/json.md."""
        return {
            "first": self.first,
            "second": self.second,
            "both_right": self.both,
            "only_first_right": self.only_first,
            "only_second_right": self.only_second,
            "both_wrong": self.neither,
            "difference": self.difference,
            "interval": list(self.interval),
            "p_value": self.p_value,
            "adjusted_p_value": self.adjusted,
            "differs": self.differs,
        }


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several evaluations of the same pictures, and what each pair of them disagrees about."""

    evaluations: Mapping[str, Evaluation]
    pairs: tuple[Pair, ...]

    def to_plain(self) -> dict[str, Any]:
        """What `deeper compare --json` prints; keys are described in docs/json.md."""
        return {
            "runs": [{"run": name, **one.summary()} for name, one in self.evaluations.items()],
            "pairs": [pair.to_plain() for pair in self.pairs],
        }


def compare(evaluations: Mapping[str, Evaluation]) -> Comparison:
    """Compare evaluations of the same pictures, pair by pair. Raises: UsageError, as `align`, or for fewer than two."""
    if len(evaluations) < 2:
        raise UsageError(f"{len(evaluations)} evaluation given; wanted at least two to compare")
    right = align(evaluations)
    pairs = [_pair(first, second, right[first], right[second]) for first, second in combinations(evaluations, 2)]
    adjusted = holm([pair.p_value for pair in pairs])
    return Comparison(
        dict(evaluations), tuple(replace(pair, adjusted=value) for pair, value in zip(pairs, adjusted, strict=True))
    )


def _pair(first: str, second: str, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Pair:
    both, only_first, only_second = int(np.sum(one & other)), int(np.sum(one & ~other)), int(np.sum(~one & other))
    neither = len(one) - both - only_first - only_second
    p_value = mcnemar(only_first, only_second)
    return Pair(
        first=first,
        second=second,
        both=both,
        only_first=only_first,
        only_second=only_second,
        neither=neither,
        difference=(only_first - only_second) / len(one),
        interval=paired_interval(both, only_first, only_second, neither),
        p_value=p_value,
        adjusted=p_value,
    )


def align(evaluations: Mapping[str, Evaluation]) -> dict[str, NDArray[np.bool_]]:
    """For each name, where it is right, over the same pictures in the same order (sorted by id).

    Raises: UsageError, when two do not speak of the same pictures with the same labels, naming a picture.
    """
    labels = {name: _labels(name, evaluation) for name, evaluation in evaluations.items()}
    first_name, first = next(iter(labels.items()))
    for name, other in labels.items():
        _refuse_difference(first_name, first, name, other)
    order = sorted(first)
    rows = {}
    for name, evaluation in evaluations.items():
        right = dict(zip(evaluation.ids, evaluation.right, strict=True))
        rows[name] = np.array([right[identifier] for identifier in order], dtype=np.bool_)
    return rows


def _labels(name: str, evaluation: Evaluation) -> dict[str, str]:
    # By name: two runs may list their classes in another order.
    labels = dict(zip(evaluation.ids, (evaluation.classes[label] for label in evaluation.labels), strict=True))
    if len(labels) < evaluation.total:
        raise UsageError(
            f"{printable(name)} judged {evaluation.total - len(labels)} pictures twice under one id; ids must be unique"
        )
    return labels


def _refuse_difference(first_name: str, first: Mapping[str, str], name: str, other: Mapping[str, str]) -> None:
    if first == other:
        return
    names = f"{printable(first_name)} and {printable(name)}"
    advice = "compare them on one dataset and split (--source, --split)"
    for owner, mine, theirs in ((first_name, first, other), (name, other, first)):
        only = sorted(mine.keys() - theirs.keys())
        if only:
            raise UsageError(
                f"{names} were judged on different pictures: {len(only):,} only by {printable(owner)}, "
                f"{printable(only[0])} among them; {advice}"
            )
    odd = min(identifier for identifier in first if first[identifier] != other[identifier])
    raise UsageError(
        f"{names} were judged by different labels: {printable(odd)} is {printable(first[odd], 60)} for one and "
        f"{printable(other[odd], 60)} for the other; {advice}"
    )
