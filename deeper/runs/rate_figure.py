"""The figure of `deeper find-rate`: the loss against the rate, and where to read the rate off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deeper import figures
from deeper.errors import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from deeper.runs.rates import FoundRate


def _label(
    axes: Axes, x: float, text: str, *, line: int, right: bool, colour: str = figures.INK, weight: str = "normal"
) -> None:
    """Words beside a vertical line at `x`: on the `line`-th line from the top, or at the bottom for -1."""
    axes.annotate(
        text,
        (x, 0.0 if line < 0 else 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4 if right else -4, 4 if line < 0 else -4 - 12 * line),
        textcoords="offset points",
        ha="left" if right else "right",
        va="bottom" if line < 0 else "top",
        color=colour,
        fontweight=weight,
        fontsize=8,
    )


def draw(found: FoundRate, path: Path) -> None:
    """Write the figure as SVG, PDF or PNG, by the path's ending; equal searches give equal files.

    Raises: UsageError, for another ending; StorageError.
    """
    figures.kind_of(path)
    from matplotlib.figure import Figure

    search = found.search
    with figures.style():
        figure = Figure(figsize=(figures.WIDTH, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.plot(search.rates, search.losses, ".", color=figures.GREY, markersize=3, alpha=0.7)
        axes.plot(search.rates, search.smoothed, color=figures.BLUE, linewidth=1.8)
        # The rise at the end would press everything that matters into a corner.
        low, high = float(search.smoothed.min()), float(search.smoothed[: max(2, len(search.rates) // 2)].max())
        margin = 0.12 * max(high - low, 1e-3 * abs(high))
        axes.set_ylim(low - margin, high + 4 * margin)
        axes.set_xlim(search.rates[0], search.diverged or search.rates[-1])
        after = search.suggestion is not None and found.recipe_rate < search.suggestion
        for rate, mark in ((search.steepest, "v"), (search.lowest, "s")):
            height = float(search.smoothed[abs(search.rates - rate).argmin()])
            axes.plot(rate, height, mark, color=figures.BLUE, markerfacecolor="white", markersize=5.5)
        if search.suggestion is not None:
            axes.axvline(search.suggestion, color=figures.ORANGE, linewidth=1.4)
            text = f"suggested {search.suggestion:.2g}"
            _label(axes, search.suggestion, text, line=0, right=after, colour=figures.ORANGE, weight="bold")
        axes.axvspan(search.lowest, search.diverged or search.rates[-1], color=figures.PALE, alpha=0.6, linewidth=0)
        _label(axes, search.lowest, "too high", line=-1, right=True)
        if search.rates[0] < found.recipe_rate < (search.diverged or search.rates[-1]):
            axes.axvline(found.recipe_rate, color=figures.GREY, linewidth=0.8, linestyle=(0, (3, 2)))
            _label(axes, found.recipe_rate, f"the recipe's {found.recipe_rate:.2g}", line=1, right=not after)
        axes.set_xlabel(
            f"learning rate ({found.optimizer}, batches of {found.batch:,})\n"
            "triangle: steepest fall, square: lowest loss, suggested: midway"
        )
        axes.set_ylabel("training loss")
        title = f"{printable(found.model, 40)} on {printable(found.dataset, 40)}, recipe {printable(found.recipe, 30)}"
        axes.set_title(title, fontsize=8.5, loc="left", parse_math=False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color=figures.PALE, linewidth=0.7)
        axes.set_axisbelow(True)
        figures.save(figure, path, title="learning-rate search")
