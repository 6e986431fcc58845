"""How many steps fit into the time that a user gives."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from itertools import pairwise

from deeper.batches import steps_per_epoch
from deeper.training.course import Course, Sized, epochs_within, steps_of

_TRIED = 5


def steps_within(
    stages: Sequence[Sized],
    *,
    seconds: float,
    each: Sequence[float],
    judging: Sequence[float],
    validate_every: float,
    pictures: int,
) -> tuple[int, ...]:
    """Steps of each stage for so many seconds, the validations before the last step included.

    `each`, `judging`: seconds of a step and of a validation at each stage. `validate_every`: epochs between two.
    """
    between = [max(1, round(validate_every * steps_per_epoch(pictures, stage.batch))) for stage in stages]

    def within(left: float, per_step: Sequence[float]) -> tuple[int, ...]:
        epochs = epochs_within(stages, seconds=left, seconds_per_step=per_step, pictures=pictures)
        return steps_of(stages, epochs=epochs, pictures=pictures)

    def validations(counts: Sequence[int]) -> float:
        course = Course(stages, counts, pictures=pictures)
        ends = [0, *itertools.accumulate(counts)]
        done = [course.happened(end, validate_every) for end in ends]
        return sum((after - before) * one for (before, after), one in zip(pairwise(done), judging, strict=True))

    # First as if every step paid its part of a validation, though a part of one never takes place; then as the
    # validations of these steps allow. That may go to and fro: the most that fits is kept.
    counts = within(seconds, [step + one / every for step, one, every in zip(each, judging, between, strict=True)])
    found: tuple[int, ...] = ()
    for _ in range(_TRIED):
        spent = sum(count * step for count, step in zip(counts, each, strict=True)) + validations(counts)
        if spent <= seconds + max(each) and sum(counts) > sum(found):  # counts are rounded
            found = counts
        counts = within(seconds - validations(counts), each)
    return found or counts
