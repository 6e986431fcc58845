"""Placebo transforms: what might as well have been done to a picture, and was done to none in training.

Each family has a strength s in (0, 1] that is matched to a training distortion by the judge, and gives as many
different tries as wanted. Some are natural (mirrors, rotation, shear), some made for this (swirl, wave, keystone, bulge):
the latter are in no training, so there are always enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeper.distortions import AnyDistortion, HorizontalFlip, QuarterTurns, Rotation, Shear, Translation, VerticalFlip
from deeper.distortions.apply import as_bytes
from deeper.distortions.sampling import Fill, sampled
from deeper.inspection.tries import signed

# (x, y, strength −1 … 1, phase 0 … 2π, height over width) → where to look; x, y and the result span −1 … 1.
Field: TypeAlias = Callable[[Tensor, Tensor, float, float, float], tuple[Tensor, Tensor]]


def _rotation(x: Tensor, y: Tensor, strength: float, phase: float, aspect: float) -> tuple[Tensor, Tensor]:
    angle = math.pi * strength
    cosine, sine = math.cos(angle), math.sin(angle)
    return cosine * x - sine * aspect * y, sine / aspect * x + cosine * y


def _shear(x: Tensor, y: Tensor, strength: float, phase: float, aspect: float) -> tuple[Tensor, Tensor]:
    return x + math.tan(math.radians(60) * strength) * aspect * y, y


def _translation(x: Tensor, y: Tensor, strength: float, phase: float, aspect: float) -> tuple[Tensor, Tensor]:
    return x + strength * math.cos(phase), y + strength * math.sin(phase)


def _scale(x: Tensor, y: Tensor, strength: float, phase: float, aspect: float) -> tuple[Tensor, Tensor]:
    factor = 4.0**strength
    return x * factor, y * factor


def _swirl(x: Tensor, y: Tensor, strength: float, phase: float, aspect: float) -> tuple[Tensor, Tensor]:
    """Turned about the centre, most in the middle, not at all at the rim."""
    angle = 2 * math.pi * strength * (1 - (x * x + y * y).sqrt()).clamp(min=0) ** 2
    return angle.cos() * x - angle.sin() * aspect * y, angle.sin() / aspect * x + angle.cos() * y


def _wave(x: Tensor, y: Tensor, strength: float, phase: float, aspect: float) -> tuple[Tensor, Tensor]:
    """Rows pushed to and fro, one period over the height."""
    return x + 0.6 * strength * torch.sin(math.pi * y + phase), y


def _keystone(x: Tensor, y: Tensor, strength: float, phase: float, aspect: float) -> tuple[Tensor, Tensor]:
    """Seen from the side: what lies in one direction is farther away."""
    depth = 1 + 0.9 * strength * (x * math.cos(phase) + y * math.sin(phase)) / math.sqrt(2)
    return x / depth, y / depth


def _bulge(x: Tensor, y: Tensor, strength: float, phase: float, aspect: float) -> tuple[Tensor, Tensor]:
    """Blown up (or drawn in) about a point off the centre."""
    over, up = 0.35 * math.cos(phase), 0.35 * math.sin(phase)
    near = torch.exp(-4 * ((x - over) ** 2 + (y - up) ** 2))
    return x - strength * (x - over) * near, y - strength * (y - up) * near


def _mirror(x: Tensor, y: Tensor, strength: float, phase: float, aspect: float) -> tuple[Tensor, Tensor]:
    """Mirrored about an axis through the centre at half the angle `phase` from the x axis."""
    cosine, sine = math.cos(phase), math.sin(phase)
    return cosine * x + sine * aspect * y, sine / aspect * x - cosine * y


@dataclass(frozen=True)
class Family:
    """A kind of placebo. `fixed`: it has no strength (mirrors)."""

    name: str
    description: str
    field: Field
    phase: float = 0.0
    """Of the first try, radians."""
    fixed: bool = False
    single: bool = False
    """Only one try: the phase is all there is."""
    sign: float = 1.0


FAMILIES = (
    Family("mirror_left_right", "mirrored left to right", _mirror, phase=math.pi, fixed=True, single=True),
    Family("mirror_top_bottom", "mirrored top to bottom", _mirror, phase=0.0, fixed=True, single=True),
    Family("transpose", "mirrored about the diagonal", _mirror, phase=math.pi / 2, fixed=True, single=True),
    Family("mirror_slanted", "mirrored about slanted axes", _mirror, phase=0.3, fixed=True),
    Family("rotation", "rotated", _rotation),
    Family("counter_rotation", "rotated the other way", _rotation, sign=-1.0, single=True),
    Family("shear", "slanted", _shear),
    Family("translation", "moved", _translation),
    Family("scale", "scaled", _scale),
    Family("swirl", "swirled", _swirl),
    Family("wave", "waved", _wave),
    Family("keystone", "seen from the side", _keystone),
    Family("bulge", "bulged", _bulge),
)


def families(trained: Sequence[AnyDistortion], tries: int) -> list[Family]:
    """Those that no training picture went through, alone or by two distortions of the list together, and that can be
    tried so often. Where training rotated, slanted or moved a little, a single try far beyond that is still a placebo:
    `in_training` says whether a strength is."""
    names = {one.name for one in trained}
    mirrors = {one.name for one in trained if isinstance(one, (HorizontalFlip, VerticalFlip))}
    turned = any(isinstance(one, QuarterTurns) or (isinstance(one, Rotation) and one.degrees > 45) for one in trained)
    barred = set() if tries == 1 else names & {"rotation", "shear", "translation"}
    if "scale" in names or names & {"crop", "random_box"}:
        barred |= {"scale", "translation"}
    if turned or len(mirrors) == 2:
        barred |= {"rotation", "counter_rotation"}
    if "horizontal_flip" in mirrors:
        barred.add("mirror_left_right")
    if "vertical_flip" in mirrors:
        barred.add("mirror_top_bottom")
    if mirrors and ("rotation" in names or turned):
        barred.add("mirror_slanted")
    if mirrors and turned:
        barred |= {"mirror_left_right", "mirror_top_bottom", "transpose"}
    return [one for one in FAMILIES if one.name not in barred and (tries == 1 or not one.single)]


def in_training(family: Family, strength: float, trained: Sequence[AnyDistortion]) -> bool:
    """Whether one try at this strength lies within twice what training drew from."""
    for one in trained:
        if isinstance(one, Rotation) and family.field is _rotation and 180 * strength <= 2 * one.degrees:
            return True
        if isinstance(one, Shear) and family.field is _shear and 60 * strength <= 2 * one.degrees:
            return True
        if isinstance(one, Translation) and family.field is _translation and strength <= 4 * one.fraction:
            return True
    return False


@dataclass(frozen=True)
class Warp:
    """A family at one strength, tried `tries` times: both directions, rising strengths, turning phases."""

    family: Family
    strength: float
    tries: int
    fill: Fill = "border"

    @property
    def name(self) -> str:
        return self.family.name

    @property
    def description(self) -> str:
        return (
            self.family.description
            if self.family.fixed
            else f"{self.family.description} (strength {self.strength:.2f})"
        )

    def words(self, number: int) -> str:
        return self.family.description

    def __call__(self, images: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        strength = self.strength * signed(self.tries)[number] * self.family.sign
        turn = math.pi if self.family.fixed else 2 * math.pi
        return warp(images, self.family, strength, self.family.phase + turn * number / self.tries, self.fill)

    def forwards(self, images: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
        return self(images, number)


def warp(images: NDArray[np.uint8], family: Family, strength: float, phase: float, fill: Fill) -> NDArray[np.uint8]:
    """One placebo: uint8 N × H × W × C → the same shape."""
    height, width = images.shape[1:3]
    down = ((2 * torch.arange(height) + 1) / height - 1)[:, None].expand(height, width)
    across = ((2 * torch.arange(width) + 1) / width - 1)[None, :].expand(height, width)
    grid = torch.stack(family.field(across, down, strength, phase, height / width), dim=-1)[None]
    result = np.empty_like(images)
    for first in range(0, len(images), 500):
        part = torch.from_numpy(np.ascontiguousarray(images[first : first + 500]))
        pixels = part.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).mul_(1 / 255)
        result[first : first + 500] = as_bytes(sampled(pixels, grid.expand(len(part), -1, -1, -1), fill))
    return result
