"""How many steps fit into the time that a user gives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from deeper.batches import steps_per_epoch
from deeper.training.course import Course, Sized, epochs_within, steps_of
from deeper.training.pace import Pace

_TRIED = 20


def steps_within(
    stages: Sequence[Sized],
    *,
    seconds: float,
    pace: Pace,
    judging: Sequence[float],
    validate_every: float,
    pictures: int,
) -> tuple[int, ...]:
    """Steps of each stage for so many seconds, the validations before the last step included.

    `judging`: seconds of a validation at each stage. `validate_every`: epochs between two.
    """
    between = [max(1, round(validate_every * steps_per_epoch(pictures, stage.batch))) for stage in stages]

    def within(left: float, per_step: Sequence[float]) -> tuple[int, ...]:
        epochs = epochs_within(stages, seconds=left, seconds_per_step=per_step, pictures=pictures)
        return steps_of(stages, epochs=epochs, pictures=pictures)

    def validations(course: Course) -> float:
        ends = [0, *(leg.last for leg in course.legs)]
        done = [course.happened(end, validate_every) for end in ends]
        return sum((after - before) * one for (before, after), one in zip(pairwise(done), judging, strict=True))

    # First as if every step paid its part of a validation, though a part of one never takes place; then as the
    # validations and the frozen steps of these allow. That may go to and fro: the most that fits is kept.
    counts = within(seconds, [step + one / every for step, one, every in zip(pace.each, judging, between, strict=True)])
    found: tuple[int, ...] = ()
    for _ in range(_TRIED):
        course = Course(stages, counts, pictures=pictures)
        spent = pace.seconds(course) + validations(course)
        if spent <= seconds + max(pace.each) and sum(counts) > sum(found):  # counts are rounded
            found = counts
        counts = within(seconds - validations(course), pace.per_step(course))
    return found or counts
