"""Sheets of small pictures with a caption under each, large enough to read on a screen."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deeper.errors import printable

# A cell is at least this wide: captions under 28-pixel digits need the room, and the eye too.
CELL = 112
# TensorBoard first shows a sheet about 350 pixels wide: few columns and large letters stay readable there.
COLUMNS = 6
_TEXT = 17
_MARGIN = 6
_PAPER, _INK, _FRAME = (255, 255, 255), (32, 32, 32), (190, 190, 190)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans (Latin, Greek, Cyrillic), which comes with matplotlib; its folder is found without importing it."""
    from importlib.util import find_spec

    spec = find_spec("matplotlib")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.exists():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


def _fitting(text: str, width: int) -> str:
    """`text`, its middle cut so that it is at most `width` pixels wide."""
    font = _font(_TEXT)
    text = printable(text, 100)
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        shorter = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(shorter) <= width:
            return shorter
    return "…"


def sized(picture: NDArray[np.uint8], side: int) -> Image.Image:
    """A picture (H × W × C, C 1 or 3) as RGB whose longer side is about `side` pixels: whole multiples when enlarged,
    so that a pixel stays a pixel; smooth when made smaller."""
    image = Image.fromarray(picture[:, :, 0] if picture.shape[2] == 1 else picture[:, :, :3]).convert("RGB")
    longest = max(image.size)
    if longest <= side:
        factor = side // longest
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    scale = side / longest
    return image.resize(
        (max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.Resampling.BILINEAR
    )


def sheet(
    pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
    captions: Sequence[Sequence[str]],
    *,
    title: Sequence[str] = (),
    columns: int = COLUMNS,
) -> NDArray[np.uint8]:
    """Draw pictures (each H × W × C uint8, C 1 or 3) in rows, the lines of its caption under each, `title` lines above.

    Returns uint8 H × W × 3. No pictures give a sheet that holds the title alone.
    """
    columns = max(1, min(columns, len(pictures)))
    rows = -(-len(pictures) // columns)
    lines = max(map(len, captions), default=0)
    line_height = _TEXT + 4
    thumbs = [sized(picture, CELL) for picture in pictures]
    height_of_picture = max((thumb.height for thumb in thumbs), default=0)
    cell_width, cell_height = CELL + _MARGIN, height_of_picture + lines * line_height + 2 * _MARGIN
    head = len(title) * line_height + 2 * _MARGIN
    font = _font(_TEXT)
    needed = max((round(font.getlength(line)) for line in title), default=0) + 2 * _MARGIN
    width = max(columns * cell_width + _MARGIN if thumbs else 0, needed)
    image = Image.new("RGB", (width, head + rows * cell_height), _PAPER)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(title):
        draw.text((_MARGIN, _MARGIN + number * line_height), line, fill=_INK, font=font)
    for position, (thumb, caption) in enumerate(zip(thumbs, captions, strict=True)):
        left = _MARGIN + position % columns * cell_width
        top = head + position // columns * cell_height
        at = (left + (CELL - thumb.width) // 2, top + (height_of_picture - thumb.height) // 2)
        draw.rectangle((at[0] - 1, at[1] - 1, at[0] + thumb.width, at[1] + thumb.height), outline=_FRAME)
        image.paste(thumb, at)
        for number, line in enumerate(caption):
            text = _fitting(line, CELL)
            x = left + (CELL - font.getlength(text)) / 2
            draw.text((x, top + height_of_picture + 3 + number * line_height), text, fill=_INK, font=font)
    return np.asarray(image)
