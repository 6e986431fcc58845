import pytest

from deeper.training.budget import steps_within
from deeper.training.course import Course, Sized
from deeper.training.pace import Pace

SMALL = Sized(height=50, width=50, batch=50, share=0.5)
LARGE = Sized(height=100, width=100, batch=50, share=0.5)


def cost(counts, each, judging, validate_every, stages=(SMALL, LARGE)):
    """Of a training as its loop goes."""
    course = Course(stages, counts, pictures=1000)
    taken = dict(zip((stage.size for stage in stages), judging, strict=True))
    validations = sum(
        taken[course.leg(done - 1).size] for done in range(1, course.steps + 1) if course.due(done, validate_every)
    )
    return sum(count * step for count, step in zip(counts, each, strict=True)) + validations


def within(seconds, *, each=(0.1, 0.4), judging=(1.0, 4.0), validate_every=1.0, stages=(SMALL, LARGE), **more):
    return steps_within(
        stages,
        seconds=seconds,
        pace=Pace(each=each, **more),
        judging=judging,
        validate_every=validate_every,
        pictures=1000,
    )


@pytest.mark.parametrize("seconds", [3, 10, 30, 100, 1000])
@pytest.mark.parametrize("validate_every", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("judging", [(0.0, 0.0), (1.0, 4.0), (20.0, 80.0)])
def test_the_time_is_held_and_used(seconds, validate_every, judging):
    counts = within(seconds, judging=judging, validate_every=validate_every)
    taken = cost(counts, (0.1, 0.4), judging, validate_every)
    assert taken <= seconds * 1.03 + 1  # counts are rounded
    one_more = sum(judging) + 0.5
    # Each stage may leave up to one validation that it cannot begin.
    assert taken >= seconds - one_more - 1


@pytest.mark.parametrize("seconds", [10, 30, 100, 1000])
@pytest.mark.parametrize("validate_every", [0.3, 1.0])
def test_also_where_batches_shrink(seconds, validate_every):
    """Validations go by the pictures shown, whatever a stage leaves of an epoch."""
    stages = (
        SMALL,
        Sized(height=100, width=100, batch=20, share=0.3),
        Sized(height=120, width=120, batch=10, share=0.2),
    )
    each, judging = (0.1, 0.2, 0.3), (1.0, 2.0, 3.0)
    counts = within(seconds, each=each, judging=judging, validate_every=validate_every, stages=stages)
    taken = cost(counts, each, judging, validate_every, stages)
    assert seconds - sum(judging) - 1 <= taken <= seconds * 1.03 + 1


def test_a_stage_too_short_for_a_validation_pays_for_none():
    assert within(4.0) == (8, 8)


def test_at_least_one_step_of_each():
    assert within(0.0) == (1, 1)


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_steps_of_the_head_alone_pay_what_they_take(share):
    counts = within(
        100.0,
        judging=(0.0, 0.0),
        head_only=0.25,
        frozen=lambda course: round(share * course.steps),
        stages=(SMALL, LARGE),
    )
    frozen = round(share * sum(counts))
    taken = sum((0.1 if step < counts[0] else 0.4) * (0.25 if step < frozen else 1.0) for step in range(sum(counts)))
    assert 98 <= taken <= 101
    whole = sum(within(100.0, judging=(0.0, 0.0)))
    assert sum(counts) > whole * (1.02 if share < 0.2 else 1.15)


def test_frozen_epochs_are_so_many_whatever_the_time():
    def frozen(course):
        return course.steps_for(2.0)

    short, long = (within(seconds, judging=(0.0, 0.0), head_only=0.25, frozen=frozen) for seconds in (30.0, 300.0))
    bare = within(300.0, judging=(0.0, 0.0))
    # Two epochs, forty steps, all at the first stage here: three quarters of 0.1 seconds saved of each.
    assert sum(long) - sum(bare) == pytest.approx(40 * 0.075 / 0.25, abs=2)
    assert sum(short) > sum(within(30.0, judging=(0.0, 0.0)))


@pytest.mark.parametrize("frozen", [10, 300, 1000, 5000])
@pytest.mark.parametrize("judging", [0.0, 7.0])
def test_many_frozen_steps_are_not_beyond_it(frozen, judging):
    """More than fit as whole steps: priced one way, then the other, the search would go to and fro."""
    one = (Sized(height=50, width=50, batch=50, share=1.0),)
    pace = {"head_only": 0.2, "frozen": lambda course: frozen}
    (count,) = within(500.0, each=(1.0,), judging=(judging,), stages=one, **pace)
    course = Course(one, (count,), pictures=1000)
    spent = Pace(each=(1.0,), **pace).seconds(course) + course.happened(count, 1.0) * judging
    assert 500 - judging - 2 <= spent <= 502
