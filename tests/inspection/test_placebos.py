"""Placebos: never of training, matched by what they cost the judge."""

from __future__ import annotations

import numpy as np
import pytest

from deeper.batches import open_pictures
from deeper.distortions import HorizontalFlip, QuarterTurns, Rotation, Scale, Shear, Translation, VerticalFlip
from deeper.inspection.placebos import FACTOR, LADDER, POINTS, Bench, _closest, matched
from deeper.inspection.reading import Reader
from deeper.inspection.warps import FAMILIES, Warp, families, in_training, warp

BY_NAME = {one.name: one for one in FAMILIES}


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1), dtype=np.uint8)


def test_mirrors_are_mirrors(picture):
    for name, axis in (("mirror_left_right", 2), ("mirror_top_bottom", 1)):
        family = BY_NAME[name]
        assert np.array_equal(warp(picture, family, 1.0, family.phase, "zeros"), np.flip(picture, axis))
    family = BY_NAME["transpose"]
    assert np.array_equal(warp(picture, family, 1.0, family.phase, "zeros"), picture.transpose(0, 2, 1, 3))


def test_a_rotation_by_half_a_turn(picture):
    assert np.array_equal(warp(picture, BY_NAME["rotation"], 1.0, 0.0, "zeros"), picture[:, ::-1, ::-1])


@pytest.mark.parametrize("family", [one for one in FAMILIES if not one.fixed], ids=lambda one: one.name)
def test_no_strength_does_nothing_and_more_does_more(family):
    y, x = np.mgrid[0:32, 0:32]
    smooth = (127 + 100 * np.sin(x / 5) * np.cos(y / 7)).astype(np.uint8)[None, :, :, None]

    def change(strength):
        return np.abs(warp(smooth, family, strength, family.phase, "border").astype(int) - smooth).mean()

    assert change(0.0) < 0.6
    assert change(0.0) < change(0.02) < change(0.1)


def test_every_try_is_another(picture):
    for family in FAMILIES:
        if family.single:
            continue
        warped = [Warp(family, 0.4, 6, "border")(picture, number).tobytes() for number in range(6)]
        assert len(set(warped)) == 6, family.name


def test_what_was_in_training_is_no_placebo():
    def names(*trained, tries=1):
        return {one.name for one in families(trained, tries)}

    assert "mirror_left_right" not in names(HorizontalFlip())
    assert "mirror_top_bottom" in names(HorizontalFlip())
    # Two mirrors together are half a turn; a mirror and any turn are every mirror.
    assert "rotation" not in names(HorizontalFlip(), VerticalFlip())
    assert not {"mirror_top_bottom", "transpose", "rotation"} & names(HorizontalFlip(), QuarterTurns())
    assert "mirror_slanted" not in names(HorizontalFlip(), Rotation(), tries=6)
    assert not {"rotation", "shear", "translation", "scale"} & names(
        Rotation(), Shear(), Scale(), Translation(), tries=6
    )
    # A single far turn is no part of a training that turned by 10°.
    assert "rotation" in names(Rotation(degrees=10))
    assert in_training(BY_NAME["rotation"], 0.1, [Rotation(degrees=10)])
    assert not in_training(BY_NAME["rotation"], 0.3, [Rotation(degrees=10)])


@pytest.mark.parametrize("tries", [1, 3, 6, 8, 11])
def test_there_are_always_three(tries):
    everything = (
        HorizontalFlip(),
        VerticalFlip(),
        QuarterTurns(),
        Rotation(degrees=180),
        Shear(),
        Scale(),
        Translation(),
    )
    assert len(families(everything, tries)) >= 3


class Dear:
    """A bench on which every placebo costs a fixed sum: corrections go down and down."""

    fill = "border"
    labels = np.zeros(5, np.int64)

    def curve(self, family):
        return np.asarray(LADDER)

    def loss(self, transform):
        return 0.9


def test_a_correction_never_leads_into_what_training_did():
    trained = [Rotation(degrees=20), Translation(fraction=0.05)]
    found = matched(Dear(), trained, 0.3, 1)
    assert len(found) >= 3
    for one in found:
        assert not in_training(one.transform.family, one.transform.strength, trained), one.transform.name
    # The far turn itself stays: it is only not made weaker.
    closest = _closest(Dear(), BY_NAME["rotation"], 0.3, 1, 0.3, trained)
    assert closest.transform.strength == 0.3 and not closest.close


def test_they_cost_the_judge_as_much(lettered, judge):
    pictures = open_pictures(lettered.split("validation"), judge.preprocess)
    images = pictures.take(np.arange(120))
    bench = Bench(Reader(judge, np.arange(8), 8), images, pictures.labels[:120], np.full(120, -1), "zeros")
    for target, tries in ((0.4, 1), (0.1, 6)):
        found = matched(bench, [HorizontalFlip(), Translation()], target, tries)
        assert len(found) >= 3
        assert all(one.transform.tries == tries for one in found)
        close = [one for one in found if one.close]
        assert len(close) >= 3
        for one in close:
            assert target / FACTOR <= one.loss <= target * FACTOR or abs(one.loss - target) <= POINTS
            assert bench.loss(one.transform) == pytest.approx(one.loss)
