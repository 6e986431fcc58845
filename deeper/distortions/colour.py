"""Distortions of colour and light. Values only; `apply` computes them in torch, on pixels 0..1, clipped after each.

On grey pictures saturation and hue change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deeper.distortions.geometry import Parameters, Uniforms, _wanted


@dataclass(frozen=True, kw_only=True)
class Brightness:
    """Adds a number drawn from ±`delta` to every pixel, as tf.image.random_brightness."""

    name: ClassVar[str] = "brightness"
    uniforms: ClassVar[int] = 1
    identity: ClassVar[tuple[float, ...]] = (0.0,)
    delta: float = 0.125

    def __post_init__(self) -> None:
        _wanted(0 < self.delta <= 1, f"brightness: delta must be in (0, 1], got {self.delta}")

    def describe(self) -> str:
        return f"brightness by up to ±{self.delta:.3g}"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """What is added, on the 0..1 scale. Shape: N × 1."""
        return (2 * uniforms - 1) * self.delta

    def inverse(self, parameters: Parameters) -> Parameters:
        return -parameters


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Distance from each channel's mean over the picture times a factor, as tf.image.random_contrast."""

    name: ClassVar[str] = "contrast"
    uniforms: ClassVar[int] = 1
    identity: ClassVar[tuple[float, ...]] = (1.0,)
    low: float = 0.5
    high: float = 1.5

    def __post_init__(self) -> None:
        _wanted(
            0 < self.low <= self.high <= 10, f"contrast: wanted 0 < low ≤ high ≤ 10, got {self.low} and {self.high}"
        )

    def describe(self) -> str:
        return f"contrast by {self.low:g} to {self.high:g}"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """Factors. Shape: N × 1."""
        return self.low + uniforms * (self.high - self.low)

    def inverse(self, parameters: Parameters) -> Parameters:
        return 1 / parameters


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """HSV saturation times a factor, as tf.image.random_saturation."""

    name: ClassVar[str] = "saturation"
    uniforms: ClassVar[int] = 1
    identity: ClassVar[tuple[float, ...]] = (1.0,)
    low: float = 0.5
    high: float = 1.5

    def __post_init__(self) -> None:
        _wanted(
            0 < self.low <= self.high <= 10, f"saturation: wanted 0 < low ≤ high ≤ 10, got {self.low} and {self.high}"
        )

    def describe(self) -> str:
        return f"saturation by {self.low:g} to {self.high:g}"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """Factors. Shape: N × 1."""
        return self.low + uniforms * (self.high - self.low)

    def inverse(self, parameters: Parameters) -> Parameters:
        return 1 / parameters


@dataclass(frozen=True, kw_only=True)
class Hue:
    """HSV hue turned by a share of the circle drawn from ±`delta`, as tf.image.random_hue."""

    name: ClassVar[str] = "hue"
    uniforms: ClassVar[int] = 1
    identity: ClassVar[tuple[float, ...]] = (0.0,)
    delta: float = 0.2

    def __post_init__(self) -> None:
        _wanted(0 < self.delta <= 0.5, f"hue: delta must be in (0, 0.5], got {self.delta}")

    def describe(self) -> str:
        return f"hue by up to ±{self.delta * 360:.0f}°"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """Shares of the circle. Shape: N × 1."""
        return (2 * uniforms - 1) * self.delta

    def inverse(self, parameters: Parameters) -> Parameters:
        return -parameters


@dataclass(frozen=True, kw_only=True)
class GuideColour:
    """`distort_color` of `inception/image_processing.py`: brightness ±32/255, saturation 0.5–1.5, hue ±0.2, contrast
    0.5–1.5, in one of its two orders (brightness, saturation, hue, contrast or brightness, contrast, saturation, hue),
    clipped once at the end."""

    name: ClassVar[str] = "guide_colour"
    uniforms: ClassVar[int] = 5
    identity: ClassVar[tuple[float, ...]] = (0.0, 0.0, 1.0, 0.0, 1.0)
    brightness: float = 32 / 255
    saturation_low: float = 0.5
    saturation_high: float = 1.5
    hue: float = 0.2
    contrast_low: float = 0.5
    contrast_high: float = 1.5

    def __post_init__(self) -> None:
        _wanted(0 <= self.brightness <= 1, f"guide_colour: brightness must be in [0, 1], got {self.brightness}")
        _wanted(0 <= self.hue <= 0.5, f"guide_colour: hue must be in [0, 0.5], got {self.hue}")
        for part in ("saturation", "contrast"):
            low, high = getattr(self, f"{part}_low"), getattr(self, f"{part}_high")
            _wanted(
                0 < low <= high <= 10,
                f"guide_colour: wanted 0 < {part}_low ≤ {part}_high ≤ 10, got {low} and {high}",
            )

    def describe(self) -> str:
        return "the guide's brightness, saturation, hue and contrast"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """Order (0 or 1), brightness added, saturation factor, hue turned, contrast factor. Shape: N × 5."""
        columns = [
            np.floor(uniforms[:, 0] * 2),
            (2 * uniforms[:, 1] - 1) * self.brightness,
            self.saturation_low + uniforms[:, 2] * (self.saturation_high - self.saturation_low),
            (2 * uniforms[:, 3] - 1) * self.hue,
            self.contrast_low + uniforms[:, 4] * (self.contrast_high - self.contrast_low),
        ]
        return np.stack(columns, axis=1)

    def inverse(self, parameters: Parameters) -> None:
        """None: clipping loses what was beyond black and white."""
