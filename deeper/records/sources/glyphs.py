"""Glyphs as distance fields, from the fonts that matplotlib carries.

A distance field (Frisken and others, "Adaptively Sampled Distance Fields", 2000) tells for every point how far it is
from the glyph's edge, negative inside. Drawn from that, a stroke can be made thicker or thinner, sharp or soft, at
any scale, without drawing the font again.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deeper.errors import SourceError

#: Text fonts with real digits and letters. Left out: symbol fonts, `cmmi10` (old-style digits, whose 1 is a small I),
#: and display cuts, which lack most glyphs.
FONTS: tuple[str, ...] = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralBolIta",
    "STIXGeneralItalic",
    "cmb10",
    "cmr10",
    "cmss10",
    "cmti10",
    "cmtt10",
)

#: The longer side of every glyph, in units. MNIST's digits fill 20 pixels of 28.
EXTENT = 20
#: Side of a field, in units: the glyph and room for thick strokes around it.
SIDE = 32
#: Samples of a field per unit.
DENSITY = 3
_REACH = 15  # distances beyond this many samples are cut: no stroke gets that thick


def font_folder() -> Path:
    """Where matplotlib keeps its fonts, found without importing it (that takes half a second).

    Raises: SourceError, when matplotlib or its fonts are missing.
    """
    specification = importlib.util.find_spec("matplotlib")
    if specification is not None and specification.origin is not None:
        folder = Path(specification.origin).parent / "mpl-data" / "fonts" / "ttf"
        if folder.is_dir():
            return folder
    raise SourceError("matplotlib's fonts are not there, which the drawn sets need; pip install matplotlib")


def distance_fields(glyphs: Sequence[str], fonts: Sequence[str]) -> NDArray[np.float32]:
    """Signed distance to the edge of each glyph in each font, in units, negative inside.

    Shape: fonts × glyphs × (SIDE·DENSITY) × (SIDE·DENSITY). The glyph is centred by its box and its longer side
    is EXTENT units. Raises: SourceError, when a font is missing or lacks a glyph.
    """
    folder = font_folder()
    inside = np.stack([np.stack([_drawn(folder, font, glyph) for glyph in glyphs]) for font in fonts])
    shape = inside.shape
    flat = inside.reshape(-1, *shape[2:])
    # Half a sample on both sides, so that the edge lies between the last sample inside and the first outside.
    outward = np.sqrt(_squared_distance(flat)) - 0.5
    inward = np.sqrt(_squared_distance(~flat)) - 0.5
    distance = np.where(flat, -inward, outward).astype(np.float32) / np.float32(DENSITY)
    return distance.reshape(shape)


def _drawn(folder: Path, name: str, glyph: str) -> NDArray[np.bool_]:
    """The samples that lie inside a glyph."""
    path = folder / f"{name}.ttf"
    side = SIDE * DENSITY
    try:
        # The basic layout is the one that every build of Pillow has.
        font = ImageFont.truetype(path, 200, layout_engine=ImageFont.Layout.BASIC)
        left, top, right, bottom = font.getbbox(glyph)
        size = 200 * EXTENT * DENSITY / max(right - left, bottom - top, 1)
        font = ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
        left, top, right, bottom = font.getbbox(glyph)
    except (OSError, ValueError):
        raise SourceError(f"matplotlib's font {name} cannot be used, which the drawn sets need") from None
    canvas = Image.new("L", (side, side))
    origin = ((side - (right - left)) / 2 - left, (side - (bottom - top)) / 2 - top)
    ImageDraw.Draw(canvas).text(origin, glyph, fill=255, font=font)
    inside: NDArray[np.bool_] = np.asarray(canvas) > 127
    if not inside.any():
        raise SourceError(f"matplotlib's font {name} has no glyph for {glyph!r}")
    return inside


def _squared_distance(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Squared distance of each sample to the nearest one inside, exact up to `_REACH`. Shape: N × H × W.

    Separable (Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled Functions", 2012): along columns
    first, then the lower envelope over the neighbouring columns.
    """
    far = np.float32(_REACH + 1)
    column = np.where(inside, np.float32(0), far)
    for y in range(1, column.shape[1]):
        np.minimum(column[:, y], column[:, y - 1] + 1, out=column[:, y])
    for y in range(column.shape[1] - 2, -1, -1):
        np.minimum(column[:, y], column[:, y + 1] + 1, out=column[:, y])
    squared = column * column
    nearest = squared.copy()
    width = squared.shape[2]
    for step in range(1, _REACH + 1):
        aside = np.float32(step * step)
        np.minimum(nearest[:, :, step:], squared[:, :, : width - step] + aside, out=nearest[:, :, step:])
        np.minimum(nearest[:, :, : width - step], squared[:, :, step:] + aside, out=nearest[:, :, : width - step])
    cut: NDArray[np.float32] = np.minimum(nearest, far * far)
    return cut
