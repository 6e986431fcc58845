"""Colour against the standard library's colorsys, pixel by pixel."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch

from deeper.distortions import Brightness, Contrast, GuideColour, Hue, Saturation
from deeper.distortions.pixels import adjust_saturation, apply_pixels


@pytest.fixture
def pixels() -> torch.Tensor:
    values = np.random.default_rng(2).uniform(size=(2, 3, 6, 6)).astype(np.float32)
    values[0, :, 0, 0] = 0.4  # grey has no hue
    values[0, :, 0, 1] = 0.0
    values[0, :, 0, 2] = (1, 0, 0)
    return torch.from_numpy(values)


def by_colorsys(pixels: torch.Tensor | np.ndarray, turned: float, factor: float) -> np.ndarray:
    result = np.empty(pixels.shape)
    for picture, row, column in np.ndindex(pixels.shape[0], *pixels.shape[2:]):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixels[picture, :, row, column].tolist())
        rgb = colorsys.hsv_to_rgb((hue + turned) % 1, min(1, saturation * factor), value)
        result[picture, :, row, column] = rgb
    return result


@pytest.mark.parametrize("turned", [-0.2, -0.01, 0.13, 0.5])
def test_hue(pixels, turned):
    ours = apply_pixels(pixels, Hue(delta=0.5), torch.tensor([[turned], [turned]], dtype=torch.float64))
    np.testing.assert_allclose(ours.numpy(), by_colorsys(pixels, turned, 1), atol=2e-6)


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.5, 10.0])
def test_saturation(pixels, factor):
    ours = apply_pixels(pixels, Saturation(), torch.tensor([[factor], [factor]], dtype=torch.float64))
    np.testing.assert_allclose(ours.numpy(), by_colorsys(pixels, 0, factor), atol=2e-6)


def test_contrast_and_brightness_by_their_formulas(pixels):
    values = pixels.numpy()
    mean = values.mean((2, 3), keepdims=True)
    ours = apply_pixels(pixels.clone(), Contrast(), torch.tensor([[1.4], [0.6]], dtype=torch.float64)).numpy()
    factors = np.array([1.4, 0.6]).reshape(2, 1, 1, 1)
    np.testing.assert_allclose(ours, np.clip((values - mean) * factors + mean, 0, 1), atol=1e-6)
    ours = apply_pixels(pixels.clone(), Brightness(), torch.tensor([[0.1], [-0.1]], dtype=torch.float64)).numpy()
    shifts = np.array([0.1, -0.1]).reshape(2, 1, 1, 1)
    np.testing.assert_allclose(ours, np.clip(values + shifts, 0, 1), atol=1e-6)


def test_grey_pictures_have_no_hue(pixels):
    grey = pixels[:, :1]
    assert torch.equal(apply_pixels(grey.clone(), Hue(), torch.tensor([[0.2], [0.2]], dtype=torch.float64)), grey)


@pytest.mark.parametrize("order", [0, 1])
def test_the_guides_colour_step_by_step(order):
    # Away from black and white, so that colorsys, which knows no values outside 0..1, can follow the whole way.
    pixels = torch.from_numpy(np.random.default_rng(4).uniform(0.3, 0.7, (1, 3, 6, 6)).astype(np.float32))
    brightness, saturation, hue, contrast = 0.1, 1.4, -0.15, 1.3
    given = torch.tensor([[order, brightness, saturation, hue, contrast]])
    ours = apply_pixels(pixels.clone(), GuideColour(), given).numpy()

    def contrasted(values: np.ndarray) -> np.ndarray:
        mean = values.mean((2, 3), keepdims=True)
        return (values - mean) * contrast + mean

    values = pixels.numpy().astype(float) + brightness
    if order == 1:
        values = contrasted(values)
    values = by_colorsys(values, hue, saturation)
    if order == 0:
        values = contrasted(values)
    np.testing.assert_allclose(ours, np.clip(values, 0, 1), atol=5e-6)


def test_beyond_black_saturation_stays_finite_and_grey():
    # Brightness can push a pixel below 0 before the guide's clip: TensorFlow gives it no saturation.
    dark = torch.tensor([-0.1, -0.05, -0.2]).view(1, 3, 1, 1)
    factor = torch.tensor([[1.5]]).view(1, 1, 1, 1)
    torch.testing.assert_close(adjust_saturation(dark, factor), torch.full((1, 3, 1, 1), -0.05))
