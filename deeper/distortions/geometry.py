"""Distortions that move pixels by an affine map. Values only; `apply` samples them in torch.

Each draws parameters from uniforms and turns them into matrices that map *output* to *input* positions, on axes where
the picture spans −1 … 1 (x to the right, y down). Angles are true in pixels: `aspect` is the height over the width.
Crops are affine too, since they choose the box that is looked at.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from deeper.errors import UsageError

Uniforms = NDArray[np.float64]
Parameters = NDArray[np.float64]
Matrices = NDArray[np.float64]
Column = NDArray[np.float64] | float


def _wanted(holds: bool, message: str) -> None:
    if not holds:
        raise UsageError(message)


def _matrices(a: Column, b: Column, c: Column, d: Column, x: Column = 0.0, y: Column = 0.0) -> Matrices:
    """[[a, b, x], [c, d, y]] for each picture."""
    parts = np.broadcast_arrays(a, b, x, c, d, y)
    return np.stack(parts, axis=-1).astype(np.float64).reshape(-1, 2, 3)


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Turned about the centre by an angle drawn from ±`degrees` (positive: counter-clockwise)."""

    name: ClassVar[str] = "rotation"
    uniforms: ClassVar[int] = 1
    identity: ClassVar[tuple[float, ...]] = (0.0,)
    degrees: float = 10.0

    def __post_init__(self) -> None:
        _wanted(0 < self.degrees <= 180, f"rotation: degrees must be in (0, 180], got {self.degrees}")

    def describe(self) -> str:
        return f"rotation by up to {self.degrees:g}°"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """Degrees. Shape: N × 1."""
        return (2 * uniforms - 1) * self.degrees

    def matrix(self, parameters: Parameters, aspect: float) -> Matrices:
        angle = np.deg2rad(parameters[:, 0])
        cosine, sine = np.cos(angle), np.sin(angle)
        return _matrices(cosine, -sine * aspect, sine / aspect, cosine)

    def inverse(self, parameters: Parameters) -> Parameters:
        return -parameters


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Enlarged by a factor drawn (evenly in its logarithm) from `low` … `high`; each axis by its own if `independent`."""

    name: ClassVar[str] = "scale"
    uniforms: ClassVar[int] = 2
    identity: ClassVar[tuple[float, ...]] = (1.0, 1.0)
    low: float = 0.9
    high: float = 1.1
    independent: bool = False

    def __post_init__(self) -> None:
        _wanted(
            0.1 <= self.low <= self.high <= 10, f"scale: wanted 0.1 ≤ low ≤ high ≤ 10, got {self.low} and {self.high}"
        )

    def describe(self) -> str:
        return f"scale by {self.low:g} to {self.high:g}" + (", each axis by itself" if self.independent else "")

    def draw(self, uniforms: Uniforms) -> Parameters:
        """Factors along x and y. Shape: N × 2."""
        if not self.independent:
            uniforms = uniforms[:, [0, 0]]
        low, high = math.log(self.low), math.log(self.high)
        return np.exp(low + uniforms * (high - low))

    def matrix(self, parameters: Parameters, aspect: float) -> Matrices:
        return _matrices(1 / parameters[:, 0], 0.0, 0.0, 1 / parameters[:, 1])

    def inverse(self, parameters: Parameters) -> Parameters:
        return 1 / parameters


@dataclass(frozen=True, kw_only=True)
class Shear:
    """Slanted sideways by an angle drawn from ±`degrees` (positive: the top moves right)."""

    name: ClassVar[str] = "shear"
    uniforms: ClassVar[int] = 1
    identity: ClassVar[tuple[float, ...]] = (0.0,)
    degrees: float = 8.0

    def __post_init__(self) -> None:
        _wanted(0 < self.degrees <= 60, f"shear: degrees must be in (0, 60], got {self.degrees}")

    def describe(self) -> str:
        return f"shear by up to {self.degrees:g}°"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """Degrees. Shape: N × 1."""
        return (2 * uniforms - 1) * self.degrees

    def matrix(self, parameters: Parameters, aspect: float) -> Matrices:
        return _matrices(1.0, np.tan(np.deg2rad(parameters[:, 0])) * aspect, 0.0, 1.0)

    def inverse(self, parameters: Parameters) -> Parameters:
        return -parameters


@dataclass(frozen=True, kw_only=True)
class Translation:
    """Moved along each axis by a share of the side drawn from ±`fraction` (positive: right, down)."""

    name: ClassVar[str] = "translation"
    uniforms: ClassVar[int] = 2
    identity: ClassVar[tuple[float, ...]] = (0.0, 0.0)
    fraction: float = 0.07

    def __post_init__(self) -> None:
        _wanted(0 < self.fraction <= 1, f"translation: fraction must be in (0, 1], got {self.fraction}")

    def describe(self) -> str:
        return f"translation by up to {self.fraction * 100:.3g}% of the side"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """Shares of width and height. Shape: N × 2."""
        return (2 * uniforms - 1) * self.fraction

    def matrix(self, parameters: Parameters, aspect: float) -> Matrices:
        # A share of the side is twice as long on axes that span two.
        return _matrices(1.0, 0.0, 0.0, 1.0, -2 * parameters[:, 0], -2 * parameters[:, 1])

    def inverse(self, parameters: Parameters) -> Parameters:
        return -parameters


@dataclass(frozen=True, kw_only=True)
class HorizontalFlip:
    """Mirrored left to right with `probability`."""

    name: ClassVar[str] = "horizontal_flip"
    uniforms: ClassVar[int] = 1
    identity: ClassVar[tuple[float, ...]] = (0.0,)
    probability: float = 0.5

    def __post_init__(self) -> None:
        _wanted(0 < self.probability <= 1, f"horizontal_flip: probability must be in (0, 1], got {self.probability}")

    def describe(self) -> str:
        return f"horizontal flip with probability {self.probability:.3g}"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """1 where flipped, else 0. Shape: N × 1."""
        return (uniforms < self.probability).astype(np.float64)

    def matrix(self, parameters: Parameters, aspect: float) -> Matrices:
        return _matrices(1 - 2 * parameters[:, 0], 0.0, 0.0, 1.0)

    def inverse(self, parameters: Parameters) -> Parameters:
        return parameters


@dataclass(frozen=True, kw_only=True)
class VerticalFlip:
    """Mirrored top to bottom with `probability`."""

    name: ClassVar[str] = "vertical_flip"
    uniforms: ClassVar[int] = 1
    identity: ClassVar[tuple[float, ...]] = (0.0,)
    probability: float = 0.5

    def __post_init__(self) -> None:
        _wanted(0 < self.probability <= 1, f"vertical_flip: probability must be in (0, 1], got {self.probability}")

    def describe(self) -> str:
        return f"vertical flip with probability {self.probability:.3g}"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """1 where flipped, else 0. Shape: N × 1."""
        return (uniforms < self.probability).astype(np.float64)

    def matrix(self, parameters: Parameters, aspect: float) -> Matrices:
        return _matrices(1.0, 0.0, 0.0, 1 - 2 * parameters[:, 0])

    def inverse(self, parameters: Parameters) -> Parameters:
        return parameters


@dataclass(frozen=True, kw_only=True)
class QuarterTurns:
    """Turned by 0, 90, 180 or 270 degrees, each as often (for pictures that have no up, such as cells from above)."""

    name: ClassVar[str] = "quarter_turns"
    uniforms: ClassVar[int] = 1
    identity: ClassVar[tuple[float, ...]] = (0.0,)

    def describe(self) -> str:
        return "turns by 90°, 180° and 270°"

    def draw(self, uniforms: Uniforms) -> Parameters:
        """Quarter turns counter-clockwise. Shape: N × 1."""
        return np.floor(uniforms * 4)

    def matrix(self, parameters: Parameters, aspect: float) -> Matrices:
        # Exact: no cosine that is almost zero. A non-square picture turns within its frame.
        quarters = parameters[:, 0].astype(np.int64) % 4
        cosine = np.array([1.0, 0.0, -1.0, 0.0])[quarters]
        sine = np.array([0.0, 1.0, 0.0, -1.0])[quarters]
        return _matrices(cosine, -sine, sine, cosine)

    def inverse(self, parameters: Parameters) -> Parameters:
        return (4 - parameters) % 4
