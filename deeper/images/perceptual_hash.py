"""A 64-bit hash that near-duplicates share, nearly: the signs of low DCT frequencies (pHash; Zauner 2010)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeper.images.preprocess import Preprocess

_SIDE = 32
_KEPT = 8
_FIT = Preprocess(height=_SIDE, width=_SIDE, channels=1, mode="squash")
_positions = np.arange(_SIDE)
# The first rows of the DCT-II matrix; scaling does not change which coefficients lie above their median.
_COSINES = np.cos(np.pi * (2 * _positions[None, :] + 1) * np.arange(_KEPT)[:, None] / (2 * _SIDE))
_ONES = np.array([value.bit_count() for value in range(256)], np.uint8)


def perceptual_hash(picture: NDArray[np.uint8]) -> int:
    """Hash of a uint8 H × W × C picture: 64 bits, the highest first, row by row over the 8 × 8 lowest frequencies.

    The same content in another size, brightness or file format differs in few bits, two unrelated photographs in
    about 32. A picture of one colour has no frequencies: all such share one hash.
    """
    return int(hashes(thumbnail(picture)[None])[0])


def thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What the hash looks at: grey, 32 × 32, whatever the picture's sides. dtype: uint8."""
    return _FIT.fit(picture)[..., 0]


def hashes(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The hashes of thumbnails N × 32 × 32. Shape: N. dtype: uint64."""
    # Rounded, so that the last bit of a sum, which differs between processors, decides nothing.
    frequencies = np.round(_COSINES @ thumbnails.astype(np.float64) @ _COSINES.T, 3).reshape(len(thumbnails), -1)
    # The constant term is the brightness, which the hash ignores when it finds the median.
    bits = frequencies > np.median(frequencies[:, 1:], axis=1, keepdims=True)
    bits[:, 0] = False
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def hamming(first: ArrayLike, second: ArrayLike) -> NDArray[np.int64]:
    """Number of differing bits between hashes (integers or uint64 arrays); broadcasts like any numpy operation."""
    different = np.asarray(np.asarray(first, np.uint64) ^ np.asarray(second, np.uint64))
    by_byte = np.ascontiguousarray(different)[..., None].view(np.uint8)
    return np.asarray(_ONES[by_byte].sum(axis=-1, dtype=np.int64)).reshape(different.shape)
