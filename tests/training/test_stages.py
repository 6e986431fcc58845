"""Stages as values, and the course that they come to."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeper.errors import UsageError
from deeper.training.budget import steps_within
from deeper.training.course import Course, Sized, sized
from deeper.training.options import Options
from deeper.training.pace import Pace
from deeper.training.recipes import load, names
from deeper.training.schedules import Cosine, OneCycle
from deeper.training.stages import Stage, parse_stages
from deeper.values import from_plain, to_plain


def test_as_they_are_typed() -> None:
    assert parse_stages("75:0.5:64,149:0.3,299") == (
        Stage(size=75, share=0.5, batch=64),
        Stage(size=149, share=0.3),
        Stage(size=299),
    )
    assert parse_stages("75:0.5,299::16:0.2,299:::0.1") == (
        Stage(size=75, share=0.5),
        Stage(size=299, batch=16, hardest=0.2),
        Stage(size=299, hardest=0.1),
    )
    assert parse_stages("off") == ()


@pytest.mark.parametrize("text", ["", "small", "75:half", "75:0.5:4:1:1", "75,,299", "7.5"])
def test_what_cannot_be_meant_is_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="for example --sizes 75:0.5,149:0.3,299"):
        parse_stages(text)


@pytest.mark.parametrize(
    ("stages", "problem"),
    [
        ([{"size": 75, "scale": 0.5}], "not both"),
        ([{"scale": 1.5}], "at most 1"),
        ([{"size": 0}], "at least 1 pixel"),
        ([{"size": 75, "share": 0}], "above 0"),
        ([{"size": 75, "batch": 0}], "at least 1"),
        ([{"size": 75}, {"hardest": 0}], "hardest must be a share above 0 and at most 1, got 0"),
        ([{"size": 75}, {"hardest": 1.5}], "hardest must be a share above 0 and at most 1, got 1.5"),
        ([{"size": 75, "hardest": 0.5}, {}], "begin with a stage of all"),
        ([{"size": 75, "share": 1.0}, {}], "leave nothing"),
        ([{"size": 75, "share": 0.5}, {"share": 0.2}], "add up to 0.7; wanted 1"),
    ],
)
def test_options_refuse_stages_that_cannot_be(stages, problem) -> None:
    with pytest.raises(UsageError, match=problem):
        from_plain(Options, {"stages": stages})


def test_they_survive_being_written_down() -> None:
    options = Options(stages=(Stage(scale=0.25, share=0.5), Stage()))
    assert from_plain(Options, to_plain(options)) == options


def test_sizes_follow_the_run_and_never_fall_below_the_smallest() -> None:
    stages = (Stage(scale=0.25, share=0.5, batch=64), Stage(scale=0.5, share=0.3), Stage())
    native = sized(stages, height=299, width=299, batch=32, smallest=75)
    assert [one.size for one in native] == [(75, 75), (150, 150), (299, 299)]
    assert [one.batch for one in native] == [64, 32, 32] and [one.share for one in native] == pytest.approx(
        [0.5, 0.3, 0.2]
    )
    # At 151 pixels the first two come to about the smallest size: one stage, in the first one's batches.
    pressed = sized(stages, height=151, width=151, batch=32, smallest=75)
    assert [(one.height, one.batch, one.share) for one in pressed] == [(75, 64, 0.8), (151, 32, pytest.approx(0.2))]
    asked = (Stage(size=75, share=0.5, batch=64), Stage(size=75, share=0.5, batch=32))
    assert len(sized(asked, height=75, width=75, batch=32, smallest=75)) == 2
    # Neither are the hardest and all.
    asked = (
        Stage(scale=0.5, share=0.5),
        Stage(scale=0.5, share=0.2, hardest=0.1),
        Stage(scale=0.5, hardest=0.1),
        Stage(),
    )
    pressed = sized(asked, height=75, width=75, batch=32, smallest=75)
    assert [(one.hardest, one.share) for one in pressed] == [
        (None, 0.5),
        (0.1, pytest.approx(0.35)),
        (None, pytest.approx(0.15)),
    ]
    assert [one.size for one in sized(stages, height=75, width=75, batch=64, smallest=75)] == [(75, 75)]
    wide = sized(stages, height=150, width=300, batch=32, smallest=75)
    assert [one.size for one in wide] == [(75, 150), (150, 300)]


def test_the_last_stage_has_the_runs_size() -> None:
    with pytest.raises(UsageError, match="end with 128"):
        sized((Stage(size=75), Stage(size=100)), height=128, width=128, batch=32)


SIZES = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.sampled_from([4, 8, 16]),
        st.integers(1, 60),
        st.sampled_from([None, None, 0.01, 0.2, 0.7]),
    ),
    min_size=1,
    max_size=5,
)


@given(SIZES, st.integers(16, 100))
def test_a_course_counts_epochs_without_gaps(legs, pictures) -> None:
    stages = [
        Sized(height=side, width=side, batch=batch, share=1 / len(legs), hardest=hardest)
        for side, batch, _, hardest in legs
    ]
    course = Course(stages, [steps for _, _, steps, _ in legs], pictures=pictures)
    assert course.steps == sum(steps for _, _, steps, _ in legs)
    epochs = [course.epoch(step) for step in range(course.steps)]
    assert epochs[0] == 0
    assert all(later - earlier in (0, 1) for earlier, later in pairwise(epochs))
    for step in range(1, course.steps):
        before, leg = course.leg(step - 1), course.leg(step)
        if (before.batch, before.hardest) != (leg.batch, leg.hardest):
            # Another batch, or other pictures, never go on within an epoch that was cut otherwise.
            assert epochs[step] == epochs[step - 1] + 1
        # No example twice in an epoch.
        assert (step - leg.origin) % leg.turn * leg.batch < max(leg.hardest or pictures, leg.batch)
    assert course.pixels(course.steps) == sum(side * side * batch * steps for side, batch, steps, _ in legs)
    places = [course.position(step) for step in range(course.steps)]
    assert places[0] >= -0.5 and places[-1] <= course.steps - 0.5
    assert all(earlier < later for earlier, later in pairwise(places))
    # Whatever a step of the last size is worth, no rate lies beyond the schedule's end.
    for schedule in (OneCycle(end=0.1), Cosine(floor=0.1)):
        rates = [schedule.factor(place, course.steps, 0.0) for place in places]
        assert all(0.0 < rate <= 1.0 for rate in rates) and rates[-1] >= 0.1 - 1e-9


def test_schedules_go_with_the_pixels_shown() -> None:
    stages = [Sized(height=10, width=10, batch=8, share=0.5), Sized(height=20, width=20, batch=4, share=0.5)]
    course = Course(stages, [20, 40], pictures=160)
    # 20 steps of 800 pixels, then 40 of 1,600: the first size is a fifth of the way, not a third.
    assert course.position(20) == pytest.approx(60 / 5 + 1600 / 80_000 * 60 / 2 - 0.5)
    alone = Course(stages[:1], [60], pictures=160)
    assert [alone.position(step) for step in (0, 20, 59)] == [0, 20, 59]


def test_what_happens_every_epoch_happens_in_short_stages_too() -> None:
    # Epochs of 10, 20 and 40 steps, of which the stages show 0.7, 0.6 and 0.9.
    stages = [Sized(height=size, width=size, batch=batch, share=1 / 3) for size, batch in ((8, 32), (16, 16), (24, 8))]
    course = Course(stages, [7, 12, 36], pictures=320)
    assert [done for done in range(1, 56) if course.due(done, 1)] == [13, 47]
    assert [round(course.shown(done), 6) for done in (7, 13, 19, 47, 55)] == [0.7, 1.0, 1.3, 2.0, 2.2]
    assert [done for done in range(1, 56) if course.due(done, 0.5)] == [5, 13, 27, 47]
    assert [course.happened(done, 0.5) for done in (4, 5, 13, 27, 47, 55)] == [0, 1, 2, 3, 4, 4]
    # More often than after every step nothing happens.
    assert course.happened(7, 0.001) == 7 and course.due(55, 0.1)
    assert [course.passed(step) for step in (0, 12, 13, 46, 47, 54)] == [0, 0, 1, 1, 2, 2]


def test_staircases_go_with_the_epochs_shown() -> None:
    stages = [Sized(height=8, width=8, batch=32, share=0.1)] + [
        Sized(height=16, width=16, batch=16, share=0.1),
        Sized(height=8, width=8, batch=32, share=0.1),
    ] * 4
    course = Course(stages, [1, 2, 1, 2, 1, 2, 1, 2, 1], pictures=320)
    assert course.epoch(course.steps - 1) == 8  # orders of the pictures, each begun anew
    assert course.shown(course.steps) == pytest.approx(0.9)
    assert course.passed(course.steps - 1) == 0  # a person has seen no epoch end


def test_one_stage_is_the_training_as_it_always_was() -> None:
    course = Course([Sized(height=28, width=28, batch=32, share=1.0)], [100], pictures=320)
    assert [course.epoch(step) for step in (0, 9, 10, 99)] == [0, 0, 1, 9]
    assert [course.passed(step) for step in (0, 9, 10, 99)] == [0, 0, 1, 9]
    assert [done for done in range(1, 101) if course.due(done, 2.5)] == [25, 50, 75, 100]
    assert course.per_epoch == 10 and not course.staged


@given(
    st.lists(st.floats(0.05, 1), min_size=1, max_size=4),
    st.floats(10, 5000),
    st.lists(st.floats(0.01, 3), min_size=4, max_size=4),
)
def test_a_budget_is_kept(parts, seconds, each) -> None:
    stages = [
        Sized(height=75 + number, width=75, batch=16 << number, share=part / sum(parts))
        for number, part in enumerate(parts)
    ]
    costs = each[: len(stages)]
    none = [0.0] * len(stages)
    pace = Pace(each=costs)
    steps = steps_within(stages, seconds=seconds, pace=pace, judging=none, validate_every=1.0, pictures=10_000)
    took = sum(count * cost for count, cost in zip(steps, costs, strict=True))
    # Whole steps, and at least one of each.
    assert took <= seconds + sum(costs)
    assert took >= seconds - sum(costs)


@pytest.mark.parametrize("name", names())
def test_every_recipe_ends_at_the_runs_own_size(name: str) -> None:
    for model in ("inception_v1", "inception_v3"):
        try:
            options = from_plain(Options, load(name, model))
        except UsageError:
            continue  # made for another network
        stages = sized(options.stages, height=299, width=299, batch=options.batch, smallest=75)
        assert stages[-1].size == (299, 299)
