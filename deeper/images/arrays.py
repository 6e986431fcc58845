"""Raw arrays ↔ pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeper.errors import SourceError
from deeper.images import png

#: What floats of 0..1 may lie above 1 or below 0 by, after somebody's arithmetic.
SLACK = 1e-3


def as_picture(array: ArrayLike) -> NDArray[np.uint8]:
    """A raw array as a picture. Shape: H × W × C, C 1 or 3. dtype: uint8.

    Takes H × W or H × W × C with 1 or 3 channels. Values: uint8 as they are; bool as 0 and 255; other integers 0..255;
    floats 0..1 (times 255, rounded), or 0..255 (rounded) when the largest is clearly above 1. The rule for floats looks at
    this picture alone: one of 0..255 in which nothing is above 1 is taken for 0..1.

    Raises: SourceError, for other shapes (channels first: the fix is named), NaN, infinities, values out of range.
    """
    try:
        values = np.asarray(array)
    except (ValueError, TypeError):
        raise SourceError(
            "rows of different lengths are no picture; wanted height×width or height×width×channels"
        ) from None
    shape = "×".join(map(str, values.shape)) or "a single number"
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim == 4:
        raise SourceError(f"an array of {shape} holds several pictures; wanted one, for example array[0]")
    if values.ndim != 3:
        raise SourceError(f"an array of {shape} is no picture; wanted height×width or height×width×channels")
    if 0 in values.shape:
        raise SourceError(f"an array of {shape} holds no pixel")
    if values.shape[2] not in (1, 3):
        if values.shape[0] in (1, 3):
            raise SourceError(f"an array of {shape} has its channels first; wanted them last: array.transpose(1, 2, 0)")
        if values.shape[2] == 4:
            raise SourceError(f"an array of {shape} has 4 channels; wanted 1 or 3: drop alpha with array[..., :3]")
        raise SourceError(f"an array of {shape} has {values.shape[2]} channels; wanted 1 (grey) or 3 (colour)")
    return _to_bytes(values)


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """uint8 H × W × 1 or 3 as PNG bytes; equal pixels give equal bytes. Raises: SourceError, for other arrays."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3) or 0 in picture.shape:
        shape = "×".join(map(str, picture.shape))
        raise SourceError(
            f"cannot write {picture.dtype} of {shape} as PNG; wanted uint8, height×width×1 or 3: as_picture(array)"
        )
    return png.encode(picture)


def are_shares(highest: float) -> bool:
    """Whether floats of which the highest is this are of 0..1, else of 0..255. Arithmetic leaves a white pixel a hair
    above 1; taken for 0..255 the picture would be black. Raises: SourceError, for what may mean both."""
    if 1 + SLACK < highest < 2:
        raise SourceError(
            f"floats up to {highest:g}, which may mean 0..1 or 0..255; clip them (array.clip(0, 1)), or give uint8"
        )
    return highest <= 1 + SLACK


def _to_bytes(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values.astype(np.uint8, copy=False)
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(values.dtype, np.integer):
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 255:
            raise SourceError(f"integer pixels from {low} to {high}; wanted 0 to 255")
        return values.astype(np.uint8)
    if np.issubdtype(values.dtype, np.floating):
        wide = values.astype(np.float64)
        low_value, high_value = float(wide.min()), float(wide.max())
        # Both are NaN when any pixel is.
        if not np.isfinite([low_value, high_value]).all():
            raise SourceError("pixels that are NaN or infinite; wanted finite ones from 0 to 1")
        shares = high_value <= 1 + SLACK
        if low_value < (-SLACK if shares else 0) or high_value > 255:
            raise SourceError(
                f"pixels from {low_value:g} to {high_value:g}; wanted 0 to 1 (or 0 to 255); undo any normalisation"
            )
        return np.rint(np.clip(wide, 0, 1) * 255 if are_shares(high_value) else wide).astype(np.uint8)
    raise SourceError(f"an array of {values.dtype} is no picture; wanted numbers")
