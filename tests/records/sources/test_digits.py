"""The drawn set: the same on every run, balanced, in MNIST's form, and not the same picture twice."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from deeper import draws
from deeper.errors import SourceError, UsageError
from deeper.records.sources import Listing, SourceOptions, open_source
from deeper.records.sources.digits import open_digits
from deeper.records.sources.drawing import Hand, draw_glyphs
from deeper.records.sources.glyphs import DENSITY, FONTS, distance_fields
from tests.patience import patient

SMALL = {"train": 300, "validation": 40, "test": 60}


@pytest.fixture(scope="module")
def digits() -> Listing:
    return open_digits(SMALL)


def pictures(listing: Listing, split: str) -> NDArray[np.uint8]:
    return np.stack([item.array for item in listing.items if item.split == split and item.array is not None])


def test_counts_and_labels(digits: Listing) -> None:
    assert {split: len(pictures(digits, split)) for split in SMALL} == SMALL
    labels = [item.label for item in digits.items if item.split == "train"]
    assert {label: labels.count(label) for label in digits.classes} == dict.fromkeys("0123456789", 30)
    assert digits.items[0].id == "train/00000"
    assert len({item.id for item in digits.items}) == len(digits.items)


def test_the_full_set_is_announced_without_drawing() -> None:
    listing = open_source("digits")
    assert len(listing.fingerprint()) == 64
    assert "items" not in vars(listing), "the pictures were drawn before anybody asked for them"
    assert "own distortions" in listing.description


def test_drawn_alike_again_and_whatever_else_is_drawn(digits: Listing) -> None:
    fewer = open_digits({"train": 7, "test": 5})
    np.testing.assert_array_equal(pictures(fewer, "train"), pictures(digits, "train")[:7])
    np.testing.assert_array_equal(pictures(fewer, "test"), pictures(digits, "test")[:5])


def test_the_form_of_mnist(digits: Listing) -> None:
    images = pictures(digits, "train").astype(np.float64)
    assert images.shape[1:] == (28, 28)
    assert 0.05 < images.mean() / 255 < 0.25  # MNIST: 0.1307
    assert 0.2 < images.std() / 255 < 0.4  # MNIST: 0.3081
    assert images.max(axis=(1, 2)).min() > 100, "a picture is too faint to read"
    rows, columns = np.mgrid[0:28, 0:28] - 13.5
    mass = images.sum(axis=(1, 2))
    for grid in (rows, columns):
        centre = (images * grid).sum(axis=(1, 2)) / mass
        assert np.abs(centre).max() < 3, "centred by mass, with some jitter"
    border = np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)
    assert (border > 0).mean() < 0.02


def test_no_picture_twice_within_or_across_splits(digits: Listing) -> None:
    images = np.concatenate([pictures(digits, split) for split in SMALL])
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_a_nearest_neighbour_reads_them_but_not_perfectly(digits: Listing) -> None:
    """Neither noise nor copies: a crude classifier on few pictures does far better than chance, and errs."""
    train, test = pictures(digits, "train") / 255.0, pictures(digits, "test") / 255.0
    distance = ((test[:, None] - train[None]) ** 2).sum(axis=(2, 3))
    right = (distance.argmin(axis=1) % 10 == np.arange(len(test)) % 10).mean()
    assert 0.4 < right < 1.0


def test_any_glyphs_can_be_drawn() -> None:
    """Letters whose mirror images are other letters: b and d must stay what they are."""
    still = Hand(
        slant=0,
        rotation=0,
        narrow=1,
        wide=1,
        short=1,
        tall=1,
        thin=0.5,
        thick=0.5,
        wobble=0,
        pressure=0,
        blur=1,
        jitter=0,
    )
    which = np.arange(4)
    b, d, p, q = draw_glyphs(("b", "d", "p", "q"), which, draws.keys("bdpq"), fonts=("DejaVuSans",), hand=still).astype(
        float
    )
    for one, other in [(b, d[:, ::-1]), (b, p[::-1]), (b, q[::-1, ::-1])]:
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.9
    assert np.corrcoef(b.ravel(), d.ravel())[0, 1] < 0.8


def test_another_side() -> None:
    large = draw_glyphs(("8",), np.zeros(3, np.int64), draws.keys("abc"), fonts=FONTS, side=56)
    small = draw_glyphs(("8",), np.zeros(3, np.int64), draws.keys("abc"), fonts=FONTS, side=28)
    assert large.shape == (3, 56, 56)
    share = (large > 99).mean(axis=(1, 2)) / (small > 99).mean(axis=(1, 2))
    assert (abs(share - 1) < 0.5).all(), "the glyph grows with the picture"


def test_distance_fields_are_distances() -> None:
    """Against a written-out search over all samples."""
    field = distance_fields(("1",), ("DejaVuSans-Bold",))[0, 0]
    inside = field < 0
    rows, columns = np.nonzero(inside)
    for y, x in [(5, 40), (48, 30), (60, 70), (20, 60)]:
        nearest = np.sqrt(((rows - y) ** 2 + (columns - x) ** 2).min())
        expected = min((nearest - 0.5) / DENSITY, 15.5 / DENSITY)
        if not inside[y, x]:
            assert field[y, x] == pytest.approx(expected, abs=1e-5)
    assert inside.any() and not inside[[0, -1]].any() and not inside[:, [0, -1]].any()


def test_fonts_that_are_missing() -> None:
    with pytest.raises(SourceError, match="NoSuchFont"):
        distance_fields(("1",), ("NoSuchFont",))


def test_drawing_imports_neither_matplotlib_nor_torch() -> None:
    code = (
        "import sys; from deeper.records.sources.digits import open_digits; open_digits({'train': 3}).items;"
        "sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=patient(60)).returncode == 0


def test_a_named_set_has_no_groups() -> None:
    with pytest.raises(UsageError, match="no pictures of 'digits' belong together"):
        open_source("digits", options=SourceOptions(group_by="folder"))
