"""The confusion matrix as a picture, readable from 2 to several hundred classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deeper.errors import printable
from deeper.evaluation import confusions
from deeper.figures import lettering

# Up to so many classes every cell has its number; up to so many every class its name; beyond, every n-th.
NUMBERED_CELLS = 20
NAMED_CLASSES = 60
_LISTED = 12


def most_confused(confusion: NDArray[np.int64], classes: Sequence[str], limit: int = _LISTED) -> list[str]:
    """`"7 → 1 (12)"`: label → answer (count) of the most frequent confusions, ties in class order."""
    return [
        f"{printable(classes[true], 24)} → {printable(classes[given], 24)} ({count:,})"
        for true, given, count in confusions(confusion)[:limit]
    ]


def confusion_figure(confusion: NDArray[np.int64], classes: Sequence[str], title: str = "") -> NDArray[np.uint8]:
    """Draw counts[label, answer] as shares of the label's row.

    The diagonal, which would drown everything else, is grey; confusions are red, darker where more frequent (by the
    square root, so that one in a hundred is seen). Returns uint8 H × W × 3.
    """
    with lettering():
        return _drawn(confusion, classes, title)


def _drawn(confusion: NDArray[np.int64], classes: Sequence[str], title: str) -> NDArray[np.uint8]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    count = len(classes)
    names = [printable(name, 18) for name in classes]
    totals = confusion.sum(axis=1, keepdims=True)
    shares = confusion / np.maximum(totals, 1)
    side = float(np.clip(0.36 * count + 1.6, 4.6, 12.0))
    listed = most_confused(confusion, classes)
    # Inches for names at the left and below, and for the list at the right.
    for_names = 0.08 * max(map(len, names))
    for_list = max(1.6, 0.085 * max(map(len, listed), default=0))
    figure = Figure(figsize=(side + for_names + for_list, side + for_names), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    off_diagonal = shares.copy()
    np.fill_diagonal(off_diagonal, 0.0)
    highest = max(float(off_diagonal.max(initial=0.0)), 0.01)
    reds = LinearSegmentedColormap.from_list("confusions", ["#ffffff", "#fcbba1", "#ef3b2c", "#67000d"])
    picture = reds(np.sqrt(off_diagonal / highest))[:, :, :3]
    # The diagonal: from light grey (all right) to dark grey (none right).
    picture[np.arange(count), np.arange(count)] = (0.55 + 0.38 * np.diag(shares))[:, None]
    axes.imshow(picture, interpolation="nearest", aspect="equal")

    step = 1 if count <= NAMED_CLASSES else -(-count // NAMED_CLASSES)
    ticks = np.arange(0, count, step)
    size = float(np.clip(480 / max(count / step, 1), 7.0, 10.0))
    upright = max(map(len, names)) > 3
    axes.set_xticks(ticks, [names[i] for i in ticks], fontsize=size, rotation=90 if upright else 0)
    axes.set_yticks(ticks, [names[i] for i in ticks], fontsize=size)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)  # a class may be called "$x_1$", or "$\\frac{"
    axes.set_xlabel("answer of the network")
    axes.set_ylabel("label")
    axes.tick_params(length=2)
    if count <= NUMBERED_CELLS:
        axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="#dddddd", linewidth=0.6)
        axes.tick_params(which="minor", length=0)
        for row, column in np.argwhere(confusion > 0):
            dark = float(picture[row, column].mean()) < 0.55
            axes.text(
                column,
                row,
                f"{confusion[row, column]:,}",
                ha="center",
                va="center",
                fontsize=float(np.clip(120 / count, 6, 10)),
                color="white" if dark else "black",
            )
    correct, total = int(np.trace(confusion)), int(confusion.sum())
    heading = f"{title}\n" if title else ""
    axes.set_title(
        f"{heading}{correct:,} of {total:,} right ({correct / max(total, 1):.2%}); "
        f"darkest red: {highest:.1%} of a label's pictures",
        fontsize=10,
        parse_math=False,
    )
    side_text = "label → answer (pictures)\n\n" + "\n".join(listed) if listed else "no confusions"
    axes.text(1.02, 1.0, side_text, transform=axes.transAxes, va="top", fontsize=9, parse_math=False)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return pixels[:, :, :3].copy()
