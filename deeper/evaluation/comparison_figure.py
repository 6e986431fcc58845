"""The figure of `deeper compare`: accuracies with intervals above, what each pair disagrees about below."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deeper import figures
from deeper.errors import printable
from deeper.evaluation.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of a run or a pair, in inches.
_ROW = 0.34


def draw(comparison: Comparison, path: Path) -> None:
    """Write the figure as SVG, PDF or PNG, by the path's ending; equal comparisons give equal files.

    Raises: UsageError, for another ending; StorageError.
    """
    figures.kind_of(path)
    from matplotlib.figure import Figure

    names = list(comparison.evaluations)
    rows = (len(names) + 2, len(comparison.pairs) + 3)
    with figures.style():
        figure = Figure(figsize=(figures.WIDTH, _ROW * sum(rows)), layout="constrained")
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
        figures.save(figure, path, title="Comparison: accuracies, and differences on the same pictures")


def _accuracies(axes: Axes, comparison: Comparison) -> None:
    names = list(comparison.evaluations)
    best = max(one.correct for one in comparison.evaluations.values())
    for row, name in enumerate(reversed(names)):
        one = comparison.evaluations[name]
        low, high = (bound * 100 for bound in one.interval)
        axes.plot([low, high], [row, row], color=figures.BLUE, linewidth=1.8, solid_capstyle="butt")
        axes.plot(one.accuracy * 100, row, "o", color=figures.BLUE, markersize=5.5)
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
    axes.set_xlabel(f"accuracy on {total:,} pictures, %\n(bars: Wilson's 95 % intervals)")


def _differences(axes: Axes, comparison: Comparison) -> None:
    labels = []
    for row, pair in enumerate(reversed(comparison.pairs)):
        low, high = (bound * 100 for bound in pair.interval)
        colour = figures.ORANGE if pair.differs else figures.GREY
        axes.plot([low, high], [row, row], color=colour, linewidth=1.8, solid_capstyle="butt")
        face = colour if pair.differs else "white"
        axes.plot(pair.difference * 100, row, "o", color=colour, markerfacecolor=face, markersize=5.5)
        first, second = printable(pair.first, 30), printable(pair.second, 30)
        # Long names one below the other: something must be left for the axes.
        labels.append(f"{first} −{' ' if len(first) + len(second) <= 30 else chr(10)}{second}")
        p_value = f"p = {pair.adjusted:.3f}" if pair.adjusted >= 0.001 else "p < 0.001"
        axes.annotate(
            p_value, (1.01, row), xycoords=("axes fraction", "data"), va="center_baseline", annotation_clip=False
        )
    axes.axvline(0, color=figures.INK, linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xlabel(
        # Short lines: beside long names little is left for the axes, under whose middle they stand.
        "difference on the same pictures, points\n(bars: Newcombe's paired 95 % intervals;\n"
        "filled: told from chance, exact McNemar,\nHolm over all pairs, p < 0.05)"
    )
