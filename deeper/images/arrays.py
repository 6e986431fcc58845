"""Raw arrays ↔ pictures."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from deeper.errors import SourceError


def scale_16_bits(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """0..65535 → 0..255, proportionally and rounded."""
    return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def as_picture(array: ArrayLike) -> NDArray[np.uint8]:
    """A raw array as a picture. Shape: H × W × C, C 1 or 3. dtype: uint8.

    Takes H × W or H × W × C with 1 or 3 channels. Values: uint8 as they are; bool as 0 and 255; other integers 0..255;
    floats 0..1 (times 255, rounded), or 0..255 when the largest is above 1.

    Raises: SourceError, for other shapes (channels first: the fix is named), NaN, infinities, values out of range.
    """
    values = np.asarray(array)
    shape = "×".join(map(str, values.shape)) or "a single number"
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3:
        raise SourceError(f"an array of {shape} is no picture; wanted height×width or height×width×channels")
    if 0 in values.shape:
        raise SourceError(f"an array of {shape} holds no pixel")
    if values.shape[2] not in (1, 3):
        if values.shape[0] in (1, 3):
            raise SourceError(f"an array of {shape} has its channels first; wanted them last: array.transpose(1, 2, 0)")
        raise SourceError(f"an array of {shape} has {values.shape[2]} channels; wanted 1 (grey) or 3 (colour)")
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(values.dtype, np.integer):
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 255:
            raise SourceError(f"integer pixels from {low} to {high}; wanted 0 to 255")
        return values.astype(np.uint8)
    if np.issubdtype(values.dtype, np.floating):
        if not np.isfinite(values).all():
            raise SourceError("the array holds NaN or infinity; wanted finite pixels from 0 to 1")
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 255:
            raise SourceError(f"pixels from {low:g} to {high:g}; wanted 0 to 1 (or 0 to 255); undo any normalisation")
        scale = 255.0 if high <= 1 else 1.0
        return np.rint(values.astype(np.float64) * scale).astype(np.uint8)
    raise SourceError(f"an array of {values.dtype} is no picture; wanted numbers")


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """H × W × 1 or 3 pixels as PNG; equal pixels give equal bytes."""
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
