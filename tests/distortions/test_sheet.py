"""The sheet of examples: every column is there, and what it shows is what training would see."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from deeper.distortions import Brightness, Elastic, HorizontalFlip, Rotation
from deeper.distortions.sheet import _balanced, draw_sheet


def pictures(count: int = 2, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28, channels), np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_grows_with_its_columns_and_rows(tmp_path, channels):
    sizes = {}
    for rows, distortions in ((1, [Rotation()]), (3, [Rotation(), HorizontalFlip(), Elastic()])):
        path = tmp_path / f"{rows}.png"
        draw_sheet(pictures(rows, channels), ["a"] * rows, distortions, path, size=(28, 28), title="some title")
        with Image.open(path) as image:
            sizes[rows] = image.size
    cell = 1.05 * 200
    assert sizes[3][0] - sizes[1][0] == pytest.approx(2 * (1.05 + 0.06) * 200, abs=3)
    assert sizes[3][1] - sizes[1][1] > 2 * cell


def test_vector_sheets_carry_their_words_and_no_date(tmp_path):
    texts = []
    for number in range(2):
        path = tmp_path / f"{number}.svg"
        draw_sheet(
            pictures(), ["first", "a name with $dollars_$"], [HorizontalFlip(), Brightness()], path, size=(28, 28)
        )
        texts.append(path.read_text(encoding="utf-8"))
    assert texts[0] == texts[1]
    for word in ("original", "horizontal flip", "brightness", "all together", "first"):
        assert word in texts[0]
    assert "$dollars_$" in texts[0]  # a class name is no formula
    draw_sheet(pictures(), ["x", "y"], [HorizontalFlip()], tmp_path / "sheet.pdf", size=(28, 28))
    assert (tmp_path / "sheet.pdf").read_bytes().startswith(b"%PDF")


def test_what_is_shown_alone_is_what_was_drawn(tmp_path):
    # A flip that always happens: the second picture is the first one reversed.
    draw_sheet(pictures(1), ["x"], [HorizontalFlip(probability=1)], tmp_path / "s.png", size=(28, 28))
    with Image.open(tmp_path / "s.png") as image:
        page = np.asarray(image.convert("L"), float)
    side, gap, group = 210, 12, 40  # inches of the sheet times 200 dots
    right = page.shape[1] - 24 - np.array([4 * side + 3 * gap + group + side + group, 4 * side + 3 * gap + group])
    top = page.shape[0] - 24 - side
    original, flipped = (page[top + 5 : top + side - 5, edge - side + 5 : edge - 5] for edge in right)
    assert original.std() > 50
    assert np.corrcoef(original.ravel(), flipped[:, ::-1].ravel())[0, 1] > 0.8
    assert abs(np.corrcoef(original.ravel(), flipped.ravel())[0, 1]) < 0.3


def test_headings_break_evenly():
    assert _balanced("rotation by up to 10°", 16) == "rotation by\nup to 10°"
    assert _balanced("Pneumonoultramicroscopic", 16) == "Pneumonoultramicroscopic"
    assert _balanced("", 16) == ""
