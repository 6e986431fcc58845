"""Figures as they are drawn: whether all of their words can be read."""

from __future__ import annotations

from typing import Any

import pytest


def words_cut_off(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills, as figures are saved, with the texts that do not lie wholly inside."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    from deeper import figures

    lost: list[str] = []
    save = figures.save

    def looked(figure: Any, *given: Any, **named: Any) -> None:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        wide, high = canvas.get_width_height()
        # Of ticks beyond the axes' ends there are labels too, which are not drawn.
        ticks = {label for axes in figure.axes for label in axes.get_xticklabels(which="both")}
        for text in set(figure.findobj(Text)) - ticks:
            box = text.get_window_extent(canvas.get_renderer())
            whole = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= wide + 1 and box.y1 <= high + 1
            if text.get_text().strip() and text.get_visible() and not whole:
                lost.append(text.get_text())
        save(figure, *given, **named)

    monkeypatch.setattr(figures, "save", looked)
    return lost
