"""Geometry against an independent implementation (SciPy), inverses, and the order of composition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform, gaussian_filter

from deeper.distortions import (
    HorizontalFlip,
    QuarterTurns,
    Rotation,
    Scale,
    Shear,
    Translation,
    VerticalFlip,
)
from deeper.distortions.apply import distort


def picture(height: int, width: int) -> np.ndarray:
    """Smooth and without symmetry: a wrong sign or axis cannot pass."""
    noise = np.random.default_rng(5).uniform(0, 255, (height, width))
    smooth = gaussian_filter(noise, 3)
    return np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))


def ours(pixels: np.ndarray, drawn: list) -> np.ndarray:
    size = pixels.shape[0], pixels.shape[1]
    given = [(distortion, np.array([parameters], np.float64)) for distortion, parameters in drawn]
    return distort(torch.from_numpy(pixels[None, :, :, None]), given, size, "border")[0, 0].numpy() * 255


def scipys(pixels: np.ndarray, inverse: np.ndarray, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    """`inverse`: 2 × 2 from output to input in pixels (row, column), about the centre; `shift`: added in the input."""
    centre = (np.array(pixels.shape) - 1) / 2
    offset = centre - inverse @ centre + np.array(shift)
    return affine_transform(pixels.astype(float), inverse, offset, order=1, mode="nearest")


def inner(values: np.ndarray) -> np.ndarray:
    return values[6:-6, 6:-6]


@pytest.mark.parametrize(("height", "width"), [(41, 41), (40, 57)])
@pytest.mark.parametrize("degrees", [-35.0, 10.0, 90.0])
def test_rotation_is_one_in_pixels(height, width, degrees):
    pixels = picture(height, width)
    angle = np.deg2rad(degrees)
    # Rows run down: counter-clockwise for the eye takes output (row, column) to input by this matrix.
    inverse = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(
        inner(ours(pixels, [(Rotation(degrees=180), [degrees])])), inner(scipys(pixels, inverse)), atol=0.05
    )


def test_rotation_is_counter_clockwise_for_the_eye():
    pixels = np.zeros((21, 21), np.uint8)
    pixels[:, 15:] = 255  # bright on the right
    turned = ours(pixels, [(Rotation(degrees=180), [90.0])])
    assert turned[:5].mean() > 200  # … is bright at the top
    assert turned[-5:].mean() < 20


@pytest.mark.parametrize(("height", "width"), [(41, 41), (40, 57)])
def test_shear_scale_and_translation(height, width):
    pixels = picture(height, width)
    sheared = scipys(pixels, np.array([[1, 0], [np.tan(np.deg2rad(12)), 1]]))
    np.testing.assert_allclose(inner(ours(pixels, [(Shear(), [12.0])])), inner(sheared), atol=0.05)
    scaled = scipys(pixels, np.array([[1 / 0.9, 0], [0, 1 / 1.2]]))
    np.testing.assert_allclose(inner(ours(pixels, [(Scale(), [1.2, 0.9])])), inner(scaled), atol=0.05)
    moved = scipys(pixels, np.eye(2), (0.05 * height, -0.1 * width))
    np.testing.assert_allclose(inner(ours(pixels, [(Translation(), [0.1, -0.05])])), inner(moved), atol=0.05)


def test_flips_and_quarter_turns_are_exact():
    pixels = picture(33, 33)
    np.testing.assert_allclose(ours(pixels, [(HorizontalFlip(), [1.0])]), pixels[:, ::-1], atol=1e-3)
    np.testing.assert_allclose(ours(pixels, [(VerticalFlip(), [1.0])]), pixels[::-1], atol=1e-3)
    for turns in range(4):
        np.testing.assert_allclose(ours(pixels, [(QuarterTurns(), [float(turns)])]), np.rot90(pixels, turns), atol=1e-3)


def test_the_first_distortion_happens_first():
    pixels = picture(33, 33)
    both = ours(pixels, [(Translation(), [0.2, 0.0]), (QuarterTurns(), [1.0])])
    moved = ours(pixels, [(Translation(), [0.2, 0.0])])
    np.testing.assert_allclose(inner(both), inner(np.rot90(moved)), atol=0.05)


REVERSIBLE = [
    Rotation(),
    Scale(independent=True),
    Shear(),
    Translation(),
    HorizontalFlip(),
    VerticalFlip(),
    QuarterTurns(),
]


@pytest.mark.parametrize("distortion", REVERSIBLE, ids=lambda one: one.name)
@pytest.mark.parametrize("aspect", [1.0, 0.6])
def test_inverse_undoes(distortion, aspect):
    uniforms = np.random.default_rng(1).uniform(size=(50, distortion.uniforms))
    parameters = distortion.draw(uniforms)
    there = distortion.matrix(parameters, aspect)
    back = distortion.matrix(distortion.inverse(parameters), aspect)
    linear = there[:, :, :2] @ back[:, :, :2]
    moved = there[:, :, :2] @ back[:, :, 2:] + there[:, :, 2:]
    np.testing.assert_allclose(linear, np.broadcast_to(np.eye(2), linear.shape), atol=1e-12)
    np.testing.assert_allclose(moved, 0, atol=1e-12)


@pytest.mark.parametrize("distortion", REVERSIBLE, ids=lambda one: one.name)
def test_identity_parameters_move_nothing(distortion):
    parameters = np.array([distortion.identity])
    np.testing.assert_allclose(distortion.matrix(parameters, 0.7)[0], np.eye(2, 3), atol=1e-15)


def test_a_store_twice_as_large_is_averaged_not_skipped():
    # One-pixel stripes would alias to black or white; an average is grey.
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    small = distort(torch.from_numpy(stripes[None, :, :, None]), [], (32, 32))[0, 0].numpy()
    np.testing.assert_allclose(small, 0.5, atol=0.01)
