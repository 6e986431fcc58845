"""What is done to the pictures in an audit: a distortion at full strength, or drawn as training draws it. No torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deeper import draws
from deeper.distortions import (
    AnyDistortion,
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

# Those that can give a picture another meaning without making it strange: letters, digits and signs are told apart by
# which way they face. A class that leaves itself under one of them is not to be shown so.
TURNING = frozenset({"horizontal_flip", "vertical_flip", "quarter_turns", "rotation"})
# From this many degrees on a rotation counts as far.
FAR_DEGREES = 30.0


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """One distortion as the audit applies it to every picture.

    `full`: at the end of its range, to either side; `drawn`: as in training, but always happening (a flip with
    probability one half is judged by the pictures that are flipped).
    """

    distortion: AnyDistortion
    mode: Literal["full", "drawn"] = "full"

    @property
    def name(self) -> str:
        return self.distortion.name

    @property
    def turning(self) -> bool:
        """Whether it changes which way a picture faces."""
        return self.name in TURNING

    def describe(self) -> str:
        """In words: "horizontal flip", "rotation by ±30°"."""
        if isinstance(self.distortion, (HorizontalFlip, VerticalFlip)):
            return self.name.replace("_", " ")
        return _at_full(self.distortion) if self.mode == "full" else self.distortion.describe()

    def parameters(self, keys: NDArray[np.uint64], seed: int) -> NDArray[np.float64]:
        """What happens to each picture: a function of (seed, key) alone. Shape: N × P."""
        # One more than training needs: which end of the range.
        uniforms = draws.uniforms(seed, 0, keys, f"audit:{self.name}", self.distortion.uniforms + 1)
        ends, rest = np.where(uniforms[:, -1:] < 0.5, -1.0, 1.0), uniforms[:, :-1]
        certain = _certain(self.distortion)
        if isinstance(certain, QuarterTurns):
            # Not turning is no turn.
            return 1.0 + np.floor(rest * 3)
        if self.mode == "drawn":
            return certain.draw(rest)
        match certain:
            case Rotation() | Shear():
                return ends * certain.degrees
            case Brightness() | Hue():
                return ends * certain.delta
            case Contrast() | Saturation():
                return np.where(ends < 0, certain.low, certain.high)
            case Scale():
                return np.repeat(np.where(ends < 0, certain.low, certain.high), 2, axis=1)
            case Translation():
                angle = 2 * np.pi * rest[:, 0]
                return np.stack([np.cos(angle), np.sin(angle)], axis=1) * certain.fraction
            case _:
                return certain.draw(rest)


def _certain(distortion: AnyDistortion) -> AnyDistortion:
    """The same, always happening."""
    if isinstance(distortion, (HorizontalFlip, VerticalFlip, Erasing)):
        return replace(distortion, probability=1.0)
    return distortion


def _at_full(distortion: AnyDistortion) -> str:
    match distortion:
        case Rotation() | Shear():
            return f"{distortion.name} by ±{distortion.degrees:g}°"
        case Translation():
            return f"translation by {distortion.fraction * 100:.3g}% of the side"
        case Scale():
            return f"scale by {distortion.low:.3g} or {distortion.high:.3g}"
        case Brightness():
            return f"brightness by ±{distortion.delta:.3g}"
        case Hue():
            return f"hue by ±{distortion.delta * 360:.0f}°"
        case Contrast() | Saturation():
            return f"{distortion.name} by {distortion.low:.3g} or {distortion.high:.3g}"
        case Crop():
            return f"crop of {distortion.area_low:.0%} of the area"
        case Erasing():
            return f"erasing of {distortion.area_low:.0%} of the area"
        case _:
            return distortion.describe()


def grid(channels: int) -> tuple[Treatment, ...]:
    """What `deeper audit` tries when nothing is named: every distortion, the graded ones mildest first. Hue and
    saturation change nothing on grey pictures and are left out there."""
    tried: list[AnyDistortion] = [HorizontalFlip(), VerticalFlip(), QuarterTurns()]
    tried += [Rotation(degrees=degrees) for degrees in (10, 20, 30, 45, 90, 180)]
    tried += [Scale(low=1 / factor, high=factor) for factor in (1.15, 1.4)]
    tried += [Shear(degrees=degrees) for degrees in (8, 16, 30)]
    tried += [Translation(fraction=fraction) for fraction in (0.05, 0.1, 0.2)]
    tried += [Crop(area_low=area, area_high=area) for area in (0.8, 0.5)]
    tried += [RandomBox()]
    tried += [Erasing(area_low=area, area_high=area) for area in (0.05, 0.2)]
    tried += [Elastic(deviation=deviation) for deviation in (0.015, 0.03)]
    tried += [Brightness(delta=delta) for delta in (0.1, 0.3)]
    tried += [Contrast(low=1 / factor, high=factor) for factor in (1.25, 2.0)]
    tried += [Noise(deviation=deviation) for deviation in (0.05, 0.15)]
    tried += [GuideColour()]
    if channels == 3:
        tried += [Saturation(low=1 / factor, high=factor) for factor in (1.5, 4.0)]
        tried += [Hue(delta=delta) for delta in (0.05, 0.2, 0.5)]
    return tuple(Treatment(distortion=distortion) for distortion in tried)


def far(distortion: AnyDistortion) -> bool:
    """Whether a distortion flips or rotates far: what `deeper train` audits by itself."""
    if isinstance(distortion, Rotation):
        return distortion.degrees >= FAR_DEGREES
    return isinstance(distortion, (HorizontalFlip, VerticalFlip, QuarterTurns))
