"""A training distortion undone at the points of a grid over its trained range, one point at a time.

Only what training drew from is tried: a flip is one try, a rotation a few angles within its ± degrees. Nothing is
composed. Where a distortion has no inverse, training pictures are distorted forwards instead, as training draws them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from deeper import draws
from deeper.distortions import (
    AnyDistortion,
    Brightness,
    Contrast,
    HorizontalFlip,
    Hue,
    QuarterTurns,
    Rotation,
    Saturation,
    Scale,
    Shear,
    Translation,
    VerticalFlip,
)
from deeper.distortions.apply import as_bytes, distort
from deeper.distortions.sampling import Fill

# Draws from the range of a distortion that has no inverse.
DRAWS = 6
# Of a rotation beyond this angle a finer grid is needed to meet the orientation that collides.
_FAR = 45.0


class Transform(Protocol):
    """Something done to pictures in one of `tries` ways."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def tries(self) -> int: ...

    def words(self, number: int) -> str:
        """What try `number` does, as a participle: "rotated by −7°"."""
        ...

    def __call__(self, images: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        """uint8 N × H × W × C → the same shape; of a distortion with an inverse, undone."""
        ...

    def forwards(self, images: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        """The same try as training would have done it: T itself. A placebo has no other way than its one."""
        ...


@dataclass(frozen=True)
class Undone:
    """T⁻¹ at each point of the grid. `grid`: parameters of T itself, G × P."""

    distortion: AnyDistortion
    grid: NDArray[np.float64]
    fill: Fill = "border"

    @property
    def name(self) -> str:
        return self.distortion.name

    @property
    def description(self) -> str:
        return self.distortion.describe()

    @property
    def tries(self) -> int:
        return len(self.grid)

    def __call__(self, images: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        inverse = self.distortion.inverse(self.grid[number : number + 1])
        assert inverse is not None, "only distortions with an inverse have a grid"
        return self._applied(images, inverse)

    def forwards(self, images: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        """T itself at that point: from the picture that training started from to what the network was shown."""
        return self._applied(images, self.grid[number : number + 1])

    def _applied(self, images: NDArray[np.uint8], row: NDArray[np.float64]) -> NDArray[np.uint8]:
        parameters = np.repeat(row, len(images), axis=0)
        height, width = images.shape[1:3]
        return as_bytes(
            distort(
                torch.from_numpy(np.ascontiguousarray(images)),
                [(self.distortion, parameters)],
                (height, width),
                self.fill,
            )
        )

    def words(self, number: int) -> str:
        inverse = self.distortion.inverse(self.grid[number : number + 1])
        assert inverse is not None
        return _words(self.distortion, inverse[0])


@dataclass(frozen=True)
class Forwards:
    """T as training draws it, `DRAWS` times for each picture. For distortions without an inverse."""

    distortion: AnyDistortion
    fill: Fill = "border"
    tries: int = DRAWS

    @property
    def name(self) -> str:
        return self.distortion.name

    @property
    def description(self) -> str:
        return self.distortion.describe()

    def words(self, number: int) -> str:
        return self.distortion.describe()

    def __call__(
        self, images: NDArray[np.uint8], number: int, rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.uint8]:
        """`rows`: int64 N, in a larger batch, to distort some of its pictures again; the first N when None."""
        # By row: the same pictures in the same order, at the same size, are distorted alike in every inspection.
        keys = np.arange(len(images), dtype=np.uint64) if rows is None else rows.astype(np.uint64)
        uniforms = draws.uniforms(0, number, keys, f"inspect:{self.name}", self.distortion.uniforms)
        drawn = [(self.distortion, self.distortion.draw(uniforms))]
        height, width = images.shape[1:3]
        return as_bytes(distort(torch.from_numpy(np.ascontiguousarray(images)), drawn, (height, width), self.fill))

    def forwards(self, images: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        return self(images, number)


def changes(distortion: AnyDistortion, channels: int) -> bool:
    """Whether it can change pictures of so many channels: grey ones have neither hue nor saturation."""
    return channels == 3 or not isinstance(distortion, (Hue, Saturation))


def transform_of(distortion: AnyDistortion, fill: Fill) -> Undone | Forwards:
    """The grid over its trained range where it has an inverse, draws where it has none."""
    points = _grid(distortion)
    return Forwards(distortion, fill) if points is None else Undone(distortion, np.asarray(points, np.float64), fill)


def signed(count: int) -> list[float]:
    """`count` numbers in −1 … 1 without 0, the extremes included: 1; 1, −1; 1, −1, 1/2; … evenly spaced."""
    levels = math.ceil(count / 2)
    numbers = [sign * (level / levels) for level in range(levels, 0, -1) for sign in (1.0, -1.0)]
    return numbers[:count]


def _between(low: float, high: float) -> list[float]:
    """Factors from low to high, by their logarithms, without 1."""
    factors = {low, low**0.5, high**0.5, high} if low <= 1 <= high else {low, (low * high) ** 0.5, high}
    return sorted(factor for factor in factors if abs(factor - 1) > 1e-9)


def _grid(distortion: AnyDistortion) -> list[list[float]] | None:
    match distortion:
        case HorizontalFlip() | VerticalFlip():
            return [[1.0]]
        case QuarterTurns():
            return [[1.0], [2.0], [3.0]]
        case Rotation(degrees=degrees) if degrees > _FAR:
            # Every 30° of a full turn, as many of them as the range holds; −180° is 180°.
            count = max(4, round(degrees / 30) * 2)
            angles = [degrees * part for part in signed(count)]
            return [[angle] for angle in angles if angle != -180]
        case Rotation(degrees=degrees) | Shear(degrees=degrees):
            return [[degrees * part] for part in signed(6)]
        case Translation(fraction=fraction):
            steps = (-fraction, 0.0, fraction)
            return [[across, down] for across in steps for down in steps if across or down]
        case Scale(low=low, high=high, independent=True):
            ends = [factor for factor in (low, high) if abs(factor - 1) > 1e-9]
            pairs = {(x, y) for x in (*ends, 1.0) for y in (*ends, 1.0)} - {(1.0, 1.0)}
            return [list(pair) for pair in sorted(pairs)] or [[1.0, 1.0]]
        case Scale(low=low, high=high):
            return [[factor, factor] for factor in _between(low, high)] or [[1.0, 1.0]]
        case Brightness(delta=delta) | Hue(delta=delta):
            return [[delta * part] for part in signed(4)]
        case Contrast(low=low, high=high) | Saturation(low=low, high=high):
            return [[factor] for factor in _between(low, high)] or [[1.0]]
    return None


def _words(distortion: AnyDistortion, parameters: NDArray[np.float64]) -> str:
    first = float(parameters[0])
    match distortion:
        case HorizontalFlip():
            return "mirrored left to right"
        case VerticalFlip():
            return "mirrored top to bottom"
        case QuarterTurns():
            return f"turned by {90 * int(first) % 360}°"
        case Rotation():
            return f"rotated by {first:+.0f}°"
        case Shear():
            return f"slanted by {first:+.0f}°"
        case Translation():
            return f"moved by {first * 100:+.0f} % and {float(parameters[1]) * 100:+.0f} % of the sides"
        case Scale():
            return f"scaled by {first:.2f} × {float(parameters[1]):.2f}"
        case Brightness():
            return f"brightness {first:+.2f}"
        case Hue():
            return f"hue turned by {first * 360:+.0f}°"
        case Contrast():
            return f"contrast × {first:.2f}"
        case Saturation():
            return f"saturation × {first:.2f}"
    return distortion.describe()
