"""`Preprocess`: from any picture to what a network takes, in two halves, one value for training and for ever after.

`fit` brings a picture to uint8 at the network's size: the only resize in this project. `normalise` turns such a batch
into floats; every export carries it inside its graph. Between the two lies the one boundary that engines, batchers,
golden inputs and parity checks share: uint8 at model size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper.errors import SourceError, UsageError, nearest
from deeper.images.decode import MAX_PIXELS, decode, to_channels

_RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_MODES = {"crop": "centre crop", "letterbox": "padded whole", "squash": "squashed whole"}


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How pictures become a network's input. Raises UsageError when a field cannot be meant."""

    height: int
    """Of the input, in pixels."""
    width: int
    """The same."""
    channels: int
    """1 (grey) or 3 (RGB)."""
    mode: Literal["crop", "letterbox", "squash"] = "crop"
    """`crop`: the largest centred part of the right shape. `letterbox`: all of it, padded with `fill`. `squash`: all of
    it, its shape ignored."""
    crop: float = 1.0
    """Central share of each side that is kept first (0.875 in research/inception's `image_processing.py`)."""
    resample: Literal["bilinear", "bicubic", "lanczos", "nearest"] = "bilinear"
    """Pillow's filters, antialiased when reducing (`nearest` is not)."""
    fill: int = 0
    """Grey level of letterbox bars, 0..255."""
    mean: tuple[float, ...] = (0.0,)
    """One per channel, of pixels on the 0..1 scale; a single one is taken for all channels."""
    deviation: tuple[float, ...] = (1.0,)
    """Likewise; above 0."""

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise UsageError(f"an input of {self.height}×{self.width} pixels; wanted at least 1×1")
        if self.channels not in (1, 3):
            raise UsageError(f"{self.channels} channels; wanted 1 (grey) or 3 (colour)")
        if self.mode not in _MODES:
            raise UsageError(f"no mode {self.mode!r}{nearest(str(self.mode), _MODES)}")
        if self.resample not in _RESAMPLE:
            raise UsageError(f"no resample {self.resample!r}{nearest(str(self.resample), _RESAMPLE)}")
        if not 0 < self.crop <= 1:
            raise UsageError(f"crop {self.crop}; wanted a share above 0 and at most 1")
        if not 0 <= self.fill <= 255:
            raise UsageError(f"fill {self.fill}; wanted a grey level from 0 to 255")
        for name in ("mean", "deviation"):
            if len(values := getattr(self, name)) == 1:
                # Written out, so that equal values are equal and a reader of the bundle finds one per channel.
                object.__setattr__(self, name, tuple(values) * self.channels)
        if len(self.mean) != self.channels or len(self.deviation) != self.channels:
            raise UsageError(
                f"{len(self.mean)} means, {len(self.deviation)} deviations, {self.channels} channels; wanted equal counts"
            )
        if not all(math.isfinite(value) for value in self.mean):
            raise UsageError(f"means {self.mean}; wanted finite numbers")
        if not all(value > 0 and math.isfinite(value) for value in self.deviation):
            raise UsageError(f"deviations {self.deviation}; wanted finite numbers above 0")

    def at(self, height: int, width: int) -> Preprocess:
        """The same for another size."""
        return replace(self, height=height, width=width)

    def describe(self) -> str:
        """In words, for logs and model cards."""
        share = f" of the central {100 * self.crop:.4g} % of each side" if self.crop < 1 else ""
        colour = "grey" if self.channels == 1 else "RGB"
        return f"{_MODES[self.mode]}{share} to {self.height}×{self.width} {colour}, {self.resample}"

    def read(self, data: bytes, name: str = "", *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
        """Decode a file's bytes and fit them: THE way from a file to the network's size, so that evaluation and
        prediction agree bit for bit. `max_pixels` can only lower the limit. Raises: SourceError."""
        return self.fit(decode(data, name, at_least=self.needed, max_pixels=max_pixels))

    @property
    def needed(self) -> tuple[int, int]:
        """(height, width) that a picture should at least be decoded at, for `decode(at_least=…)`.

        Twice what `fit` makes of the whole: libjpeg's reduction is coarser than Pillow's filters, and this leaves the
        last halving to them. 100 photographs came on average within 1.2 grey levels of decoding in full; without
        the factor within 3.4.
        """
        return math.ceil(2 * self.height / self.crop), math.ceil(2 * self.width / self.crop)

    def fit(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 H × W × C of any size, 1 or 3 channels → uint8 height × width × channels.

        A picture that has the size already (and `crop` 1) passes unchanged, bit for bit, and may be the same array.
        Raises: SourceError, for anything that is no such picture (`as_picture` makes one).
        """
        if picture.ndim != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
            shape = "×".join(map(str, picture.shape))
            raise SourceError(f"{picture.dtype} of {shape}; wanted uint8 of height×width×channels: as_picture(array)")
        picture = to_channels(picture, self.channels)
        rows, columns = picture.shape[:2]
        if (rows, columns) == (self.height, self.width) and self.crop == 1:
            return picture
        box, (height, width) = self._plan(rows, columns)
        image = Image.fromarray(picture[..., 0] if self.channels == 1 else np.ascontiguousarray(picture))
        resized = np.array(image.resize((width, height), _RESAMPLE[self.resample], box)).reshape(height, width, -1)
        if (height, width) == (self.height, self.width):
            return resized
        canvas = np.full((self.height, self.width, self.channels), self.fill, np.uint8)
        top, left = (self.height - height) // 2, (self.width - width) // 2
        canvas[top : top + height, left : left + width] = resized
        return canvas

    def normalise(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 N × H × W × C → float32 N × C × H × W, contiguous: (pixel / 255 − mean) / deviation."""
        mean = np.asarray(self.mean, np.float32)
        deviation = np.asarray(self.deviation, np.float32)
        values = (batch.astype(np.float32) / np.float32(255) - mean) / deviation
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))

    def _plan(self, rows: int, columns: int) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
        """The part that is taken (left, upper, right, lower; fractions of pixels count) and the size it comes to."""
        tall, wide = rows * self.crop, columns * self.crop
        height, width = self.height, self.width
        if self.mode == "crop":
            scale = min(tall / height, wide / width)
            tall, wide = height * scale, width * scale
        elif self.mode == "letterbox":
            scale = min(height / tall, width / wide)
            height, width = (min(height, max(1, round(tall * scale))), min(width, max(1, round(wide * scale))))
        left, upper = (columns - wide) / 2, (rows - tall) / 2
        # Rounding errors must not reach beyond the picture.
        box = (max(0.0, left), max(0.0, upper), min(float(columns), left + wide), min(float(rows), upper + tall))
        return box, (height, width)
