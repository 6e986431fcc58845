"""The figure of `deeper compare`: accuracies with intervals above, what each pair disagrees about below."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeper import files
from deeper.errors import UsageError, printable
from deeper.evaluation.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart in grey print and by the colour-blind: blue is dark, orange is light (Okabe and Ito 2008), and the filled
# mark says the same as the colour.
_INK, _BLUE, _ORANGE, _GREY = "#222222", "#0072b2", "#d55e00", "#8a8f94"
# Of a page's text width, in inches.
_WIDTH = 6.3
_ROW = 0.34


def draw(comparison: Comparison, path: Path) -> None:
    """Write the figure as SVG, PDF or PNG, by the path's ending; equal comparisons give equal files.

    Raises: UsageError, for another ending; StorageError.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("svg", "pdf", "png"):
        raise UsageError(f"{printable(path)}: wanted a name that ends in .svg, .pdf or .png")
    import matplotlib
    from matplotlib.figure import Figure

    names = list(comparison.evaluations)
    # Type 42 and plain text keep letters letters: a reader can search them, a journal can change the font.
    style: Any = {
        "font.family": "DejaVu Sans",
        "font.size": 8.5,
        "svg.fonttype": "none",
        "svg.hashsalt": "deeper",
        "pdf.fonttype": 42,
        "axes.edgecolor": _GREY,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
    }
    rows = (len(names) + 1.6, len(comparison.pairs) + 1.9)
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # A run's name may be written in letters that the font has not; the file then still has the name.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=(_WIDTH, _ROW * sum(rows)), layout="constrained")
        above, below = figure.subplots(2, 1, height_ratios=rows)
        _accuracies(above, comparison)
        _differences(below, comparison)
        for axes in (above, below):
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.tick_params(axis="y", length=0)
            axes.tick_params(axis="x", length=3)
            axes.grid(axis="x", color="#e6e8ea", linewidth=0.7)
            axes.set_axisbelow(True)
            for label in axes.get_yticklabels():
                label.set_parse_math(False)  # a dollar sign in a name is a dollar sign
        figure.align_ylabels()
        # No dates inside: the same comparison gives the same bytes.
        metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[kind]
        with files.writing(path) as file:
            figure.savefig(file, format=kind, dpi=200, metadata=metadata)


def _accuracies(axes: Axes, comparison: Comparison) -> None:
    names = list(comparison.evaluations)
    best = max(one.correct for one in comparison.evaluations.values())
    for row, name in enumerate(reversed(names)):
        one = comparison.evaluations[name]
        low, high = (bound * 100 for bound in one.interval)
        axes.plot([low, high], [row, row], color=_BLUE, linewidth=1.8, solid_capstyle="butt")
        axes.plot(one.accuracy * 100, row, "o", color=_BLUE, markersize=5.5)
        axes.annotate(
            f"{one.accuracy * 100:.2f}",
            (1.01, row),
            xycoords=("axes fraction", "data"),
            va="center_baseline",
            fontweight="bold" if one.correct == best else "normal",
            annotation_clip=False,
        )
    axes.set_yticks(range(len(names)), [printable(name, 36) for name in reversed(names)])
    axes.set_ylim(-0.6, len(names) - 0.4)
    total = next(iter(comparison.evaluations.values())).total
    axes.set_xlabel(f"accuracy on {total:,} pictures, % (bars: Wilson's 95 % intervals)")


def _differences(axes: Axes, comparison: Comparison) -> None:
    labels = []
    for row, pair in enumerate(reversed(comparison.pairs)):
        low, high = (bound * 100 for bound in pair.interval)
        colour = _ORANGE if pair.differs else _GREY
        axes.plot([low, high], [row, row], color=colour, linewidth=1.8, solid_capstyle="butt")
        face = colour if pair.differs else "white"
        axes.plot(pair.difference * 100, row, "o", color=colour, markerfacecolor=face, markersize=5.5)
        labels.append(f"{printable(pair.first, 22)} − {printable(pair.second, 22)}")
        p_value = f"p = {pair.adjusted:.3f}" if pair.adjusted >= 0.001 else "p < 0.001"
        axes.annotate(
            p_value, (1.01, row), xycoords=("axes fraction", "data"), va="center_baseline", annotation_clip=False
        )
    axes.axvline(0, color=_INK, linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xlabel(
        "difference on the same pictures, points (bars: Newcombe's paired 95 % intervals)\n"
        "filled: told from chance (exact McNemar, Holm over all pairs, p < 0.05)"
    )
