"""A 64-bit hash that near-duplicates share, nearly: the signs of low DCT frequencies (pHash; Zauner 2010)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper.images.decode import to_channels

_SIDE = 32
_KEPT = 8
_positions = np.arange(_SIDE)
# The first rows of the DCT-II matrix; scaling does not change which coefficients lie above their median.
_COSINES = np.cos(np.pi * (2 * _positions[None, :] + 1) * np.arange(_KEPT)[:, None] / (2 * _SIDE))


def perceptual_hash(picture: NDArray[np.uint8]) -> int:
    """Hash of a uint8 H × W × C picture: 64 bits, most significant first, row by row of the 8 × 8 lowest frequencies."""
    grey = Image.fromarray(to_channels(picture, 1)[..., 0]).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    frequencies = (_COSINES @ np.asarray(grey, np.float64) @ _COSINES.T).ravel()
    # The constant term is the brightness, which the hash ignores when it finds the median.
    bits = frequencies > np.median(frequencies[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def hamming(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Number of differing bits; broadcasts like any numpy operation."""
    return np.bitwise_count(np.bitwise_xor(first, second)).astype(np.int64)
