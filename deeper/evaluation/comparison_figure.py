"""The figure of `deeper compare`: accuracies with intervals above, what each pair disagrees about below."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deeper import files
from deeper.errors import printable
from deeper.evaluation.comparison import Comparison

_DARK, _BLUE, _ORANGE, _GREY = "#222222", "#2f6db5", "#d9822b", "#9aa0a6"


def draw(comparison: Comparison, path: Path) -> None:
    """Write the figure as SVG, PDF or PNG, by the path's ending. Raises: StorageError."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = list(comparison.evaluations)
    # Type 42 and plain text keep the letters letters, for a reader's search and an editor's font.
    style: Any = {"font.size": 9, "svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "deeper"}
    with plt.rc_context(style):
        height = 0.9 + 0.38 * len(names) + 0.7 + 0.38 * len(comparison.pairs)
        figure, (above, below) = plt.subplots(
            2, 1, figsize=(6.3, height), layout="constrained", height_ratios=[len(names) + 1, len(comparison.pairs) + 1]
        )
        for row, name in enumerate(reversed(names)):
            one = comparison.evaluations[name]
            low, high = one.interval
            above.plot([low * 100, high * 100], [row, row], color=_BLUE, linewidth=2, solid_capstyle="round")
            above.plot(one.accuracy * 100, row, "o", color=_BLUE, markersize=6)
            above.annotate(
                f"{one.accuracy:.2%}",
                (one.accuracy * 100, row),
                (0, 6),
                textcoords="offset points",
                ha="center",
                color=_DARK,
            )
        above.set_yticks(range(len(names)), [printable(name, 40) for name in reversed(names)])
        above.set_ylim(-0.6, len(names) - 0.2)
        above.set_xlabel("accuracy, % (95 % interval)")
        labels = []
        for row, pair in enumerate(reversed(comparison.pairs)):
            low, high = pair.interval
            clear = pair.p_value < 0.05
            colour = _ORANGE if clear else _GREY
            below.plot([low * 100, high * 100], [row, row], color=colour, linewidth=2, solid_capstyle="round")
            below.plot(pair.difference * 100, row, "o", color=colour, markersize=6)
            labels.append(f"{printable(pair.first, 24)} − {printable(pair.second, 24)}\np = {pair.p_value:.2g}")
        below.axvline(0, color=_DARK, linewidth=0.8)
        below.set_yticks(range(len(labels)), labels)
        below.set_ylim(-0.6, len(labels) - 0.4)
        below.set_xlabel("difference on the same pictures, points (95 % interval; orange: McNemar, Holm, p < 0.05)")
        for axes in (above, below):
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x", color="#e3e5e8", linewidth=0.8)
            axes.set_axisbelow(True)
        try:
            with files.writing(path) as file:
                figure.savefig(
                    file, format=path.suffix[1:], dpi=200, metadata={"Date": None} if path.suffix == ".svg" else None
                )
        finally:
            plt.close(figure)
