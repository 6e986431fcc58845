"""Glyphs as if written by hand: distance fields → grey pictures, with every property drawn for every picture.

Which property is drawn from where: (seed, key of the picture, purpose) alone, so a picture never depends on the
others. Lengths are in pixels of the finished picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeper import draws
from deeper.records.sources.glyphs import DENSITY, SIDE, distance_fields

#: Pictures worked on at a time: their coordinates stay in the processor's cache.
_BLOCK = 512
#: Control points along each side of the smooth random fields.
_CONTROLS = 6


@dataclass(frozen=True, kw_only=True)
class Hand:
    """How freely glyphs are written: the range of each distortion."""

    slant: float = 0.35
    """Shear, as the tangent of the angle: −slant … +slant."""
    rotation: float = 14.0
    """Degrees to either side."""
    narrow: float = 0.68
    """Smallest width, as a share of the font's."""
    wide: float = 1.12
    """Largest width."""
    short: float = 0.82
    """Smallest height, as a share of 20 pixels."""
    tall: float = 1.05
    """Largest height."""
    thin: float = -0.25
    """What the edge moves inwards at most …"""
    thick: float = 1.2
    """… and outwards at most, in pixels."""
    wobble: float = 6.0
    """Largest displacement of the elastic field, in pixels."""
    pressure: float = 0.8
    """How much the thickness varies along the strokes, in pixels."""
    blur: float = 1.3
    """Largest width of the edge, in pixels; the smallest is 0.7."""
    jitter: float = 1.2
    """Largest distance of the centre of mass from the middle, in pixels on each axis."""


def draw_glyphs(
    glyphs: Sequence[str],
    which: NDArray[np.int64],
    keys: NDArray[np.uint64],
    *,
    fonts: Sequence[str],
    seed: int = 0,
    side: int = 28,
    hand: Hand = Hand(),
) -> NDArray[np.uint8]:
    """Draw `glyphs[which[i]]` for each key, white on black, centred by mass as MNIST's digits are.

    `which`: N indices into `glyphs`. `keys`: N keys of `deeper.draws`, one per picture.
    Returns N × side × side, dtype uint8. Raises: SourceError, when a font or a glyph is missing.
    """
    fields = distance_fields(glyphs, fonts)
    pictures = np.empty((len(which), side, side), np.uint8)
    for start in range(0, len(which), _BLOCK):
        block = slice(start, start + _BLOCK)
        pictures[block] = _block(fields, which[block], keys[block], seed, side, hand)
    return pictures


def _between(uniform: NDArray[np.float64], low: float, high: float) -> NDArray[np.float32]:
    return (low + (high - low) * uniform).astype(np.float32)[:, None]


def _block(
    fields: NDArray[np.float32],
    which: NDArray[np.int64],
    keys: NDArray[np.uint64],
    seed: int,
    side: int,
    hand: Hand,
) -> NDArray[np.uint8]:
    count = len(which)
    u = draws.uniforms(seed, 0, keys, "glyph", 12)
    font = (u[:, 0] * len(fields)).astype(np.int64)
    field = font * fields.shape[1] + which

    angle = np.deg2rad(_between(u[:, 1], -hand.rotation, hand.rotation))
    slant = _between(u[:, 2], -hand.slant, hand.slant)
    zoom = side / 28
    width = _between(u[:, 3], hand.narrow, hand.wide) * np.float32(zoom)
    height = _between(u[:, 4], hand.short, hand.tall) * np.float32(zoom)
    offset = _between(u[:, 5], hand.thin, hand.thick)
    softness = _between(u[:, 6], 0.7, hand.blur)
    brightest = _between(u[:, 7], 0.78, 1.0)
    middle_x = _between(u[:, 8], -hand.jitter, hand.jitter)
    middle_y = _between(u[:, 9], -hand.jitter, hand.jitter)
    freedom = _between(u[:, 10], 0.2, 1.0)

    axis = np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2)
    y, x = (grid.reshape(1, -1) for grid in np.meshgrid(axis, axis, indexing="ij"))
    spline = _spline(side)  # P × controls
    smooth = draws.uniforms(seed, 0, keys, "field", 4 * _CONTROLS**2).astype(np.float32) * 2 - 1
    bend_x, bend_y, press, ink = (part @ spline.T for part in np.split(smooth, 4, axis=1))  # each N × P
    bend_x *= freedom * np.float32(hand.wobble)
    bend_y *= freedom * np.float32(hand.wobble)
    edge = offset + press * freedom * np.float32(hand.pressure)

    cosine, sine = np.cos(angle), np.sin(angle)

    def cover(from_x: NDArray[np.float32], from_y: NDArray[np.float32]) -> NDArray[np.float32]:
        """How much of each pixel the glyph covers, 0..1, when its origin lies at (from_x, from_y). N × P."""
        at_x, at_y = x - from_x + bend_x, y - from_y + bend_y
        # undo the rotation, then the slant, then the scale
        turned_x, turned_y = cosine * at_x + sine * at_y, cosine * at_y - sine * at_x
        across, down = (turned_x + slant * turned_y) / width, turned_y / height
        distance = _sample(fields, field, across, down) * np.sqrt(width * height)
        covered: NDArray[np.float32] = np.clip(np.float32(0.5) - (distance - edge) / softness, 0, 1)
        return covered

    # Where the mass lies is known only after drawing: once to weigh, once to place.
    zero = np.zeros((count, 1), np.float32)
    mass = cover(zero, zero)
    total = np.maximum(mass.sum(axis=1, keepdims=True), np.float32(1e-3))
    weighed_x = (mass * x).sum(axis=1, keepdims=True) / total
    weighed_y = (mass * y).sum(axis=1, keepdims=True) / total
    finished = cover(middle_x - weighed_x, middle_y - weighed_y)
    level = brightest * (1 - np.float32(0.15) * (1 - ink) / 2)
    pictures: NDArray[np.uint8] = np.rint(finished * level * 255).astype(np.uint8).reshape(count, side, side)
    return pictures


def _sample(
    fields: NDArray[np.float32], field: NDArray[np.int64], across: NDArray[np.float32], down: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Bilinear values of the fields at points in units from their middle. Shape: N × P."""
    size = SIDE * DENSITY
    middle = np.float32((size - 1) / 2)
    column = np.clip(across * DENSITY + middle, 0, size - 1.001)
    row = np.clip(down * DENSITY + middle, 0, size - 1.001)
    left, top = column.astype(np.int32), row.astype(np.int32)
    right_share, low_share = column - left, row - top
    flat = fields.reshape(-1)
    base = (field.astype(np.int32) * (size * size))[:, None] + top * size + left
    upper = flat[base] * (1 - right_share) + flat[base + 1] * right_share
    lower = flat[base + size] * (1 - right_share) + flat[base + size + 1] * right_share
    values: NDArray[np.float32] = upper * (1 - low_share) + lower * low_share
    return values


def _spline(side: int) -> NDArray[np.float32]:
    """Cubic B-spline weights of the control points at each pixel. Shape: side² × controls². Rows add up to 1."""
    spacing = (side - 1) / (_CONTROLS - 3)
    place = np.arange(side)[:, None] / spacing + 1
    distance = np.abs(place - np.arange(_CONTROLS)[None, :])
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance) ** 3 / 6
    one = np.where(distance < 1, near, np.where(distance < 2, far, 0))  # side × controls
    two = np.einsum("ya,xb->yxab", one, one)
    weights: NDArray[np.float32] = two.reshape(side * side, _CONTROLS**2).astype(np.float32)
    return weights
