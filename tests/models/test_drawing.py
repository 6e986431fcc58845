"""The drawing holds what it should, as text, inside its page, without boxes that overlap."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from PIL import Image

from deeper.errors import UsageError
from deeper.models import MODELS, Architecture
from deeper.models.captions import count_text, size_text
from deeper.models.drawing import _arrange, draw
from deeper.models.layout import BETWEEN_COLUMNS, Card, cards_of, columns_of, fill
from deeper.models.structure import Structure, collapsed, structure

SVG = "{http://www.w3.org/2000/svg}"


def of(name: str) -> Structure:
    side = MODELS[name].native
    return structure(Architecture(model=name, classes=1000, channels=3, height=side, width=side))


def placed(name: str) -> tuple[list[Card], tuple[float, float]]:
    columns, page = _arrange(cards_of(collapsed(of(name).blocks)))
    cards = [card for column in columns for card in column]
    for card in cards:
        fill(card)
    return cards, page


def texts(path: Path) -> list[str]:
    root = ElementTree.parse(path).getroot()
    return ["".join(element.itertext()).strip() for element in root.iter(f"{SVG}text")]


def test_inception_v3_says_all_that_its_figure_needs(tmp_path: Path) -> None:
    path = tmp_path / "inception_v3.svg"
    draw(of("inception_v3"), path)
    words = texts(path)
    assert {"inception_v3", "Stem", "Classifier", "AuxLogits", "picture: 299×299×3"} <= set(words)
    named = " ".join(words)
    for endpoint in ("Conv2d_1a_3x3", "MaxPool_5a_3x3", "Mixed_5b", "Mixed_5c, Mixed_5d (2 ×)", "Mixed_6e", "Mixed_7b"):
        assert endpoint in named, endpoint
    assert {"35×35×256", "17×17×768", "8×8×2048", "concatenate → 2048"} <= set(words)
    # Convolutions outside the heads: 94, of which the figure shows those of repeated blocks once.
    kernels = [word for word in words if re.fullmatch(r"\d×\d( /\d)?", word)]
    assert len(kernels) == 94 - 7 - 10 - 9 + 2
    assert "27,143,152 parameters · 5.71 G multiply-adds a picture" in words
    assert "auxiliary head, in training only" in words and "255 k parameters · 312 M multiply-adds" in words


def test_equal_networks_give_equal_files(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        draw(of("inception_v1"), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("name", MODELS)
def test_nothing_overlaps_or_leaves_the_page(name: str) -> None:
    cards, (width, height) = placed(name)
    assert width < height * 1.05 and height < 1100, "one page, close to A4"
    boxes = [(box.x, box.y, box.x + box.width, box.y + box.height) for card in cards for box in card.boxes]
    assert all(0 < left < right < width and 0 < top < bottom < height for left, top, right, bottom in boxes)
    for (left, top, right, bottom), (x, y, beyond, below) in itertools.combinations(boxes, 2):
        assert right <= x or beyond <= left or bottom <= y or below <= top, "two boxes overlap"
    for card in cards:
        assert all(card.y - 1 < box.y and box.y + box.height < card.y + card.height + 1 for box in card.boxes)
        points = [point for line in card.lines for point in line.points]
        assert all(card.x <= x <= card.x + card.width for x, _ in points)
    for one, other in itertools.pairwise(cards):
        if one.column == other.column:
            assert one.y + one.height < other.y
        else:
            assert other.x - (one.x + one.width) >= BETWEEN_COLUMNS - 1


def test_a_head_stays_with_its_block() -> None:
    cards = cards_of(collapsed(of("inception_v1").blocks))
    for count in (2, 3, 4):
        columns = columns_of(cards, count)
        assert [card for column in columns for card in column] == cards
        assert not any(column[0].auxiliary for column in columns)


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_other_formats(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"nielsen.{ending}"
    draw(of("nielsen"), path)
    if ending == "png":
        with Image.open(path) as picture:
            assert min(picture.size) > 900 and len(picture.convert("RGB").getcolors(1 << 24)) > 50
    else:
        assert path.read_bytes().startswith(b"%PDF")


def test_another_ending_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"wanted a name that ends in \.svg, \.pdf or \.png"):
        draw(of("nielsen"), tmp_path / "nielsen.gif")
    assert list(tmp_path.iterdir()) == []


def test_numbers_have_three_digits() -> None:
    assert [count_text(number) for number in (0, 896, 999.6, 5200, 1_697_024, 999_600, 5_713_216_096)] == [
        "0",
        "896",
        "1.00 k",
        "5.20 k",
        "1.70 M",
        "1.00 M",
        "5.71 G",
    ]
    assert size_text((288, 35, 35)) == "35×35×288" and size_text((1000,)) == "1,000"
