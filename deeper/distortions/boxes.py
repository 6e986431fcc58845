"""Distortions that look at a part of the picture: random crops, and the guide's random box."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deeper.distortions.geometry import Matrices, Parameters, Uniforms, _matrices, _wanted

# Tries before the whole picture is taken, as in tf.image.sample_distorted_bounding_box of the guide.
_TRIES = 100


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A box of a drawn area and aspect ratio at a drawn place, stretched to the whole input.

    Area: a share of the picture, drawn evenly from `area_low` … `area_high`. Aspect: width over height in units of the
    picture's own, drawn evenly in its logarithm. A side that would be longer than the picture's is cut to it.
    """

    name: ClassVar[str] = "crop"
    uniforms: ClassVar[int] = 4
    identity: ClassVar[tuple[float, ...]] = (0.0, 0.0, 1.0, 1.0)
    area_low: float = 0.5
    area_high: float = 1.0
    aspect_low: float = 0.75
    aspect_high: float = 4 / 3

    def __post_init__(self) -> None:
        _wanted(
            0 < self.area_low <= self.area_high <= 1,
            f"crop: wanted 0 < area_low ≤ area_high ≤ 1, got {self.area_low} and {self.area_high}",
        )
        _wanted(
            0.1 <= self.aspect_low <= self.aspect_high <= 10,
            f"crop: wanted 0.1 ≤ aspect_low ≤ aspect_high ≤ 10, got {self.aspect_low} and {self.aspect_high}",
        )

    def describe(self) -> str:
        return f"crop of {self.area_low:.0%} to {self.area_high:.0%} of the area"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """Centre x and y (−1 … 1) and width and height (0 … 1). Shape: N × 4."""
        area = self.area_low + uniforms[:, 0] * (self.area_high - self.area_low)
        low, high = math.log(self.aspect_low), math.log(self.aspect_high)
        aspect = np.exp(low + uniforms[:, 1] * (high - low))
        width, height = np.minimum(1.0, np.sqrt(area * aspect)), np.minimum(1.0, np.sqrt(area / aspect))
        return _placed(width, height, uniforms[:, 2], uniforms[:, 3])

    def matrix(self, parameters: Parameters, aspect: float) -> Matrices:
        return _box_matrix(parameters)

    def inverse(self, parameters: Parameters) -> None:
        """None: what was cut off is gone."""


@dataclass(frozen=True, kw_only=True)
class RandomBox:
    """The box of `inception/image_processing.py` around an object that fills the picture.

    Aspect 0.75–1.33, area 0.05–1.0, at least 0.1 of the object covered, 100 tries: drawn as
    `tf.image.sample_distorted_bounding_box` draws, an aspect and an area that fit first, then a place. An object box
    that fills the picture is covered by the box's own area, so that boxes below 0.1 are drawn again. Sizes are not
    rounded to whole pixels, and the aspect is in units of the picture's own (TensorFlow's: on square pictures the same).
    """

    name: ClassVar[str] = "random_box"
    # Each try takes an aspect and a height; two more for the place.
    uniforms: ClassVar[int] = 2 * _TRIES + 2
    identity: ClassVar[tuple[float, ...]] = (0.0, 0.0, 1.0, 1.0)
    aspect_low: float = 0.75
    aspect_high: float = 1.33
    area_low: float = 0.05
    area_high: float = 1.0
    covered: float = 0.1

    def __post_init__(self) -> None:
        _wanted(
            0 < self.area_low <= self.area_high <= 1 and 0 <= self.covered <= self.area_high,
            "random_box: wanted 0 < area_low ≤ area_high ≤ 1 and covered from 0 to area_high, got "
            f"{self.area_low}, {self.area_high} and {self.covered}",
        )
        _wanted(
            0.1 <= self.aspect_low <= self.aspect_high <= 10,
            f"random_box: wanted 0.1 ≤ aspect_low ≤ aspect_high ≤ 10, got {self.aspect_low} and {self.aspect_high}",
        )

    def describe(self) -> str:
        return f"random box of {max(self.area_low, self.covered):.0%} to {self.area_high:.0%} of the area"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """Centre x and y (−1 … 1) and width and height (0 … 1). Shape: N × 4."""
        aspect = self.aspect_low + uniforms[:, 0 : 2 * _TRIES : 2] * (self.aspect_high - self.aspect_low)
        # The height is drawn evenly between those of the smallest and the largest allowed area.
        lowest = np.sqrt(self.area_low / aspect)
        highest = np.minimum(np.sqrt(self.area_high / aspect), np.minimum(1.0, 1.0 / aspect))
        height = lowest + uniforms[:, 1 : 2 * _TRIES : 2] * (highest - lowest)
        width = height * aspect
        area = width * height
        fits = (width <= 1) & (height <= 1) & (area >= max(self.area_low, self.covered)) & (area <= self.area_high)
        rows = np.arange(len(uniforms))
        first = np.argmax(fits, axis=1)
        found = fits[rows, first]
        chosen_width = np.where(found, width[rows, first], 1.0)
        chosen_height = np.where(found, height[rows, first], 1.0)
        return _placed(chosen_width, chosen_height, uniforms[:, -2], uniforms[:, -1])

    def matrix(self, parameters: Parameters, aspect: float) -> Matrices:
        return _box_matrix(parameters)

    def inverse(self, parameters: Parameters) -> None:
        """None: what was cut off is gone."""


def _placed(width: Uniforms, height: Uniforms, across: Uniforms, down: Uniforms) -> Parameters:
    """A box of the given size anywhere inside the picture."""
    return np.stack([(2 * across - 1) * (1 - width), (2 * down - 1) * (1 - height), width, height], axis=1)


def _box_matrix(parameters: Parameters) -> Matrices:
    return _matrices(parameters[:, 2], 0.0, 0.0, parameters[:, 3], parameters[:, 0], parameters[:, 1])
