"""Treatments: always happening, at the ends of their range, the same for the same picture."""

from __future__ import annotations

import numpy as np
import pytest

from deeper import draws
from deeper.audit.treatments import Treatment, far, grid
from deeper.distortions import AnyDistortion, QuarterTurns, names, parse

KEYS = draws.keys(f"picture {number}" for number in range(400))


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("horizontal_flip=0.01", {1.0}),
        ("vertical_flip", {1.0}),
        ("quarter_turns", {1.0, 2.0, 3.0}),
        ("rotation=30", {-30.0, 30.0}),
        ("shear=8", {-8.0, 8.0}),
        ("brightness=0.25", {-0.25, 0.25}),
        ("hue=0.5", {-0.5, 0.5}),
        ("contrast=0.5:2", {0.5, 2.0}),
        ("saturation=0.5:2", {0.5, 2.0}),
        ("scale=0.5:2", {0.5, 2.0}),
    ],
)
def test_full_strength_is_the_end_of_the_range(text: str, wanted: set[float]) -> None:
    drawn = Treatment(distortion=parse(text)).parameters(KEYS, seed=0)
    assert set(drawn[:, 0].tolist()) == wanted
    counts = [int((drawn[:, 0] == value).sum()) for value in wanted]
    assert min(counts) > 0.6 * len(KEYS) / len(wanted), "both ends about as often"


def test_pictures_are_moved_by_the_whole_distance_in_all_directions() -> None:
    moved = Treatment(distortion=parse("translation=0.2")).parameters(KEYS, seed=0)
    np.testing.assert_allclose(np.hypot(*moved.T), 0.2)
    assert (np.abs(moved.mean(0)) < 0.03).all()


def test_as_drawn_in_training_but_always_happening() -> None:
    assert (Treatment(distortion=parse("horizontal_flip"), mode="drawn").parameters(KEYS, seed=0) == 1).all()
    turned = Treatment(distortion=parse("rotation=90"), mode="drawn").parameters(KEYS, seed=0)
    assert turned.min() < -80 and turned.max() > 80 and np.abs(turned).min() < 2
    erased = Treatment(distortion=parse("erasing=0.1"), mode="drawn").parameters(KEYS, seed=0)
    assert (erased[:, 2] > 0).all()


def test_a_picture_is_treated_alike_in_any_company() -> None:
    for treatment in grid(3):
        alone = treatment.parameters(KEYS[7:8], seed=5)
        np.testing.assert_array_equal(treatment.parameters(KEYS, seed=5)[7:8], alone)


def test_the_grid_has_every_distortion_once_at_each_strength_mildest_first() -> None:
    tried = grid(3)
    assert {one.name for one in tried} == set(names())
    assert len({one.describe() for one in tried}) == len(tried)
    assert [one.distortion.degrees for one in tried if one.name == "rotation"] == [10, 20, 30, 45, 90, 180]
    assert {one.name for one in tried} - {one.name for one in grid(1)} == {"hue", "saturation"}


@pytest.mark.parametrize(
    "distortion, expected",
    [
        (parse("horizontal_flip"), True),
        (parse("vertical_flip"), True),
        (QuarterTurns(), True),
        (parse("rotation=30"), True),
        (parse("rotation=29"), False),
        (parse("translation=0.9"), False),
    ],
)
def test_what_counts_as_far(distortion: AnyDistortion, expected: bool) -> None:
    assert far(distortion) is expected
