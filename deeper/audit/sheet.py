"""The evidence as one picture: for each unsafe distortion and class some pictures, as they are and as they become."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeper import figures
from deeper.audit.result import Audit, Example, Finding
from deeper.audit.traffic import OWN_SHARE
from deeper.errors import printable

# Inches: a picture, the gap between the two of a pair and between pairs, a row's pitch, the text on the left, margins.
_CELL, _PAIR, _GAP, _PITCH, _LEFT, _MARGIN = 0.52, 0.04, 0.16, 0.72, 2.75, 0.14
# Letters of a line of the text on the left, and its height in inches.
_LETTERS, _LINE = 44, 0.118
# Pixels of a picture on the sheet.
_PIXELS = 128
# Of the explanation's size.
_LETTERS_PER_INCH = 18


def draw_evidence(audit: Audit, path: Path) -> None:
    """Write a PNG, SVG or PDF (by the path's ending): one row per unsafe finding, the worst first; in each pair the
    training picture on the left, on the right what the distortion makes of it, and how the judge reads that.

    Raises: UsageError, for another ending; StorageError.
    """
    from matplotlib.figure import Figure

    rows = audit.evidence
    most = max((len(examples) for _, examples in rows), default=1)
    pair = 2 * _CELL + _PAIR
    width = max(figures.WIDTH, _LEFT + most * (pair + _GAP) + _MARGIN)
    line = (
        "each pair: a training picture, what the distortion makes of it, and how a judge reads that who never saw it. "
        f"Counted: read as surely as {OWN_SHARE:.0%} of the other class's own"
    )
    explained = figures.wrapped(line, int((width - 2 * _MARGIN) * _LETTERS_PER_INCH))
    top = 0.46 + 0.16 * len(explained)
    height = top + max(1, len(rows)) * _PITCH + _MARGIN
    with figures.style():
        figure = Figure(figsize=(width, height), facecolor="white")
        title = printable(f"{audit.dataset}: distortions that turn one class into another", 110)
        figure.text(_MARGIN / width, 1 - 0.2 / height, title, weight="bold", va="center", parse_math=False)
        for number, part in enumerate(explained):
            y = 1 - (0.42 + 0.16 * number) / height
            figure.text(_MARGIN / width, y, part, color=figures.GREY, va="center", fontsize=7.5)
        if not rows:
            for number, part in enumerate(_nothing_shown(audit, int((width - 2 * _MARGIN) * _LETTERS_PER_INCH * 0.85))):
                figure.text(_MARGIN / width, (0.5 * _PITCH - 0.18 * number) / height, part, va="center")
        for number, (finding, examples) in enumerate(rows):
            bottom = height - top - (number + 1) * _PITCH + (_PITCH - _CELL) / 2
            middle = (bottom + _CELL / 2) / height
            _words(figure, finding, width, middle, height)
            for place, example in enumerate(examples):
                left = _LEFT + place * (pair + _GAP)
                box = (left / width, bottom / height, pair / width, _CELL / height)
                axes = figure.add_axes(box)
                axes.set_axis_off()
                axes.imshow(_pair(example), interpolation="nearest", aspect="auto")
                sure = f"{example.probability:.1%}" if example.probability < 0.9995 else ">99.9%"
                under = f"{printable(example.read_after, 12)}: {sure}"
                figure.text(
                    (left + 1.5 * _CELL + _PAIR) / width,
                    (bottom - 0.02) / height,
                    under,
                    ha="center",
                    va="top",
                    fontsize=6,
                    color=figures.GREY,
                    parse_math=False,
                )
        figures.save(figure, path, title=title)


def _nothing_shown(audit: Audit, letters: int) -> list[str]:
    """What to say in the place of pictures: that nothing is shown to be unsafe does not make it safe."""
    undecided = [one for one in audit.findings if one.verdict == "undecided"]
    if not undecided:
        return ["nothing is unsafe"]
    kept = sorted({name for rule in audit.policy().classes.values() for name in rule.never})
    away = f"; the policy keeps away what is suspected to harm: {', '.join(kept)}" if kept else ""
    said = f"nothing is shown to be unsafe; {len(undecided):,} of {len(audit.findings):,} pairs are undecided{away}"
    return figures.wrapped(printable(said, 400), letters)


def _words(figure: object, finding: Finding, width: float, middle: float, height: float) -> None:
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)
    low, high = finding.entering.interval
    name, target = printable(str(finding.class_name), 16), printable(str(finding.target), 16)
    shares = f"{finding.entering.share:.1%} enter another class ({low:.1%} to {high:.1%})"
    lines = [
        *((line, "bold") for line in figures.wrapped(f"{name} → {target}", _LETTERS)[:2]),
        *((line, "normal") for line in figures.wrapped(finding.description, _LETTERS)[:2]),
        *((line, "normal") for line in figures.wrapped(shares, _LETTERS)[:2]),
    ]
    for number, (line, weight) in enumerate(lines):
        y = middle + (len(lines) - 1 - 2 * number) / 2 * _LINE / height
        figure.text(_MARGIN / width, y, line, weight=weight, va="center", fontsize=7.5, parse_math=False)


def _pair(example: Example) -> NDArray[np.uint8]:
    """Both pictures side by side on white, each about 128 pixels wide and whole pixels repeated. Shape: H × W × 3."""
    both: Sequence[NDArray[np.uint8]] = [_shown(example.picture), _shown(example.transformed)]
    gap = np.full((both[0].shape[0], round(both[0].shape[1] * _PAIR / _CELL), 3), 255, np.uint8)
    return np.concatenate([both[0], gap, both[1]], axis=1)


def _shown(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colour = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
    factor = max(1, _PIXELS // colour.shape[0])
    return colour.repeat(factor, axis=0).repeat(factor, axis=1)
