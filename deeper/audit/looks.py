"""Looking at training pictures before and after treatments: once at some of each class, and where that leaves the verdict
open and it matters most, which is where turning is undecided, at more of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeper.audit.result import Finding
from deeper.audit.traffic import Reading, Readings, sample
from deeper.audit.treatments import Treatment
from deeper.audit.verdicts import Groups, findings_of, group, unclear

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Look:
    """What was seen of one treatment. `readings`: of the pictures of `groups`, treated."""

    treatment: Treatment
    groups: Groups
    readings: Readings
    findings: list[Finding]


def look(
    reading: Reading,
    treatments: Sequence[Treatment],
    *,
    per_class: int,
    at_most: int,
    margin: float | None,
    shown: Callable[[str], Progress | None],
) -> list[Look]:
    """One look per treatment, in their order: at up to `per_class` pictures of each class, and again at up to `at_most`.

    The intervals of both hold together. `shown(what)`: the progress of a part of the work.
    """
    judge, keys = reading.judge, reading.pictures.keys
    positions = sample(judge, keys, per_class, reading.seed)
    extra = np.setdiff1d(sample(judge, keys, at_most, reading.seed), positions)
    looks = 2 if len(extra) and any(one.turning for one in treatments) else 1
    groups = group(judge, positions, looks * len(treatments), margin)
    turning = groups.of_more(judge, at_most)
    first: list[Look] = []
    for treatment, after in zip(treatments, reading.of(positions, treatments, shown("reading distorted pictures"))):
        mine = turning if treatment.turning else groups
        first.append(Look(treatment, mine, after, findings_of(judge, mine, treatment, after, reading.sure)))
    wanted = [extra[np.isin(judge.labels[extra], _open(reading, one))] for one in first]
    total, done = sum(map(len, wanted)), 0
    progress = shown("looking again where turning is undecided")
    found = []
    for one, more in zip(first, wanted):
        found.append(_again(reading, one, more, _behind(progress, done, total)) if len(more) else one)
        done += len(more)
    return found


def _open(reading: Reading, one: Look) -> list[int]:
    """The classes that more pictures could bring a verdict."""
    if not one.treatment.turning:
        return []
    return [label for label in one.groups.present if unclear(reading.judge, one.findings, label)]


def _again(reading: Reading, one: Look, positions: NDArray[np.int64], progress: Progress | None) -> Look:
    (seen,) = reading.of(positions, [one.treatment], progress)
    groups, readings = one.groups.with_more(reading.judge, positions), Readings.joined([one.readings, seen])
    return Look(
        one.treatment, groups, readings, findings_of(reading.judge, groups, one.treatment, readings, reading.sure)
    )


def _behind(progress: Progress | None, done: int, total: int) -> Progress | None:
    """The progress of a part that comes after `done` of `total`."""
    return None if progress is None else lambda count, _: progress(done + count, total)
