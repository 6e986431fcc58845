"""Figures under names that a font or a formula parser stumbles over."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from deeper.figures import lettering, save, style
from deeper.monitor.figures import confusion_figure

CONFUSION = np.array([[3, 2], [1, 5]])


@pytest.mark.parametrize("names", [("$\\frac{", "b"), ("a$b", "c$d$"), ("$y{", "%&_#")])
def test_names_that_look_like_formulas(names: tuple[str, str]) -> None:
    plain = confusion_figure(CONFUSION, names, title="$\\sqrt{")
    assert plain.dtype == np.uint8 and plain.shape[2] == 3 and plain.std() > 10


def test_letters_that_no_font_here_may_have_are_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = confusion_figure(CONFUSION, ("三色堇", "iris 💐"))
    assert drawn.std() > 10


def test_letters_are_latin_first(tmp_path) -> None:
    """Other fonts only help out: what DejaVu Sans has is drawn with it on every machine."""
    import matplotlib
    from matplotlib.figure import Figure

    before = matplotlib.rcParams["font.family"]
    with lettering():
        assert matplotlib.rcParams["font.family"][0] == "DejaVu Sans"
    assert matplotlib.rcParams["font.family"] == before
    with style():
        figure = Figure(figsize=(2, 1))
        figure.text(0.1, 0.5, "三色堇 and x")
        save(figure, tmp_path / "a.svg", title="letters")
    assert "三色堇" in (tmp_path / "a.svg").read_text("utf-8")
