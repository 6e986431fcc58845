"""Rescue: forwards, any try, and no more work than is needed."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from deeper.distortions import Rotation, Translation
from deeper.inspection.rescue import read_rightly
from deeper.inspection.tries import transform_of
from tests.inspection.test_collision import cases, corner


def reading(images):
    """A run that knows pictures whose bright spot is in the top left as 0, all others as 1."""
    left = images[:, :4, :4].mean((1, 2, 3)) > images[:, :4, 4:].mean((1, 2, 3))
    logits = np.stack([left, ~left], axis=1).astype(np.float32)
    return SimpleNamespace(logits=logits)


def pictures(*quarters):
    images = np.stack([corner(one) for one in quarters])
    return SimpleNamespace(take=lambda rows: images[rows])


class OneWay:
    """Moves half a side to the left; undone, to the right."""

    name = description = "one way"
    tries = 1

    def __call__(self, images, number):
        return np.roll(images, 4, axis=2)

    def forwards(self, images, number):
        return np.roll(images, -4, axis=2) * (np.arange(8) < 4)[None, None, :, None].astype(np.uint8)


def test_the_picture_is_distorted_and_not_undone():
    # Top right, called 1 and being 0: moved to the left it is in the top left.
    tried = cases([0, 0], [1, 1], shown=[1, 0])
    assert read_rightly(reading, OneWay(), pictures(1, 0), tried).tolist() == [True, False]


def test_a_distortion_is_tried_forwards_at_every_point_of_its_range():
    seen = []
    transform = transform_of(Translation(fraction=0.5), "zeros")
    spied = SimpleNamespace(
        tries=transform.tries,
        forwards=lambda images, number: seen.append((number, len(images))) or transform.forwards(images, number),
    )
    tried = cases([0, 1], [1, 0], shown=[1, 1])
    assert read_rightly(reading, spied, pictures(1, 1), tried).tolist() == [True, True]
    # The second is right at once; only what is not rescued yet is tried again.
    assert seen[0] == (0, 2) and {count for _, count in seen[1:]} <= {1} and len(seen) <= transform.tries


def test_nothing_to_try():
    assert not read_rightly(reading, None, pictures(0), cases([1], [0], shown=[0])).any()
    turned = transform_of(Rotation(degrees=10), "zeros")
    assert not read_rightly(reading, turned, pictures(0), cases([1], [0], shown=[0])).any()
