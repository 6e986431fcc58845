"""What training pictures look like, so that an input of quite another kind is told before it is answered.

Most wrong answers of a network in use are right answers to a wrong input: black on white where it learned white on
black, an empty frame, an object in the corner. A few numbers per picture find these: brightness, contrast, brightness of
the border, and where the mass lies. Ranges are taken from the training pictures; nothing is assumed of their kind, and
where they vary widely, as photographs do, little is found amiss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from deeper.errors import UsageError

# Of the training pictures, this share may lie outside on each side before the range is widened.
_TAIL = 0.001
# The range is widened on both sides by this share of its width.
_SLACK = 0.25
# The border is a frame this share of the shorter side wide.
_FRAME = 1 / 14
# Below this deviation of the pixels (0..1) there is nothing to see in any picture.
_BLANK = 0.01
# Pixels that are measured at once.
_CACHED = 1 << 17

Range: TypeAlias = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """Ranges of the training pictures at the model's size. Brightness and contrast are 0..1; `across` and `down` are
    where the centre of mass of what differs from the border lies, as shares of the sides."""

    brightness: Range
    contrast: Range
    border: Range
    across: Range
    down: Range

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "border", "across", "down"):
            low, high = getattr(self, name)
            if not (np.isfinite([low, high]).all() and low <= high):
                raise UsageError(f"appearance: {name} from {low} to {high}; wanted two numbers in order")

    @staticmethod
    def of(pictures: NDArray[np.uint8]) -> Appearance:
        """Of training pictures, uint8 N × H × W × C, N ≥ 1."""
        if len(pictures) == 0:
            raise UsageError("an appearance needs at least one picture")
        measured = _measure(pictures)
        return Appearance(
            brightness=_range(measured["brightness"]),
            contrast=_range(measured["contrast"]),
            border=_range(measured["border"]),
            across=_range(measured["across"]),
            down=_range(measured["down"]),
        )

    def remarks(self, pictures: NDArray[np.uint8]) -> list[str]:
        """What is unlike the training pictures, one short text for each picture; empty where nothing is.

        `pictures`: uint8 N × H × W × C at the model's size.
        """
        if len(pictures) == 0:
            return []
        measured = _measure(pictures)
        # 1 − x turns the means around and leaves contrast and centre.
        inverted = (
            ~_inside(measured["border"], self.border)
            & _inside(1 - measured["border"], self.border)
            & _inside(1 - measured["brightness"], self.brightness)
        )
        # Where training pictures are blank themselves, being so says nothing.
        blank = measured["contrast"] < min(_BLANK, self.contrast[0])
        aside = ~(_inside(measured["across"], self.across) & _inside(measured["down"], self.down))
        odd = ~(_inside(measured["brightness"], self.brightness) & _inside(measured["contrast"], self.contrast))
        texts = []
        for number in range(len(pictures)):
            if blank[number]:
                texts.append("blank: there is next to nothing in it")
            elif inverted[number]:
                texts.append("inverted: light and dark are exchanged, compared with the training pictures")
            elif odd[number]:
                texts.append("much darker, lighter or flatter than the training pictures")
            elif aside[number]:
                texts.append("off centre: the training pictures have their object elsewhere")
            else:
                texts.append("")
        return texts


def _measure(pictures: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    _, height, width, _ = pictures.shape
    # As many at once as stay in the processor's cache: what follows passes over them ten times.
    step = max(1, _CACHED // (height * width))
    parts = [_measure_some(pictures[first : first + step]) for first in range(0, len(pictures), step)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _measure_some(pictures: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
    _, height, width, channels = pictures.shape
    # Channel by channel: a mean over the last axis, of three values at a time, takes several times as long.
    grey = pictures[..., 0].astype(np.float32)
    for channel in range(1, channels):
        grey += pictures[..., channel]
    # Whole numbers up to 2²⁴ are exact in float32, so a white border has a brightness of exactly 1.
    white = 255 * channels
    whole = _sums(grey)
    brightness = whole / (height * width * white)
    frame = max(1, round(min(height, width) * _FRAME))
    inner = grey[:, frame : height - frame, frame : width - frame]
    border = (whole - _sums(inner)) / ((height * width - inner[0].size) * white)
    apart = grey - (white * brightness).astype(np.float32)[:, None, None]
    contrast = np.sqrt(_sums(np.square(apart, out=apart)) / (height * width)) / white
    mass = np.subtract(grey, (white * border).astype(np.float32)[:, None, None], out=grey)
    np.abs(mass, out=mass)
    by_row = mass.sum(axis=2).astype(np.float64)
    total = by_row.sum(axis=1)
    safe = np.where(total > 0, total, 1.0)
    columns, rows = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    return {
        "brightness": brightness,
        "contrast": contrast,
        "border": border,
        "across": np.where(total > 0, (mass.sum(axis=1) @ columns) / safe, 0.5),
        "down": np.where(total > 0, (by_row @ rows) / safe, 0.5),
    }


def _sums(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of N × H × W, one for each of N: rows in float32, which numpy adds in pairs, then those in float64."""
    sums: NDArray[np.float64] = values.sum(axis=2).sum(axis=1, dtype=np.float64)
    return sums


def _range(values: NDArray[np.float64]) -> Range:
    low, high = np.quantile(values, [_TAIL, 1 - _TAIL])
    slack = _SLACK * (high - low)
    # Never so narrow that rounding of a resize falls outside.
    slack = max(slack, 0.01)
    # No measure is negative, and half of the least is a great deal less: a widened range does not take in nothing.
    return float(max(low - slack, low / 2)), float(high + slack)


def _inside(values: NDArray[np.float64], allowed: Range) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = (values >= allowed[0]) & (values <= allowed[1])
    return result
