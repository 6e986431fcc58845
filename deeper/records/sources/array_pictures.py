"""Arrays of pictures as people have them → uint8 N×H×W or N×H×W×C. Everything that is not one thing only is refused.

The range is decided over all splits together: a test split that happens to be dark must not be read on
another scale than the training split.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.errors import SourceError
from deeper.images.arrays import are_shares
from deeper.records.sources.options import SourceOptions

#: Pictures converted at a time: bounds the memory that a float copy takes.
_BLOCK = 4096


def read_pictures(
    given: Mapping[str | None, Any], options: SourceOptions
) -> tuple[dict[str | None, NDArray[np.uint8]], tuple[str, ...]]:
    """uint8 pictures of each split, N×H×W or N×H×W×C with C 1 or 3, and notices.

    Takes bool, integers 0..255, floats 0..1 or floats 0..255 (a notice says which was understood).
    Raises: SourceError, for NaN, other ranges, other shapes, channels first, object arrays, bool, integers and floats
    in one source, no picture at all.
    """
    shaped = {
        split: _shaped(array, f"{split} images" if split else "images", options) for split, array in given.items()
    }
    if not any(len(array) for array in shaped.values()):
        raise SourceError("the images are empty; wanted at least one picture")
    low, high = _range(shaped)
    notices: list[str] = []
    scale = 1.0
    # An empty split has no pixels to be misread, whatever dtype numpy gave it.
    kinds = {array.dtype.kind for array in shaped.values() if len(array)}
    if "b" in kinds and kinds != {"b"}:
        raise SourceError("some images are bool and others numbers; wanted one dtype in all splits")
    if "f" in kinds and kinds != {"f"}:
        # Before the ranges: 0..1 beside 0..255 has the range of the second, and the first would become black.
        raise SourceError("some images are floats and others integers; wanted one dtype in all splits")
    if kinds == {"b"}:
        scale = 255.0
    elif low < 0:
        advice = ": images * 0.5 + 0.5" if low >= -1 and high <= 1 else ""
        raise SourceError(f"images reach from {low:g} to {high:g}; wanted 0..1 or 0..255{advice}")
    elif high > 255:
        advice = "; 16-bit pictures: (images // 257).astype('uint8')" if high <= 65535 else ""
        raise SourceError(f"images reach up to {high:g}; wanted 0..1 or 0..255{advice}")
    elif kinds == {"f"}:
        shares = are_shares(high)
        scale = 255.0 if shares else 1.0
        if shares and high > 1:
            notices.append(f"images are floats up to {high:.9g}: read as 0..1, what lies above as 1")
        elif not shares:
            notices.append(f"images are floats up to {high:g}: read as 0..255")
    elif high <= 1:
        notices.append("no pixel is brighter than 1 of 255; if 0..1 was meant, give floats or bool")
    return {split: _to_uint8(array, scale) for split, array in shaped.items()}, tuple(notices)


def _shaped(given: Any, where: str, options: SourceOptions) -> NDArray[Any]:
    try:
        array = np.asarray(given)
    except (ValueError, TypeError):
        raise SourceError(
            f"{where} do not form one array (pictures of several sizes?); wanted N×H×W or N×H×W×C; "
            "save them as files in one folder per class instead"
        ) from None
    if array.dtype.kind == "O":
        raise SourceError(f"{where} have dtype object; wanted numbers in one array N×H×W or N×H×W×C")
    if array.dtype.kind not in "buif":
        raise SourceError(f"{where} have dtype {array.dtype}; wanted uint8, bool, or floats 0..1")
    if options.shape is not None:
        return _reshaped(array, options.shape, where)
    if array.ndim == 2:
        raise SourceError(
            f"{where} are flat, {_times(array.shape)}; wanted the shape of a picture{_advice(array.shape)}"
        )
    if array.ndim not in (3, 4):
        raise SourceError(f"{where} have shape {_times(array.shape)}; wanted N×H×W or N×H×W×C")
    if 0 in array.shape[1:]:
        raise SourceError(f"{where} have shape {_times(array.shape)}; wanted pictures of at least one pixel")
    if array.ndim == 4 and array.shape[3] not in (1, 3):
        if array.shape[1] in (1, 3):
            raise SourceError(
                f"{where} have shape {_times(array.shape)}, channels first; wanted channels last: "
                "images.transpose(0, 2, 3, 1)"
            )
        if array.shape[3] == 4:
            raise SourceError(f"{where} have shape {_times(array.shape)}; wanted no alpha channel: images[..., :3]")
        raise SourceError(f"{where} have shape {_times(array.shape)}; wanted 1 or 3 channels last")
    return array


def _reshaped(array: NDArray[Any], shape: tuple[int, ...], where: str) -> NDArray[Any]:
    if array.ndim < 2 or math.prod(array.shape[1:]) != math.prod(shape):
        raise SourceError(
            f"{where} have shape {_times(array.shape)}, which is not N×{_times(shape)}; wanted "
            f"{math.prod(shape)} values for each picture, or another --shape"
        )
    if array.ndim > 2 and array.shape[1:] not in (shape, (*shape, 1), shape[:2]):
        # Reshaping H×W to another H×W would shear the pictures without a word.
        raise SourceError(f"{where} have shape {_times(array.shape)} and --shape says {_times(shape)}; leave it out")
    return array.reshape(len(array), *shape)


def _advice(shape: tuple[int, ...]) -> str:
    values = shape[1]
    for channels in (1, 3):
        side = math.isqrt(values // channels)
        if side > 1 and side * side * channels == values:
            sizes = (side, side) if channels == 1 else (side, side, channels)
            flag = " ".join(map(str, sizes))
            return f"; add --shape {flag} (in Python: shape={sizes}) if they are {side}×{side}"
    return "; add --shape HEIGHT WIDTH (in Python: shape=(height, width))"


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "()"


def _range(shaped: Mapping[str | None, NDArray[Any]]) -> tuple[float, float]:
    lows, highs = [], []
    for split, array in shaped.items():
        if not len(array):
            continue
        low, high = float(array.min()), float(array.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            broken = next(i for i, picture in enumerate(array) if not np.isfinite(picture).all())
            where = f"{split} images" if split else "images"
            raise SourceError(f"{where} hold NaN or infinity, first in picture {broken}; wanted finite numbers")
        lows.append(low)
        highs.append(high)
    return min(lows), max(highs)


def _to_uint8(array: NDArray[Any], scale: float) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    pictures = np.empty(array.shape, np.uint8)
    for start in range(0, len(array), _BLOCK):
        block = array[start : start + _BLOCK]
        if array.dtype.kind == "f":
            # float64: 0.5 of a grey level rounds alike whatever the dtype the user came with
            pictures[start : start + _BLOCK] = np.minimum(np.rint(block.astype(np.float64) * scale), 255)
        else:
            pictures[start : start + _BLOCK] = block.astype(np.uint8) * np.uint8(scale)
    return pictures
