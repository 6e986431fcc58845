"""The first suspects on one page, as a picture: what somebody looks at before opening the review."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper import figures
from deeper.errors import printable
from deeper.images import Preprocess
from deeper.inspection.suspects import Doubts, Suspect
from deeper.records import Dataset

FILE = "suspects.png"
SHOWN = 40
_COLUMNS = 8
# Pixels of a picture's side at most, and inches of a cell.
_SIDE = 160
_WIDTH, _HEIGHT, _HEAD, _MARGIN = 1.15, 1.72, 0.62, 0.16
_COLOURS = {
    "label": figures.ORANGE,
    "mistake": figures.ORANGE,
    "duplicate": figures.BLUE,
    "leak": figures.BLUE,
    "outlier": figures.GREEN,
}
_WORDS = {"label": "label", "mistake": "mistake", "duplicate": "two labels", "leak": "leak", "outlier": "outlier"}


def write_found(found: Doubts, dataset: Dataset, folder: Path, *, title: str) -> None:
    """What a search leaves: its tables and the sheet of the first suspects, in place of an earlier search's.

    Raises: StorageError; DatasetError, for a record that cannot be read.
    """
    found.write(folder)
    draw_suspects(dataset, found.suspects, folder / FILE, title=title)


def draw_suspects(dataset: Dataset, suspects: Sequence[Suspect], path: Path, *, title: str) -> None:
    """Write the first suspects as PNG, SVG or PDF (by the path's ending): picture, reason, given → suggested, id.

    Raises: UsageError, for another ending; StorageError; DatasetError, for a record that cannot be read.
    """
    from matplotlib.figure import Figure

    shown = list(suspects[:SHOWN])
    pictures = _pictures(dataset, shown)
    rows = max(1, -(-len(shown) // _COLUMNS))
    width, height = _COLUMNS * _WIDTH + 2 * _MARGIN, rows * _HEIGHT + _HEAD + _MARGIN
    with figures.style(7):
        figure = Figure(figsize=(width, height), facecolor="white")
        figure.text(_MARGIN / width, 1 - 0.2 / height, title, va="center", fontsize=11, weight="bold", parse_math=False)
        caption = f"the first {len(shown)} of {len(suspects):,} suspects: given class → suggested class"
        figure.text(_MARGIN / width, 1 - 0.42 / height, caption, va="center", color=figures.GREY)
        for number, (suspect, picture) in enumerate(zip(shown, pictures, strict=True)):
            row, column = divmod(number, _COLUMNS)
            left = _MARGIN + column * _WIDTH
            top = height - _HEAD - row * _HEIGHT
            side = _WIDTH - 0.14
            axes = figure.add_axes((left / width, (top - side) / height, side / width, side / height))
            axes.imshow(picture, cmap="gray" if picture.ndim == 2 else None, vmin=0, vmax=255, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            colour = _COLOURS[suspect.reasons[0]]
            for edge in axes.spines.values():
                edge.set_color(colour)
                edge.set_linewidth(1.2)
            arrow = f" → {printable(suspect.suggested, 20)}" if suspect.suggested else ""
            words = "\n".join(figures.wrapped(f"{printable(suspect.given, 20)}{arrow}", 17)[:3])
            below = f"{_WORDS[suspect.reasons[0]]} {suspect.confidence:.2f}"
            # Other people's names are no formulas.
            place: dict[str, Any] = {"parse_math": False, "va": "top"}
            figure.text(left / width, (top - side - 0.05) / height, words, weight="bold", **place)
            line = 0.05 + 0.13 * (1 + words.count("\n"))
            figure.text(left / width, (top - side - line) / height, below, color=colour, fontsize=6, **place)
            # Its end tells files apart.
            name = printable(suspect.id, 1000)
            name = name if len(name) <= 26 else f"…{name[-25:]}"
            figure.text(
                left / width, (top - side - line - 0.11) / height, name, color=figures.GREY, fontsize=5, **place
            )
        figures.save(figure, path, title=title, dpi=160)


def _pictures(dataset: Dataset, suspects: Sequence[Suspect]) -> list[NDArray[np.uint8]]:
    fit = Preprocess(height=_SIDE, width=_SIDE, channels=dataset.info.channels, mode="letterbox", fill=255)
    positions = {
        (name, identifier): place
        for name in {one.split for one in suspects}
        for place, identifier in enumerate(dataset.split(name).ids)
    }
    pictures = []
    for one in suspects:
        picture = dataset.split(one.split).picture(positions[one.split, one.id])
        if max(picture.shape[:2]) > _SIDE:
            picture = fit.fit(picture)
        pictures.append(picture[..., 0] if picture.shape[2] == 1 else picture)
    return pictures
