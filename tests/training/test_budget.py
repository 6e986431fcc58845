import pytest

from deeper.training.budget import steps_within
from deeper.training.course import Sized

SMALL = Sized(height=50, width=50, batch=50, share=0.5)
LARGE = Sized(height=100, width=100, batch=50, share=0.5)


def cost(counts, each, judging, between):
    return sum(
        count * step + count // every * one
        for count, step, one, every in zip(counts, each, judging, between, strict=True)
    )


def within(seconds, *, each=(0.1, 0.4), judging=(1.0, 4.0), validate_every=1.0):
    return steps_within(
        (SMALL, LARGE), seconds=seconds, each=each, judging=judging, validate_every=validate_every, pictures=1000
    )


@pytest.mark.parametrize("seconds", [3, 10, 30, 100, 1000])
@pytest.mark.parametrize("validate_every", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("judging", [(0.0, 0.0), (1.0, 4.0), (20.0, 80.0)])
def test_the_time_is_held_and_used(seconds, validate_every, judging):
    counts = within(seconds, judging=judging, validate_every=validate_every)
    between = [max(1, round(validate_every * 20))] * 2
    taken = cost(counts, (0.1, 0.4), judging, between)
    assert taken <= seconds * 1.03 + 1  # counts are rounded
    one_more = sum(judging) + 0.5
    # Each stage may leave up to one validation that it cannot begin.
    assert taken >= seconds - one_more - 1


def test_a_stage_too_short_for_a_validation_pays_for_none():
    assert within(4.0) == (8, 8)


def test_at_least_one_step_of_each():
    assert within(0.0) == (1, 1)
