"""How many steps fit into the time that a user gives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from deeper.training.course import Course, Sized, steps_of
from deeper.training.pace import Pace

# An epoch of a million pictures to a part of a step.
_HALVED = 40
_LONGEST = 1e9


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

    def counts(epochs: float) -> tuple[int, ...]:
        return steps_of(stages, epochs=epochs, pictures=pictures)

    def over(epochs: float) -> float:
        """Seconds beyond those given; a step more is no matter, since counts are rounded."""
        course = Course(stages, counts(epochs), pictures=pictures)
        ends = [0, *(leg.last for leg in course.legs)]
        done = [course.happened(end, validate_every) for end in ends]
        validations = sum((after - before) * one for (before, after), one in zip(pairwise(done), judging, strict=True))
        return pace.seconds(course) + validations - seconds - max(pace.per_step(course))

    # Longer trainings never cost less, but not in proportion: validations come one at a time, and of the steps some may
    # be of the head alone. So it is searched.
    few, many = 0.0, 1.0
    while over(many) <= 0 and many < _LONGEST:
        few, many = many, 2 * many
    for _ in range(_HALVED):
        middle = (few + many) / 2
        few, many = (middle, many) if over(middle) <= 0 else (few, middle)
    return counts(few)
