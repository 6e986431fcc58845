"""Distortions that act on parts of a picture: erasing, elastic deformation, noise. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from deeper.distortions.geometry import Parameters, Uniforms, _wanted

# Points of the elastic grid along each side; between them displacements are interpolated smoothly.
GRID = 7


@dataclass(frozen=True, kw_only=True)
class Erasing:
    """With `probability`, a rectangle is filled with the picture's mean colour, or with `noise` around it (Zhong et al.,
    arXiv 1708.04896). It lies inside the picture; its sides' ratio is drawn from 1:3 … 3:1 in units of the picture's."""

    name: ClassVar[str] = "erasing"
    uniforms: ClassVar[int] = 7
    identity: ClassVar[tuple[float, ...]] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    probability: float = 0.5
    area_low: float = 0.02
    area_high: float = 0.2
    noise: bool = False

    def __post_init__(self) -> None:
        _wanted(0 < self.probability <= 1, f"erasing: probability must be in (0, 1], got {self.probability}")
        _wanted(
            0 < self.area_low <= self.area_high <= 1,
            f"erasing: wanted 0 < area_low ≤ area_high ≤ 1, got {self.area_low} and {self.area_high}",
        )

    def describe(self) -> str:
        filled = " filled with noise" if self.noise else ""
        return (
            f"erasing of {self.area_low:.0%} to {self.area_high:.0%} of the area{filled} "
            f"with probability {self.probability:.3g}"
        )

    def draw(self, uniforms: Uniforms) -> Parameters:
        """Centre x and y, width and height, as shares of the sides (sizes 0 where nothing is erased), and the two
        numbers that seed the noise. Shape: N × 6."""
        erased = uniforms[:, 0] < self.probability
        area = self.area_low + uniforms[:, 1] * (self.area_high - self.area_low)
        # No longer than the picture, at any ratio.
        ratio = np.exp((2 * uniforms[:, 2] - 1) * np.minimum(np.log(3.0), -np.log(area)))
        width, height = np.sqrt(area * ratio), np.sqrt(area / ratio)
        across, down = width / 2 + uniforms[:, 3] * (1 - width), height / 2 + uniforms[:, 4] * (1 - height)
        return np.stack([across, down, width * erased, height * erased, *_seeds(uniforms[:, 5:])], axis=1)

    def inverse(self, parameters: Parameters) -> None:
        """None: what was erased is gone."""


@dataclass(frozen=True, kw_only=True)
class Elastic:
    """Wobbled by a smooth random field of displacements (Simard et al. 2003): normal with `deviation`, a share of the
    side, at the points of a 7 × 7 grid, interpolated between them."""

    name: ClassVar[str] = "elastic"
    uniforms: ClassVar[int] = 2 * GRID * GRID
    identity: ClassVar[tuple[float, ...]] = (0.0,) * (2 * GRID * GRID)
    deviation: float = 0.02

    def __post_init__(self) -> None:
        _wanted(0 < self.deviation <= 0.5, f"elastic: deviation must be in (0, 0.5], got {self.deviation}")

    def describe(self) -> str:
        return f"elastic by about {self.deviation * 100:.3g}% of the side"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """Displacements along x, then y, of the grid's points, as shares of the side. Shape: N × 98."""
        # Box and Muller: pairs of uniforms to pairs of normal numbers.
        radius = np.sqrt(-2 * np.log1p(-uniforms[:, 0::2]))
        angle = 2 * np.pi * uniforms[:, 1::2]
        return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1) * self.deviation

    def inverse(self, parameters: Parameters) -> None:
        """None: the field has no closed inverse."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Adds to each value of each pixel a number of zero mean and `deviation` (on the 0..1 scale), nearly normal."""

    name: ClassVar[str] = "noise"
    uniforms: ClassVar[int] = 2
    identity: ClassVar[tuple[float, ...]] = (0.0, 0.0, 0.0)
    deviation: float = 0.05

    def __post_init__(self) -> None:
        _wanted(0 < self.deviation <= 1, f"noise: deviation must be in (0, 1], got {self.deviation}")

    def describe(self) -> str:
        return f"noise of deviation {self.deviation:.3g}"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """Two whole numbers that seed the picture's noise, and the deviation. Shape: N × 3."""
        return np.stack([*_seeds(uniforms), np.full(len(uniforms), self.deviation)], axis=1)

    def inverse(self, parameters: Parameters) -> None:
        """None: noise does not subtract from a clipped picture."""


def _seeds(uniforms: Uniforms) -> tuple[Uniforms, Uniforms]:
    """Two whole numbers below 2**24 per picture: parameters travel as float32, which holds no larger ones exactly."""
    return np.floor(uniforms[:, 0] * 2.0**24), np.floor(uniforms[:, 1] * 2.0**24)
