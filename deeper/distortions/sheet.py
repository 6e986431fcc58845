"""A sheet of examples: what each training distortion does to real pictures, alone and all together."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deeper import draws, figures
from deeper.distortions import AnyDistortion
from deeper.distortions.apply import Distorter
from deeper.distortions.sampling import Fill
from deeper.figures import width_of

# Draws of everything together that a row shows.
TOGETHER = 4

# Inches: a picture's width, the gaps between pictures and between groups of columns, a line of a heading, the margin.
_CELL, _GAP, _GROUP_GAP, _LINE, _MARGIN = 1.05, 0.06, 0.2, 0.145, 0.12
_INK, _PALE = "#1f2328", "#8a9199"


@dataclass(frozen=True)
class _Column:
    """Pictures N × height × width × C below one heading; `begins` a group, set apart from what is left of it."""

    heading: str
    pictures: NDArray[np.float32]
    begins: bool = False


def draw_sheet(
    pictures: NDArray[np.uint8],
    captions: Sequence[str],
    distortions: Sequence[AnyDistortion],
    path: Path,
    *,
    size: tuple[int, int],
    fill: Fill = "border",
    seed: int = 0,
    title: str = "",
) -> None:
    """Write a PNG, SVG or PDF (by the path's ending).

    One row per picture: the picture, each distortion alone (the most visible of a few draws), four draws of all
    together (or of the only one there is). `pictures`: uint8 N × H × W × C. `captions`: N class names.

    Raises: StorageError.
    """
    columns = [_Column("original", _plain(pictures, size))]
    for number, distortion in enumerate(distortions):
        shown = _most_visible(pictures, distortion, size, fill, seed)
        columns.append(_Column(distortion.describe(), shown, begins=number == 0))
    heading = "all together, drawn four times" if len(distortions) > 1 else "drawn four times"
    for number in range(TOGETHER):
        distorted = _distorted(pictures, distortions, size, fill, seed, number)
        columns.append(_Column(heading if number == 0 else "", distorted, begins=number == 0))
    _draw(columns, captions, path, title)


def _distorted(
    pictures: NDArray[np.uint8],
    distortions: Sequence[AnyDistortion],
    size: tuple[int, int],
    fill: Fill,
    seed: int,
    epoch: int,
) -> NDArray[np.float32]:
    """Shape: N × height × width × C, 0..1."""
    keys = draws.keys(f"sheet:{number}" for number in range(len(pictures)))
    distorter = Distorter(distortions, seed=seed, size=size, fill=fill)
    result = distorter(torch.from_numpy(pictures), keys, np.zeros(len(pictures), np.int64), epoch)
    return np.asarray(result.permute(0, 2, 3, 1).numpy(), np.float32)


def _plain(pictures: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    return _distorted(pictures, (), size, "border", 0, 0)


def _most_visible(
    pictures: NDArray[np.uint8], distortion: AnyDistortion, size: tuple[int, int], fill: Fill, seed: int
) -> NDArray[np.float32]:
    plain = _plain(pictures, size)
    tries = np.stack([_distorted(pictures, [distortion], size, fill, seed, epoch) for epoch in range(8)])
    change = np.abs(tries - plain).mean((2, 3, 4))
    chosen: NDArray[np.float32] = tries[change.argmax(0), np.arange(len(pictures))]
    return chosen


def _balanced(text: str, width: int) -> str:
    """Wrapped to lines of at most `width`, as even as their number allows; long words stay whole."""

    def lines(limit: int) -> list[str]:
        return textwrap.wrap(text, limit, break_long_words=False, break_on_hyphens=False)

    fewest = len(lines(width))
    return "\n".join(next(found for limit in range(1, width + 1) if len(found := lines(limit)) == fewest))


def _draw(columns: Sequence[_Column], captions: Sequence[str], path: Path, title: str) -> None:
    """Every place in inches: equal cells and even gaps, whatever the headings' lengths."""
    from matplotlib.figure import Figure

    height, width = columns[0].pictures.shape[1:3]
    cell_height = _CELL * height / width
    wrapped = [_balanced(caption, 16) for caption in captions]
    longest = max(width_of(line) for caption in wrapped for line in caption.split("\n"))
    left = _MARGIN + 0.07 * longest + 0.08
    # The last group's heading runs over its columns.
    headings = [
        _balanced(column.heading, 60 if number == len(columns) - TOGETHER else 16)
        for number, column in enumerate(columns)
    ]
    top = _MARGIN + (0.24 if title else 0.0) + _LINE * max(heading.count("\n") + 1 for heading in headings) + 0.05
    places = [left]
    for column in columns[1:]:
        places.append(places[-1] + _CELL + (_GROUP_GAP if column.begins else _GAP))
    total = places[-1] + _CELL + _MARGIN, top + len(captions) * (cell_height + _GAP) - _GAP + _MARGIN
    with figures.style(8):
        figure = Figure(figsize=total)
        for number, (column, heading, place) in enumerate(zip(columns, headings, places, strict=True)):
            spanned = TOGETHER * (_CELL + _GAP) - _GAP if number == len(columns) - TOGETHER else _CELL
            where = (place + spanned / 2) / total[0], 1 - (top - 0.08) / total[1]
            figure.text(*where, heading, ha="center", va="baseline", color=_INK, linespacing=1.15)
            for row, picture in enumerate(column.pictures):
                bottom = total[1] - top - (row + 1) * (cell_height + _GAP) + _GAP
                box = (place / total[0], bottom / total[1], _CELL / total[0], cell_height / total[1])
                axes = figure.add_axes(box, xticks=[], yticks=[])
                axes.spines[:].set(color="#c9cdd2", linewidth=0.5)
                # Small pictures keep their pixels, large ones are smoothed by the page.
                smooth = "nearest" if height < 64 else "antialiased"
                grey = picture.shape[2] == 1
                axes.imshow(
                    picture[..., 0] if grey else picture,
                    cmap="gray",
                    vmin=0,
                    vmax=1,
                    interpolation=smooth,
                    aspect="auto",
                )
                if number == 0:
                    # A class may be called "$x_1$".
                    axes.set_ylabel(
                        wrapped[row], rotation=0, ha="right", va="center", color=_INK, labelpad=6, parse_math=False
                    )
        if title:
            figure.text(left / total[0], 1 - _MARGIN / total[1], title, va="top", color=_PALE, parse_math=False)
        figures.save(figure, path, title=title or "training distortions")
