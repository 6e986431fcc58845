"""The pictures of a report, each stored once, within a budget."""

from __future__ import annotations

import base64
import hashlib
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Pictures up to this many pixels on a side are stored without loss, larger ones as JPEG.
_LOSSLESS = 40
_QUALITY = 82


class Album:
    """Pictures → numbers; `sources` holds a data URI for each number. What no longer fits into `budget` bytes gets None."""

    def __init__(self, budget: int) -> None:
        self.left = budget
        self.sources: list[str] = []
        self._numbers: dict[bytes, int] = {}

    def add(self, picture: NDArray[np.uint8] | None) -> int | None:
        """The number of a picture, uint8 H × W × C (1 or 3)."""
        if picture is None:
            return None
        key = hashlib.sha256(str(picture.shape).encode() + picture.tobytes()).digest()
        if key in self._numbers:
            return self._numbers[key]
        if self.left <= 0:
            return None
        uri = _uri(picture)
        # As a string in a JSON list: two quotes and a comma.
        self.left -= len(uri) + 3
        if self.left < 0:
            # Nor what comes later: a small picture must not slip in after larger ones were left out.
            return None
        self.sources.append(uri)
        self._numbers[key] = len(self.sources) - 1
        return len(self.sources) - 1


def _uri(picture: NDArray[np.uint8]) -> str:
    # Encoded anew from pixels: nothing of the file's, such as where it was taken, can come along.
    image = Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else np.ascontiguousarray(picture))
    buffer = io.BytesIO()
    if max(picture.shape[:2]) <= _LOSSLESS:
        image.save(buffer, "PNG", optimize=True)
        kind = "png"
    else:
        image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
        kind = "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
