from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from deeper import images
from deeper.errors import SourceError
from deeper.images import png
from tests.patience import slowness

SHAPES = st.tuples(st.integers(1, 70), st.integers(1, 70), st.sampled_from([1, 3]))


def test_values() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for dtype in (np.uint8, np.int16, np.uint16, np.int64, np.float16, np.float32, np.float64):
        np.testing.assert_array_equal(images.as_picture(every.astype(dtype))[..., 0], every)
    np.testing.assert_array_equal(images.as_picture(every.astype(np.float32) / 255)[..., 0], every)
    assert images.as_picture(np.array([[True, False]])).tolist() == [[[255], [0]]]
    assert images.as_picture([[0.0, 0.5, 1.0]]).tolist() == [[[0], [128], [255]]]
    assert images.as_picture(np.array([[0.0, 1.5, 254.6]])).tolist() == [[[0], [2], [255]]]
    assert images.as_picture(np.zeros((2, 3, 3))).shape == (2, 3, 3)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 8, 9)), r"channels first.*array\.transpose\(1, 2, 0\)"),
        (np.zeros((1, 8, 9)), "channels first"),
        (np.zeros((8, 9, 4)), r"drop alpha with array\[\.\.\., :3\]"),
        (np.zeros((8, 9, 2)), "has 2 channels"),
        (np.zeros((5, 8, 9, 3)), r"several pictures.*array\[0\]"),
        (np.zeros(784), "784 is no picture"),
        (np.float32(3), "a single number"),
        (np.zeros((0, 8)), "no pixel"),
        (np.zeros((8, 0, 3)), "no pixel"),
        (np.full((2, 2), np.nan), "NaN or infinite"),
        (np.array([[0, np.inf]]), "NaN or infinite"),
        (np.array([[np.nan, -5.0]]), "NaN or infinite"),
        (np.array([[-0.5, 0.5]]), "from -0.5 to 0.5; wanted 0 to 1.*normalisation"),
        (np.array([[0, 255.5]]), "wanted 0 to 1"),
        (np.array([[-1, 3]]), "integer pixels from -1 to 3"),
        (np.array([[0, 256]]), "integer pixels from 0 to 256"),
        (np.array([["a", "b"]]), "wanted numbers"),
        (np.zeros((2, 2), complex), "wanted numbers"),
        ([[1, 2], [3]], "different lengths"),
        (np.array([[None, 1]]), "wanted numbers"),
    ],
)
def test_refusals(array: Any, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        images.as_picture(array)


@given(SHAPES.flatmap(lambda shape: arrays(np.uint8, shape)))
def test_png_keeps_every_pixel(picture: NDArray[np.uint8]) -> None:
    data = images.encode_png(picture)
    assert images.encode_png(picture.copy()) == data
    np.testing.assert_array_equal(images.decode(data), picture)
    # Pillow, as an independent reader of what is written by hand.
    by_pillow = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(by_pillow.reshape(picture.shape), picture)


def test_a_hair_above_1_is_white() -> None:
    assert images.as_picture(np.full((2, 2), 1.0000001)).min() == 255
    with pytest.raises(SourceError, match="floats up to 1.5, which may mean 0..1 or 0..255"):
        images.as_picture(np.full((2, 2), 1.5))
    assert images.as_picture(np.full((2, 2), 2.0)).max() == 2


def test_png_of_any_memory_layout() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (90, 80, 3), np.uint8)
    for part in (picture[::-2, ::3], picture[:5, :5], picture.transpose(1, 0, 2), np.asfortranarray(picture)):
        np.testing.assert_array_equal(images.decode(images.encode_png(part)), part)


@pytest.mark.parametrize("wrong", [np.zeros((4, 4)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 2), np.uint8)])
def test_png_refuses_other_arrays(wrong: NDArray[Any]) -> None:
    with pytest.raises(SourceError, match="as_picture"):
        images.encode_png(wrong)


def test_damage_to_a_small_png_is_found() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (12, 9, 1), np.uint8)
    data = images.encode_png(picture)
    assert png.decode_small(data) is not None
    for position in range(len(data)):
        for bit in (1, 128):
            mutant = bytearray(data)
            mutant[position] ^= bit
            with pytest.raises(SourceError):
                images.decode(bytes(mutant))
    for length in range(len(data)):
        with pytest.raises(SourceError):
            images.decode(data[:length])


def test_small_pngs_are_quick() -> None:
    """The aim is 40 µs for a digit; ten times that says that the quick way is no longer taken."""
    digits = np.random.default_rng(0).integers(0, 256, (300, 28, 28, 1), np.uint8) * (np.arange(28) % 3 == 0)[:, None]
    files = [images.encode_png(digit.astype(np.uint8)) for digit in digits]
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        for file in files:
            images.decode(file)
        rounds.append((time.perf_counter() - start) / len(files))
    assert min(rounds) < 400e-6 * slowness()
