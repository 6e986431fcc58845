"""`Preprocess`: from any picture to what a network takes, in two halves, one value for training and for ever after.

`fit` brings a picture to uint8 at the network's size: the only resize in this project. `normalise` turns such a batch
into floats; every export carries it inside its graph. Between the two lies the one boundary that engines, batchers,
golden inputs and parity checks share: uint8 at model size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper.errors import UsageError
from deeper.images.decode import decode, to_channels

_RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How pictures become a network's input."""

    height: int
    """Of the input, in pixels."""
    width: int
    channels: int
    """1 (grey) or 3 (RGB)."""
    mode: Literal["crop", "letterbox", "squash"] = "crop"
    """`crop`: the largest centred part of the right shape. `letterbox`: all of it, padded with `fill`. `squash`: all of
    it, its shape ignored."""
    crop: float = 1.0
    """Central share of each side that is kept first (0.875 in research/inception's evaluation)."""
    resample: Literal["bilinear", "bicubic", "lanczos", "nearest"] = "bilinear"
    """Pillow's filters, antialiased when reducing (`nearest` is not)."""
    fill: int = 0
    """Grey level of letterbox bars, 0..255."""
    mean: tuple[float, ...] = (0.0,)
    """One per channel, of pixels on the 0..1 scale."""
    deviation: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise UsageError(f"an input of {self.height}×{self.width} pixels; wanted at least 1×1")
        if self.channels not in (1, 3):
            raise UsageError(f"{self.channels} channels; wanted 1 (grey) or 3 (colour)")
        if not 0 < self.crop <= 1:
            raise UsageError(f"crop {self.crop}; wanted a share above 0 and at most 1")
        if not 0 <= self.fill <= 255:
            raise UsageError(f"fill {self.fill}; wanted a grey level from 0 to 255")
        if len(self.mean) != self.channels or len(self.deviation) != self.channels:
            raise UsageError(
                f"{len(self.mean)} means and {len(self.deviation)} deviations for {self.channels} channels; wanted one each"
            )
        if not all(value > 0 for value in self.deviation):
            raise UsageError(f"deviations {self.deviation}; wanted them above 0")

    def at(self, height: int, width: int) -> Preprocess:
        """The same for another size, for example the store size."""
        return replace(self, height=height, width=width)

    def describe(self) -> str:
        """In words, for logs and model cards."""
        ways = {"crop": "centre crop", "letterbox": "padded whole", "squash": "squashed whole"}
        share = f", central {self.crop:.3g}" if self.crop < 1 else ""
        colour = "grey" if self.channels == 1 else "RGB"
        return f"{ways[self.mode]}{share} to {self.height}×{self.width} {colour}, {self.resample}"

    def read(self, data: bytes, name: str = "") -> NDArray[np.uint8]:
        """Decode a file's bytes and fit them. Raises: SourceError."""
        return self.fit(decode(data, name=name, at_least=self.needed))

    @property
    def needed(self) -> tuple[int, int]:
        """The height and width a picture should at least be decoded at, for `decode(at_least=…)`."""
        return (int(np.ceil(self.height / self.crop)), int(np.ceil(self.width / self.crop)))

    def fit(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 H × W × C of any size, 1 or 3 channels → uint8 height × width × channels.

        A picture that has the size already (and `crop` 1) passes unchanged, bit for bit.
        """
        picture = to_channels(picture, self.channels)
        rows, columns = picture.shape[:2]
        if (rows, columns) == (self.height, self.width) and self.crop == 1:
            return picture
        margin = (1 - self.crop) / 2
        left, upper, right, lower = columns * margin, rows * margin, columns * (1 - margin), rows * (1 - margin)
        target = (self.width, self.height)
        if self.mode == "crop":
            scale = min((lower - upper) / self.height, (right - left) / self.width)
            half_height, half_width = self.height * scale / 2, self.width * scale / 2
            left, right = columns / 2 - half_width, columns / 2 + half_width
            upper, lower = rows / 2 - half_height, rows / 2 + half_height
        elif self.mode == "letterbox":
            scale = min(self.height / (lower - upper), self.width / (right - left))
            target = (
                min(self.width, max(1, round((right - left) * scale))),
                min(self.height, max(1, round((lower - upper) * scale))),
            )
        # Rounding must not reach beyond the picture.
        box = (max(0.0, left), max(0.0, upper), min(float(columns), right), min(float(rows), lower))
        image = Image.fromarray(picture[..., 0] if self.channels == 1 else np.ascontiguousarray(picture))
        resized = np.asarray(image.resize(target, _RESAMPLE[self.resample], box))
        resized = resized[..., None] if self.channels == 1 else resized
        if resized.shape[:2] == (self.height, self.width):
            return resized
        canvas = np.full((self.height, self.width, self.channels), self.fill, np.uint8)
        top, start = (self.height - resized.shape[0]) // 2, (self.width - resized.shape[1]) // 2
        canvas[top : top + resized.shape[0], start : start + resized.shape[1]] = resized
        return canvas

    def normalise(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 N × H × W × C → float32 N × C × H × W: (pixel / 255 − mean) / deviation."""
        mean = np.asarray(self.mean, np.float32)
        deviation = np.asarray(self.deviation, np.float32)
        values = (batch.astype(np.float32) / np.float32(255) - mean) / deviation
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))
