"""Evidence of several distortions, adjusted for how many questions were asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deeper.distortions import HorizontalFlip, VerticalFlip
from deeper.inspection.collision import Cases, Hits
from deeper.inspection.evidence import Weighed, compared
from deeper.inspection.result import Placebo
from deeper.inspection.tries import transform_of

CLASSES = tuple("abcdef")


def hits(collided):
    count = len(collided)
    none = np.full(count, -1)
    return Hits(collided, np.where(collided, 0, -1), collided.astype(np.float32), none, none)


def weighed(distortion, collided, *placebos):
    method = transform_of(distortion, "zeros")
    return Weighed(distortion, method, hits(collided), 0.1, 0, (), None, placebos or (np.zeros_like(collided),), 0.5)


def cases(pairs):
    labels, given = (np.array(one, np.int64) for one in zip(*pairs, strict=True))
    count = len(pairs)
    images = np.zeros((count, 4, 4, 1), np.uint8)
    return Cases(np.arange(count), images, labels, given, np.full(count, -1), labels.copy(), np.ones(count, np.float32))


def test_pairs_without_a_collision_are_part_of_the_family():
    """Seven errors a→b collide, p = 2 / 2⁷; 29 other pairs of six errors do not. Among so many that is no surprise."""
    others = [(label, given) for label in range(6) for given in range(6) if label != given and (label, given) != (0, 1)]
    errors = cases([(0, 1)] * 7 + [pair for pair in others for _ in range(6)])
    collided = np.arange(len(errors)) < 7
    (one,) = compared([weighed(HorizontalFlip(), collided)], errors, errors, CLASSES)
    (pair,) = one.pairs
    assert (pair.label, pair.predicted, pair.errors, pair.collided) == ("a", "b", 7, 7)
    assert pair.p_value == pytest.approx(2 / 2**7)
    assert pair.adjusted_p_value == pytest.approx(30 * 2 / 2**7) and not pair.significant


def test_pairs_of_all_distortions_are_one_family_and_small_pairs_are_not_in_it():
    errors = cases([(0, 1)] * 12 + [(2, 3)] * 5 + [(4, 5)] * 6)
    collided = np.arange(len(errors)) < 17
    first, second = weighed(HorizontalFlip(), collided), weighed(VerticalFlip(), np.zeros_like(collided))
    found = {one.distortion: one for one in compared([first, second], errors, errors, CLASSES)}
    large, small = found["horizontal_flip"].pairs
    # a→b and e→f, each by two distortions: four tests.
    assert large.adjusted_p_value == pytest.approx(4 * 2 / 2**12) and large.significant
    assert small.errors == 5 and small.adjusted_p_value == 1 and not small.significant
    assert found["vertical_flip"].pairs == ()


def test_every_placebo_must_be_beaten_on_a_pair_not_only_the_strongest_of_all():
    """The one with the most collisions has none of a→b; another one has just those."""
    errors = cases([(0, 1)] * 12 + [(2, 3)] * 27)
    collided = np.arange(len(errors)) < 12
    (one,) = compared([weighed(HorizontalFlip(), collided, ~collided, collided)], errors, errors, CLASSES)
    (pair,) = one.pairs
    assert (pair.collided, pair.placebo_collided, pair.p_value) == (12, 12, 1.0) and not pair.significant
    fewer = collided & (np.arange(len(errors)) >= 5)
    (one,) = compared([weighed(HorizontalFlip(), collided, ~collided, fewer)], errors, errors, CLASSES)
    (pair,) = one.pairs
    assert (pair.collided, pair.placebo_collided) == (12, 7) and pair.p_value == pytest.approx(2 / 2**5)


def test_placebos_that_cost_less_accuse_nobody():
    errors = cases([(0, 1)] * 20)
    collided = np.ones(len(errors), bool)

    def placebo(fair):
        return Placebo(
            name="swirl", description="", tries=1, loss=0.1, collided=0, collided_interval=(0, 0.1),
            only_distortion=20, only_placebo=0, p_value=1e-5, fair=fair,
        )  # fmt: skip

    for fair, accused in ((3, True), (2, False)):
        placebos = (*(placebo(True) for _ in range(fair)), placebo(False))
        one = replace(weighed(HorizontalFlip(), collided), placebos=placebos, p_value=1e-5)
        assert compared([one], errors, errors, CLASSES)[0].accused is accused
