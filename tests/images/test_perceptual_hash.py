from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance
from scipy.fft import dctn

from deeper import images
from deeper.images import Preprocess


def test_bits_against_scipy(data: Path) -> None:
    for path in sorted(data.glob("flowers12/test/*/*.jpg"))[::20]:
        picture = images.decode(path.read_bytes())
        grey = Preprocess(height=32, width=32, channels=1, mode="squash").fit(picture)[..., 0]
        # SciPy's DCT-II without a norm is twice ours on each axis.
        low = dctn(grey.astype(float), type=2)[:8, :8].ravel() / 4
        wanted = low > np.median(low[1:])
        wanted[0] = False
        assert format(images.perceptual_hash(picture), "064b") == "".join("01"[bit] for bit in wanted.astype(int))


def test_near_duplicates_are_near_and_others_far(data: Path) -> None:
    paths = sorted(data.glob("flowers12/test/*/*.jpg"))[::12]
    photographs = [Image.open(path).convert("RGB") for path in paths]
    originals = np.array([images.perceptual_hash(np.asarray(one)) for one in photographs], np.uint64)
    changed = []
    for one in photographs:
        buffer = io.BytesIO()
        ImageEnhance.Brightness(one.resize((150, 150))).enhance(1.1).save(buffer, "JPEG", quality=60)
        changed.append(images.perceptual_hash(images.decode(buffer.getvalue())))
    distances = images.hamming(originals[:, None], np.array(changed, np.uint64)[None, :])
    same = np.diag(distances)
    other = distances[~np.eye(len(paths), dtype=bool)]
    assert same.max() <= 8
    assert other.min() > same.max()
    assert 26 < other.mean() < 38


def test_one_colour_has_one_hash() -> None:
    hashes = {images.perceptual_hash(np.full((9, 30, 3), colour, np.uint8)) for colour in (0, 7, 128, 255)}
    assert len(hashes) == 1


def test_hamming() -> None:
    assert images.hamming(0, 2**64 - 1) == 64
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, 2**64, (2, 4, 1), dtype=np.uint64), generator.integers(0, 2**64, 5, np.uint64)
    distances = images.hamming(first, second)
    assert distances.shape == (2, 4, 5)
    wanted = [int(a ^ b).bit_count() for a in first.ravel() for b in second]
    np.testing.assert_array_equal(distances.ravel(), wanted)
