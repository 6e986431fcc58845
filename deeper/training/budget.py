"""How many steps fit into the time that a user gives."""

from __future__ import annotations

from collections.abc import Sequence

from deeper.batches import steps_per_epoch
from deeper.training.course import Sized, epochs_within, steps_of


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
        return sum(count // every * one for count, every, one in zip(counts, between, judging, strict=True))

    # First as if every step paid its part of a validation, though a part of one never takes place.
    counts = within(seconds, [step + one / every for step, one, every in zip(each, judging, between, strict=True)])
    more = within(seconds - validations(counts), each)
    return more if validations(more) == validations(counts) else counts
