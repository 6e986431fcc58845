"""What mean and deviation come from: sums over the training pixels.

Normalising needs no more digits than a sample gives, and adding up every pixel of every photograph would cost as much
again as half of its decoding. So of large pictures (more than 128 × 128 pixels) some rows stand for all; and of many
large pictures one in so many stands for all. What is small is added up whole, so that the statistics of digits and
icons are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from deeper.records.info import Moments

# Rows summed at once: 128 · 255² is below 2²⁴, so that every sum in float32 is a whole number that it holds exactly,
# in whatever order it is added up; across blocks, in float64, the same holds up to 2⁵³ (10¹¹ pixels).
_ROWS = 128
# A picture of more pixels than the first is large: only some of its rows are summed, so many that the second is left.
LARGE, _SUMMED_PIXELS = 1 << 14, 1 << 13
# So many large training pictures, or half as many at the least, are summed where there are more. Means of photographs deviate
# from one another by half of what their pixels do, so the mean of so many by a sixtieth of it (docs/log.md).
_SUMMED_PICTURES = 1024


@dataclass(slots=True)
class Sums:
    """Over training pictures, by the number of channels that they were summed with, 1 or 3."""

    small: dict[int, Moments] = field(default_factory=dict)
    large: dict[int, Moments] = field(default_factory=dict)
    """Of those large ones that were summed."""
    large_pixels: int = 0
    """Counted pixels of all large ones."""
    summed: int = 0
    """Large ones that were summed."""
    unsummed: int = 0
    """Large ones that these stand for."""

    def count(self, height: int, width: int, pixels: NDArray[np.uint8] | None) -> None:
        """One more picture. `pixels`: H × W × C; None, of a large one that others stand for."""
        large = height * width > LARGE
        if large:
            self.large_pixels += _counted(height, width, LARGE, _SUMMED_PIXELS)
            self.summed += pixels is not None
            self.unsummed += pixels is None
        if pixels is not None:
            _join(self.large if large else self.small, pixels.shape[2], moments(pixels))

    def join(self, other: Sums) -> None:
        """Those of `other`, too."""
        self.large_pixels += other.large_pixels
        self.summed += other.summed
        self.unsummed += other.unsummed
        for own, others in ((self.small, other.small), (self.large, other.large)):
            for channels, part in others.items():
                _join(own, channels, part)

    @property
    def lacking(self) -> bool:
        """Whether too few stand for the others: most pictures are small, or the sample was rejected."""
        return self.unsummed > 0 and 2 * self.summed < min(self.summed + self.unsummed, _SUMMED_PICTURES)

    def with_large(self, other: Sums) -> Sums:
        """These of the small pictures, with those of `other` of the large ones."""
        return replace(self, large=other.large, summed=other.summed, unsummed=other.unsummed)

    def moments(self, channels: int) -> Moments:
        """Over all pictures as they are read: a grey one counts in each of three channels."""
        small, large = (
            sum_moments([Moments.none(channels), *(_repeated(part, channels) for part in parts.values())])
            for parts in (self.small, self.large)
        )
        if large.pixels not in (0, self.large_pixels):
            large = Moments(
                pixels=self.large_pixels,
                sums=tuple(total * self.large_pixels // large.pixels for total in large.sums),
                squares=tuple(total * self.large_pixels // large.pixels for total in large.squares),
            )
        return sum_moments([small, large])


def sampled(pictures: int) -> int:
    """Of so many large training pictures, one in how many is summed."""
    return max(1, pictures // _SUMMED_PICTURES)


def moments(pixels: NDArray[np.uint8]) -> Moments:
    """Sums of the values and of their squares, per channel. `pixels`: H × W × C.

    Exact up to 2¹⁴ pixels (128 × 128). Of a larger picture every k-th row is summed, for the smallest k that leaves at
    most 2¹³ pixels, and at least 16 rows, and counted k times. The row in the middle of each k stands for them: the
    first would give the upper edge, which of photographs is another kind of row, the weight of k.
    """
    height, width, channels = pixels.shape
    every = _every(height, width, LARGE, _SUMMED_PIXELS)
    rows = pixels[every // 2 :: every].reshape(-1, width * channels)
    columns = np.zeros((2, width * channels))
    for first in range(0, len(rows), _ROWS):
        block = rows[first : first + _ROWS].astype(np.float32)
        columns[0] += np.add.reduce(block, 0)
        np.multiply(block, block, out=block)
        columns[1] += np.add.reduce(block, 0)
    sums, squares = (np.ones(width) @ columns.reshape(2, width, channels)).tolist()
    return Moments(
        pixels=len(rows) * width * every,
        sums=tuple(int(total) * every for total in sums),
        squares=tuple(int(total) * every for total in squares),
    )


def sum_moments(parts: Sequence[Moments]) -> Moments:
    """Sums over the pictures of all parts, of which there is at least one."""
    return Moments(
        pixels=sum(part.pixels for part in parts),
        sums=tuple(map(sum, zip(*(part.sums for part in parts), strict=True))),
        squares=tuple(map(sum, zip(*(part.squares for part in parts), strict=True))),
    )


# What they have been; before the last change the first row of each k was summed.
_LIMITS = ((LARGE, _SUMMED_PIXELS), (1 << 14, 1 << 14), (1 << 16, 1 << 16))


def counted_pixels(height: int, width: int) -> tuple[int, int]:
    """How many pixels of a picture of this size `moments` counts, at least and at most: versions of it have summed more
    or fewer rows of large pictures, and a dataset may have grown by several."""
    now, *before = _LIMITS
    counts = [_counted(height, width, *now)]
    for both in before:
        every = _every(height, width, *both)
        counts.append(len(range(0, height, every)) * width * every)
    return min(counts), max(counts)


def _counted(height: int, width: int, exact: int, limit: int) -> int:
    every = _every(height, width, exact, limit)
    return len(range(every // 2, height, every)) * width * every


def _every(height: int, width: int, exact: int, limit: int) -> int:
    """Of how many rows one is summed. Of a strip of few rows more are needed, or their number would be a poor weight."""
    if height * width <= exact:
        return 1
    return max(1, min(-(-height * width // limit), height // 16))


def _join(known: dict[int, Moments], channels: int, part: Moments) -> None:
    known[channels] = sum_moments([known[channels], part]) if channels in known else part


def _repeated(part: Moments, channels: int) -> Moments:
    if len(part.sums) == channels:
        return part
    return Moments(pixels=part.pixels, sums=part.sums * channels, squares=part.squares * channels)
