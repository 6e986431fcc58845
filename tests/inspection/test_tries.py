"""Distortions undone over their trained range."""

from __future__ import annotations

import numpy as np
import pytest

from deeper.distortions import (
    Brightness,
    Contrast,
    Crop,
    Elastic,
    Erasing,
    GuideColour,
    HorizontalFlip,
    Hue,
    Noise,
    QuarterTurns,
    RandomBox,
    Rotation,
    Saturation,
    Scale,
    Shear,
    Translation,
    VerticalFlip,
)
from deeper.inspection.tries import Forwards, Undone, changes, signed, transform_of

INVERTIBLE = [
    HorizontalFlip(),
    VerticalFlip(),
    QuarterTurns(),
    Rotation(degrees=10),
    Rotation(degrees=180),
    Shear(),
    Scale(),
    Scale(independent=True),
    Scale(low=1.1, high=1.3),
    Translation(),
    Brightness(),
    Contrast(),
    Saturation(),
    Hue(),
]
WITHOUT_INVERSE = [Crop(), RandomBox(), GuideColour(), Erasing(), Elastic(), Noise()]


@pytest.fixture
def blob():
    """A smooth colour picture, not symmetric in any way, that stays off the border."""
    y, x = np.mgrid[0:32, 0:32]
    one = np.exp(-((x - 13) ** 2 / 18 + (y - 17) ** 2 / 30)) + 0.7 * np.exp(-((x - 20) ** 2 + (y - 12) ** 2) / 9)
    channels = [40 + 120 * one / one.max(), 60 + 80 * one / one.max(), 90 - 40 * one / one.max()]
    return np.stack(channels, axis=-1).astype(np.uint8)[None]


@pytest.mark.parametrize("distortion", INVERTIBLE, ids=lambda one: one.describe())
def test_undone_after_forwards_is_where_it_began(distortion, blob):
    transform = transform_of(distortion, "border")
    assert isinstance(transform, Undone)
    for number in range(transform.tries):
        back = transform(transform.forwards(blob, number), number).astype(int)
        # Sampling twice blurs a little, clipping loses a little.
        assert np.abs(back - blob.astype(int)).mean() < 3, transform.words(number)
        assert np.abs(transform(blob, number).astype(int) - blob).mean() > 0.05, "a try that does nothing"


@pytest.mark.parametrize("distortion", INVERTIBLE, ids=lambda one: one.describe())
def test_only_what_training_drew_from_is_tried(distortion):
    grid = transform_of(distortion, "border").grid
    draws = distortion.draw(np.random.default_rng(0).random((4000, distortion.uniforms)))
    slack = 0.02 * (draws.max(0) - draws.min(0)) + 1e-9
    assert (grid >= draws.min(0) - slack).all() and (grid <= draws.max(0) + slack).all()


def test_a_flip_is_one_try_and_a_full_turn_does_not_try_half_a_turn_twice():
    assert transform_of(HorizontalFlip(), "zeros").tries == 1
    angles = transform_of(Rotation(degrees=180), "zeros").grid[:, 0]
    assert len(angles) == 11 and len({angle % 360 for angle in angles}) == 11


@pytest.mark.parametrize("distortion", WITHOUT_INVERSE, ids=lambda one: one.name)
def test_what_has_no_inverse_is_drawn_forwards_and_repeats(distortion, blob):
    # Of noise: wherever something is erased or moved, it is seen.
    picture = np.random.default_rng(5).integers(0, 256, blob.shape, np.uint8)
    transform = transform_of(distortion, "border")
    assert isinstance(transform, Forwards)
    first = transform(np.repeat(picture, 8, axis=0), 1)
    assert np.array_equal(first, transform(np.repeat(picture, 8, axis=0), 1))
    assert len(np.unique(first, axis=0)) > 1


@pytest.mark.parametrize("distortion", WITHOUT_INVERSE, ids=lambda one: one.name)
def test_one_picture_of_a_batch_is_drawn_again_by_its_row(distortion, blob):
    transform = transform_of(distortion, "border")
    batch = np.repeat(blob, 8, axis=0)
    together = transform(batch, 2).astype(int)
    again = transform(batch[:2], 2, np.array([6, 3])).astype(int)
    assert np.abs(again - together[[6, 3]]).max() <= 1


def test_every_distortion_has_words(blob):
    for distortion in INVERTIBLE + WITHOUT_INVERSE:
        transform = transform_of(distortion, "border")
        assert all(transform.words(number) for number in range(transform.tries))
    assert transform_of(Rotation(degrees=9), "border").words(0) == "rotated by -9°"


def test_signed_fractions():
    assert signed(1) == [1]
    assert signed(6) == [1, -1, 2 / 3, -2 / 3, 1 / 3, -1 / 3]
    assert signed(3) == [1, -1, 0.5]


def test_grey_pictures_have_no_hue():
    assert not changes(Hue(), 1) and changes(Hue(), 3) and changes(Rotation(), 1)
