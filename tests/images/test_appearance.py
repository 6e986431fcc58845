"""Inputs of another kind than the training pictures are told; those of the same kind are not."""

from __future__ import annotations

import numpy as np
import pytest

from deeper.errors import UsageError
from deeper.images import Appearance
from deeper.images.appearance import _measure
from deeper.records import open_source
from deeper.values import from_plain, to_plain


@pytest.fixture(scope="module")
def digits() -> dict[str, np.ndarray]:
    items = open_source("digits").items
    return {
        split: np.stack([item.array for item in items if item.split == split][:400])[..., None]
        for split in ("train", "test")
    }


def test_pictures_of_the_same_kind_pass(digits) -> None:
    remarks = Appearance.of(digits["train"]).remarks(digits["test"])
    assert len(remarks) == 400 and sum(map(bool, remarks)) <= 4


def test_what_is_amiss_is_named(digits) -> None:
    appearance, test = Appearance.of(digits["train"]), digits["test"]
    moved = np.zeros_like(test)
    moved[:, 8:, 8:] = test[:, :-8, :-8]
    noise = np.random.default_rng(0).integers(0, 256, test.shape, dtype=np.uint8)
    for pictures, word in (
        (255 - test, "inverted"),
        (np.zeros_like(test), "blank"),
        (np.full_like(test, 90), "blank"),
        (moved, "off centre"),
        (noise, "darker, lighter or flatter"),
    ):
        remarks = appearance.remarks(pictures)
        assert sum(word in remark for remark in remarks) >= 0.85 * len(remarks), (word, remarks[:3])


def test_varied_photographs_are_not_nagged_about() -> None:
    draws = np.random.default_rng(0)
    fields = draws.integers(0, 256, (300, 4, 4, 3), dtype=np.uint8)
    photographs = fields.repeat(16, 1).repeat(16, 2)
    appearance = Appearance.of(photographs[:200])
    assert not any(appearance.remarks(photographs[200:]))
    assert not any(appearance.remarks(255 - photographs[200:]))
    assert all("blank" in remark for remark in appearance.remarks(np.full((2, 64, 64, 3), 128, np.uint8)))


def test_one_picture_none_and_tiny_ones() -> None:
    one = np.random.default_rng(0).integers(0, 256, (1, 1, 1, 1), dtype=np.uint8)
    assert len(Appearance.of(one).remarks(one)) == 1
    assert Appearance.of(one).remarks(one[:0]) == []
    with pytest.raises(UsageError, match="at least one picture"):
        Appearance.of(one[:0])


def test_it_is_stored_and_checked(digits) -> None:
    appearance = Appearance.of(digits["train"])
    plain = to_plain(appearance)
    assert from_plain(Appearance, plain, "appearance") == appearance
    with pytest.raises(UsageError, match="two numbers in order"):
        from_plain(Appearance, {**plain, "border": [0.5, 0.1]}, "appearance")


@pytest.mark.parametrize("shape", [(40, 28, 28, 1), (3, 299, 299, 3), (2, 1, 1, 1), (2, 2, 9, 3)])
def test_what_is_measured(shape) -> None:
    """Against the definitions in double precision; nothing hangs on which pictures are measured together."""
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    pictures[0, shape[1] // 2 :] = 9
    grey = pictures.mean(axis=3) / 255
    height, width = grey.shape[1:]
    frame = max(1, round(min(height, width) / 14))
    outer = np.ones((height, width), bool)
    outer[frame : height - frame, frame : width - frame] = False
    border = grey[:, outer].mean(axis=1)
    mass = np.abs(grey - border[:, None, None])
    total = mass.sum(axis=(1, 2))
    across = (mass.sum(axis=1) @ ((np.arange(width) + 0.5) / width))[total > 0] / total[total > 0]
    measured = _measure(pictures)
    np.testing.assert_allclose(measured["brightness"], grey.mean(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(measured["contrast"], grey.std(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(measured["border"], border, atol=1e-6)
    np.testing.assert_allclose(measured["across"][total > 0], across, atol=1e-5)
    # Exactly: whether it is inverted is asked of 1 − border.
    assert _measure(np.full(shape, 255, np.uint8))["border"].tolist() == [1.0] * shape[0]
    alone = [_measure(one[None])["down"][0] for one in pictures]
    np.testing.assert_allclose(measured["down"], alone, rtol=1e-12)
