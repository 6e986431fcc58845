from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from deeper import images
from deeper.errors import SourceError, UsageError
from deeper.images import Preprocess
from deeper.values import from_plain, to_plain
from tests.images.files import gradient, saved


def triangle(size: int, low: float, high: float, target: int) -> NDArray[np.float64]:
    """The antialiased bilinear filter, written out. Shape: target × size."""
    scale = (high - low) / target
    support = max(scale, 1.0)
    centres = low + (np.arange(target) + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(size) + 0.5 - centres[:, None]) / support)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def resized(picture: NDArray[np.uint8], box: tuple[float, float, float, float], size: tuple[int, int]) -> NDArray[Any]:
    left, upper, right, lower = box
    down = triangle(picture.shape[0], upper, lower, size[0])
    across = triangle(picture.shape[1], left, right, size[1])
    return np.asarray(np.einsum("yh,hwc,xw->yxc", down, picture.astype(float), across))


NOISE = np.random.default_rng(3).integers(0, 256, (50, 80, 3), np.uint8)


@pytest.mark.parametrize(
    ("options", "size", "box"),
    [
        ({}, (20, 20), (15, 0, 65, 50)),
        ({}, (40, 10), (33.75, 0, 46.25, 50)),
        ({}, (10, 40), (0, 15, 80, 35)),
        ({}, (64, 64), (15, 0, 65, 50)),
        ({"crop": 0.5}, (20, 20), (27.5, 12.5, 52.5, 37.5)),
        ({"mode": "squash"}, (20, 20), (0, 0, 80, 50)),
        ({"mode": "squash", "crop": 0.875}, (25, 25), (5, 3.125, 75, 46.875)),
    ],
)
def test_fit_takes_the_stated_part(
    options: dict[str, Any], size: tuple[int, int], box: tuple[float, float, float, float]
) -> None:
    fitted = Preprocess(height=size[0], width=size[1], channels=3, **options).fit(NOISE)
    # A pixel outside the box may touch the filter at its edge, where Pillow reads it too: compare the inside.
    inside = (slice(1, -1), slice(1, -1))
    assert np.abs(fitted[inside] - resized(NOISE, box, size)[inside]).max() <= 1.01


def test_letterbox() -> None:
    fitted = Preprocess(height=40, width=40, channels=3, mode="letterbox", fill=77).fit(NOISE)
    assert (fitted[:7] == 77).all()
    assert (fitted[32:] == 77).all()
    assert np.abs(fitted[7:32] - resized(NOISE, (0, 0, 80, 50), (25, 40))).max() <= 1.01


@pytest.mark.parametrize("mode", ["crop", "letterbox", "squash"])
@pytest.mark.parametrize("crop", [1.0, 0.875, 0.3])
def test_nothing_is_off_centre(mode: Any, crop: float) -> None:
    preprocess = Preprocess(height=24, width=32, channels=3, mode=mode, crop=crop)
    fitted = preprocess.fit(NOISE).astype(int)
    assert np.abs(preprocess.fit(NOISE[:, ::-1])[:, ::-1] - fitted).max() <= 1
    flipped = preprocess.fit(NOISE[::-1])[::-1].astype(int)
    if mode != "letterbox":  # an odd number of bar rows cannot be halved
        assert np.abs(flipped - fitted).max() <= 1


@pytest.mark.parametrize("resample", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("mode", ["crop", "letterbox", "squash"])
def test_the_right_size_passes_unchanged(mode: Any, resample: Any) -> None:
    preprocess = Preprocess(height=50, width=80, channels=3, mode=mode, resample=resample)
    np.testing.assert_array_equal(preprocess.fit(NOISE), NOISE)


@given(
    rows=st.integers(1, 90),
    columns=st.integers(1, 90),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    has=st.sampled_from([1, 3]),
    channels=st.sampled_from([1, 3]),
    mode=st.sampled_from(["crop", "letterbox", "squash"]),
    crop=st.one_of(st.just(1.0), st.floats(0.001, 1)),
    resample=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos"]),
    colour=st.integers(0, 255),
)
def test_any_size_fits_and_one_colour_stays_one(
    rows: int, columns: int, height: int, width: int, has: int, channels: int, mode: Any, crop: float, resample: Any, colour: int
) -> None:  # fmt: skip
    preprocess = Preprocess(
        height=height, width=width, channels=channels, mode=mode, crop=crop, resample=resample, fill=colour
    )
    fitted = preprocess.fit(np.full((rows, columns, has), colour, np.uint8))
    assert fitted.shape == (height, width, channels)
    assert fitted.dtype == np.uint8
    assert (fitted == colour).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 20_000, 1), (20_000, 1, 3), (3, 7000, 3)])
def test_extreme_shapes(shape: tuple[int, int, int]) -> None:
    for mode in ("crop", "letterbox", "squash"):
        preprocess = Preprocess(height=299, width=299, channels=3, mode=mode, crop=0.875)  # type: ignore[arg-type]
        assert preprocess.fit(np.full(shape, 9, np.uint8)).shape == (299, 299, 3)


def test_fit_refuses_what_is_no_picture() -> None:
    preprocess = Preprocess(height=4, width=4, channels=1)
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 1)), np.zeros((0, 4, 1), np.uint8)):
        with pytest.raises(SourceError, match="as_picture"):
            preprocess.fit(wrong)


def test_normalise() -> None:
    batch = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), np.uint8)
    preprocess = Preprocess(height=6, width=7, channels=3, mean=(0.5, 0.25, 0.1), deviation=(0.5, 0.2, 1.0))
    values = preprocess.normalise(batch)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    wanted = (batch.astype(float) / 255 - preprocess.mean) / preprocess.deviation
    np.testing.assert_allclose(values, wanted.transpose(0, 3, 1, 2), atol=1e-6)


def test_one_mean_serves_all_channels() -> None:
    preprocess = Preprocess(height=6, width=7, channels=3, mean=(0.5,), deviation=(0.25,))
    assert preprocess.mean == (0.5, 0.5, 0.5)
    assert preprocess == Preprocess(height=6, width=7, channels=3, mean=(0.5,) * 3, deviation=(0.25,) * 3)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"height": 0}, "at least 1×1"),
        ({"channels": 2}, "2 channels"),
        ({"mode": "letterboxed"}, "did you mean 'letterbox'"),
        ({"resample": "bilinera"}, "did you mean 'bilinear'"),
        ({"crop": 0.0}, "crop 0.0"),
        ({"crop": float("nan")}, "crop nan"),
        ({"crop": 1.1}, "crop 1.1"),
        ({"fill": 256}, "fill 256"),
        ({"mean": (0.1, 0.2)}, "wanted equal counts"),
        ({"mean": (float("inf"),)}, "finite"),
        ({"deviation": (0.0,)}, "above 0"),
        ({"deviation": (float("nan"),)}, "above 0"),
    ],
)
def test_refusals(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Preprocess(**{"height": 8, "width": 8, "channels": 3, **wrong})


def test_sizes_and_words() -> None:
    preprocess = Preprocess(height=299, width=299, channels=3, crop=0.875, mode="letterbox")
    assert preprocess.needed == (684, 684)
    assert preprocess.describe() == "padded whole of the central 87.5 % of each side to 299×299 RGB, bilinear"


def test_plain_and_back() -> None:
    preprocess = Preprocess(height=8, width=9, channels=3, crop=0.9, mean=(0.1, 0.2, 0.3))
    assert from_plain(Preprocess, to_plain(preprocess)) == preprocess


def test_read_is_decode_and_fit_and_reduces_large_jpegs() -> None:
    data = saved(Image.fromarray(gradient(1600, 1200)), "JPEG", quality=95)
    preprocess = Preprocess(height=75, width=75, channels=3)
    np.testing.assert_array_equal(
        preprocess.read(data), preprocess.fit(images.decode(data, at_least=preprocess.needed))
    )
    assert images.decode(data, at_least=preprocess.needed).shape == (200, 150, 3)
    assert np.abs(preprocess.read(data).astype(int) - preprocess.fit(images.decode(data))).max() <= 3


def test_reduced_decoding_costs_little_on_photographs(data: Path) -> None:
    preprocess = Preprocess(height=28, width=28, channels=3)
    differences = []
    for path in sorted(data.glob("flowers12/train/*/*.jpg"))[::7]:
        file = path.read_bytes()
        assert images.decode(file, at_least=preprocess.needed).shape == (56, 56, 3)
        exact = preprocess.fit(images.decode(file)).astype(int)
        differences.append(np.abs(preprocess.read(file) - exact).mean())
    assert 0 < np.mean(differences) < 1.5
