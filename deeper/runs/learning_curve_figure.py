"""The figure of `deeper learn-curve`: errors against training pictures, both as logarithms, so that a power law is a
straight line; with intervals, every seed, and how far the law is followed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from deeper import figures
from deeper.errors import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from deeper.runs.learning_curve import LearningCurve


def draw(curve: LearningCurve, path: Path) -> None:
    """Write the figure as SVG, PDF or PNG, by the path's ending; equal curves give equal files.

    Raises: UsageError, for another ending; StorageError.
    """
    figures.kind_of(path)
    from matplotlib.figure import Figure

    with figures.style():
        figure = Figure(figsize=(figures.WIDTH, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.set_yscale("log")
        # No error at all has no place on a logarithmic axis: it is drawn at half an error.
        least = 50 / curve.judged
        for point in curve.points:
            low, high = (max(least, 100 * (1 - bound)) for bound in reversed(point.interval))
            axes.plot([point.pictures] * 2, [low, high], color=figures.BLUE, linewidth=1.8, solid_capstyle="butt")
            seeds = [max(least, 100 * (1 - accuracy)) for accuracy in point.accuracies]
            if len(seeds) > 1:
                axes.plot([point.pictures] * len(seeds), seeds, "_", color=figures.GREY, markersize=9)
            axes.plot(point.pictures, max(least, 100 * (1 - point.mean)), "o", color=figures.BLUE, markersize=5.5)
        _followed(axes, curve, least)
        _axes(axes, curve)
        figures.save(figure, path, title="learning curve")


def _followed(axes: Axes, curve: LearningCurve, least: float) -> None:
    answer = curve.answer
    if answer is None or answer.exponent is None:
        return
    most = curve.points[-1]
    reaches = answer.reaches
    # The line through the points, dashed and shaded where nothing was trained.
    ahead = [most.pictures * reach.times for reach in reaches]
    errors = [max(least, 100 * (1 - reach.accuracy)) for reach in reaches]
    begin = curve.points[-2 if answer.flattens else 0].pictures
    back = errors[0] * (ahead[0] / begin) ** answer.exponent
    axes.plot([begin, ahead[0]], [back, errors[0]], color=figures.BLUE, linewidth=0.9)
    axes.plot(ahead, errors, color=figures.ORANGE, linewidth=1.2, linestyle=(0, (4, 2)))
    lows = [max(least, 100 * (1 - reach.interval[1])) for reach in reaches]
    highs = [max(least, 100 * (1 - reach.interval[0])) for reach in reaches]
    axes.fill_between(ahead, lows, highs, color=figures.ORANGE, alpha=0.15, linewidth=0)
    for reach, x, y in zip(reaches, ahead, errors, strict=True):
        if reach.times == 2:
            axes.plot(x, y, "o", color=figures.ORANGE, markerfacecolor="white", markersize=5.5)
            axes.annotate(
                "twice the\npictures",
                (x, y),
                xytext=(0, 9),
                textcoords="offset points",
                ha="center",
                color=figures.ORANGE,
                fontsize=7.5,
            )


def _axes(axes: Axes, curve: LearningCurve) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

    ticks = [point.pictures for point in curve.points]
    if curve.answer is not None and curve.answer.reaches:
        ticks += [round(ticks[-1] * reach.times) for reach in curve.answer.reaches if reach.times >= 2]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    low, high = axes.get_ylim()
    # Few or many marks of every power of ten, so that a reader can read shares off whatever the range.
    digits = (1, 2, 5) if high / low > 20 else (1, 1.5, 2, 3, 5, 7)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [digit * 10.0**power for power in powers for digit in digits]
    if sum(low <= mark <= high for mark in marks) < 2:  # a narrow range, as of networks that have hardly learned
        marks = [float(mark) for mark in MaxNLocator(4).tick_values(low, high)]
    axes.yaxis.set_major_locator(FixedLocator(marks))
    axes.set_ylim(low, high)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
    axes.set_xlabel(f"training pictures (all runs take equally many {curve.equal})")
    axes.set_ylabel(f"errors on {curve.judged:,} validation pictures, %")
    seeds = max(len(point.accuracies) for point in curve.points)
    shown = f"{printable(curve.model, 40)} on {printable(curve.dataset, 40)}, recipe {printable(curve.recipe, 30)}"
    runs = f"{seeds} seeds" if seeds > 1 else "one seed"
    axes.set_title(f"{shown}; {runs}, 95 % intervals", fontsize=8.5, loc="left", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=figures.PALE, linewidth=0.7)
    axes.set_axisbelow(True)
