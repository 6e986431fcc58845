import math

import pytest

from deeper.errors import UsageError
from deeper.training.schedules import Constant, Cosine, ExponentialStaircase, OneCycle, Step

EVERY = [Constant(), Step(), ExponentialStaircase(), Cosine(), OneCycle()]


@pytest.mark.parametrize("schedule", EVERY, ids=lambda schedule: schedule.name)
def test_stays_between_zero_and_one(schedule):
    factors = [schedule.factor(step, 500, step / 50) for step in range(500)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert max(factors) > 0.9


def test_step_drops_at_its_milestones():
    schedule = Step(milestones=(0.5, 0.75), factor_each=0.1)
    assert [round(schedule.factor(step, 100, step / 10), 6) for step in (0, 49, 50, 74, 75, 99)] == [
        1,
        1,
        0.1,
        0.1,
        0.01,
        0.01,
    ]


def test_staircase_is_the_guides():
    # research/inception: 0.1 · 0.16 every 30 epochs.
    schedule = ExponentialStaircase(epochs=30, factor_each=0.16)
    assert schedule.factor(30 * 100 - 1, 10**6, 29.99) == 1
    assert schedule.factor(30 * 100, 10**6, 30) == pytest.approx(0.16)
    assert schedule.factor(89 * 100, 10**6, 89) == pytest.approx(0.16**2)


def test_cosine_warms_up_and_ends_at_its_floor():
    schedule = Cosine(warm_up=0.1, floor=0.05)
    factors = [schedule.factor(step, 1000, step / 100) for step in range(1000)]
    assert factors[:100] == sorted(factors[:100])
    assert factors[100] == pytest.approx(1)
    assert factors[550] == pytest.approx(0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi / 2)), abs=1e-6)
    assert factors[-1] == pytest.approx(0.05, abs=1e-4)


def test_one_cycle_rises_then_falls_to_its_end():
    schedule = OneCycle(peak_at=0.25, start=0.1, end=0.0)
    factors = [schedule.factor(step, 400, step / 100) for step in range(400)]
    assert factors[0] == pytest.approx(0.1, abs=0.01)
    assert factors.index(max(factors)) in (99, 100)
    assert factors[-1] < 0.01
    assert factors[:99] == sorted(factors[:99])
    assert factors[101:] == sorted(factors[101:], reverse=True)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Step(milestones=(0.7, 0.3)),
        lambda: Step(milestones=(1.5,)),
        lambda: ExponentialStaircase(epochs=0),
        lambda: Cosine(warm_up=1.0),
        lambda: OneCycle(peak_at=0.0),
    ],
)
def test_impossible_values_are_refused(make):
    with pytest.raises(UsageError):
        make()


def test_staircase_drops_at_whole_intervals_of_fractions():
    """0.6 epochs are three intervals of 0.2, though 0.6 / 0.2 is a hair less than 3."""
    schedule = ExponentialStaircase(epochs=0.2, factor_each=0.5)
    assert [schedule.factor(step, 15, step / 5) for step in range(15)] == [0.5**step for step in range(15)]
