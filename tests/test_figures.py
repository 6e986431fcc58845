"""Text that has to fit into a picture."""

from __future__ import annotations

import pytest

from deeper.figures import width_of, wrapped


@pytest.mark.parametrize(
    "text",
    [
        "rosa gallica officinalis, the apothecary's rose",
        "三色堇三色堇三色堇三色堇三色堇三色堇三色堇",
        "abcdefghijklmnopqrst 三色堇三色堇三色堇三色堇三色堇三色堇三色",
        "",
    ],
)
@pytest.mark.parametrize("width", [7, 20])
def test_no_line_is_wider_than_asked_for(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert all(width_of(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
