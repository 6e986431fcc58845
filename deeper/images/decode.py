"""File bytes → pixels, by one stated policy:

- the EXIF turn is applied in every format that carries one (an orientation in XMP alone is not read);
- CMYK and YCCK become RGB, Adobe's inverted JPEGs too; YCbCr, HSV and LAB become RGB; colour profiles are ignored;
- 16-bit grey is scaled to 8 bits over its full range and rounded, never cut off; 16-bit colour, and grey with alpha, keep
  their high byte, which is that scale within one level; 32-bit and signed numbers, which have no stated range, are refused;
- alpha, also of a palette or of one transparent colour, is laid over white; palettes become RGB; 1 bit becomes 0, 255;
- of an animation or of several pages the first is taken;
- half a picture is none: files that end early or are damaged are refused, and so is what holds more than `MAX_PIXELS`.

The result has one channel for files that are grey by their header, and three for all others. It is the same for the
same bytes, on any thread.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper.errors import SourceError, printable
from deeper.images import containers, jpeg, png
from deeper.images.pixels import channels_of, to_pixels

# 178,956,970, Pillow's own limit against decompression bombs: 537 MB as RGB, which two workers of a build can hold at
# once. It counts the file's pixels, also where a reduced decoding would need fewer, so that a picture is accepted
# either everywhere (building, training, serving) or nowhere.
MAX_PIXELS = 2 * 89_478_485


class Probe(NamedTuple):
    """What a file says of itself: `format` as Pillow names it, size after the EXIF turn, channels 1 or 3."""

    format: str
    height: int
    width: int
    channels: int


def is_kept(data: bytes) -> bool:
    """Whether a dataset keeps these bytes as they are: JPEG and PNG. Anything else is stored as PNG."""
    return data.startswith((jpeg.MAGIC, png.MAGIC))


def decode(
    data: bytes,
    name: str = "",
    *,
    channels: int | None = None,
    at_least: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.uint8]:
    """Decode a file's bytes. Shape: H × W × C, C 1 or 3. dtype: uint8, contiguous and writable.

    `name` is for messages. `channels`: convert to so many (see `to_channels`). `max_pixels` can only lower the limit.

    `at_least`: a height and width that will do. A JPEG is then decoded at 1/8, 1/4 or 1/2 of its size, the smallest
    at which both sides are still so long: several times quicker, and a 13,000-pixel square needs 8 MB instead of
    500 (but for progressive files, of which the coefficients are all kept). The pixels are not those of the full size, but a function of the file and of `at_least` alone: whoever wants
    equal answers passes the equal value. Other formats are always decoded in full.

    Raises: SourceError, with a short reason; MissingExtraError, for HEIC without its extra.
    """
    small, limit = png.decode_small(data), min(max_pixels, MAX_PIXELS)
    try:
        if small is not None:
            refuse_huge(small.shape[0], small.shape[1], limit)
        picture = _decode(data, at_least, limit) if small is None else small
    except SourceError as error:
        raise _named(error, name) from error.__cause__
    return picture if channels is None else to_channels(picture, channels)


def check(
    data: bytes, name: str = "", *, whole_up_to: int = 0
) -> tuple[tuple[int, int, int], NDArray[np.uint8] | None]:
    """Whether `decode` gives pixels, for three fifths of its time where the file is a JPEG of more than `whole_up_to`
    pixels: that is decoded at an eighth of its size, for which all of it must be read and be sound just the same.

    Returns the pixels' shape, H × W × C, and themselves where they were decoded in full. Raises: as `decode`.
    """
    if not data.startswith(jpeg.MAGIC):
        picture = decode(data, name)
        height, width, channels = picture.shape
        return (height, width, channels), picture
    try:
        header = jpeg.read_header(data)
        refuse_huge(header.height, header.width, MAX_PIXELS)
        orientation = containers.orientation(header.exif)
        whole = header.height * header.width <= whole_up_to
        pixels = jpeg.decode(data, header, 1 if whole else 8)
    except SourceError as error:
        raise _named(error, name) from error.__cause__
    height, width = (header.width, header.height) if orientation >= 5 else (header.height, header.width)
    return (height, width, pixels.shape[2]), turn(pixels, orientation) if whole else None


def probe(data: bytes, name: str = "", *, max_pixels: int = MAX_PIXELS) -> Probe:
    """Format, size after the turn, and channels, from the header alone: what `decode` will give, if the pixels are
    sound. Raises: SourceError, MissingExtraError."""
    limit = min(max_pixels, MAX_PIXELS)
    try:
        if data.startswith(jpeg.MAGIC):
            header = jpeg.read_header(data)
            refuse_huge(header.height, header.width, limit)
            turned = containers.orientation(header.exif) >= 5
            height, width = (header.width, header.height) if turned else (header.height, header.width)
            return Probe("JPEG", height, width, 1 if header.colorspace == "Gray" else 3)
        checked = _checked_png(data, limit)
        with containers.open_picture(data if checked is None else png.without_unread(data, checked)) as picture:
            width, height = picture.size
            refuse_huge(height, width, limit)
            if _orientation(checked, picture) >= 5:
                height, width = width, height
            return Probe(picture.format or "", height, width, channels_of(picture))
    except SourceError as error:
        raise _named(error, name) from error.__cause__


def unpacked_pixels(data: bytes, at_least: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS) -> int:
    """How many pixels `decode` will hold at once, by the header alone: what a server reckons its memory by.

    Raises: SourceError, MissingExtraError.
    """
    limit = min(max_pixels, MAX_PIXELS)
    if data.startswith(jpeg.MAGIC):
        header = jpeg.read_header(data)
        refuse_huge(header.height, header.width, limit)
        if at_least is not None and containers.orientation(header.exif) >= 5:
            at_least = at_least[::-1]
        reduction = 1 if header.whole else jpeg.reduction_for((header.height, header.width), at_least)
        return -(-header.height // reduction) * -(-header.width // reduction)
    size = png.size_of(data)
    if size is None:
        with containers.open_picture(data) as picture:
            size = picture.size[::-1]
    refuse_huge(*size, limit)
    return size[0] * size[1]


def to_channels(picture: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Grey ↔ colour. Grey is repeated; colour becomes luma, (299 R + 587 G + 114 B) / 1000 rounded (ITU-R 601-2)."""
    has = picture.shape[2]
    if has == channels:
        return picture
    if has == 1 and channels == 3:
        return np.repeat(picture, 3, axis=2)
    if has == 3 and channels == 1:
        return np.array(Image.fromarray(picture).convert("L"))[..., None]
    raise SourceError(f"a picture of {has} channels cannot become one of {channels}; wanted 1 (grey) or 3 (colour)")


def turn(picture: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Apply an EXIF orientation (1 to 8) to H × W × C pixels."""
    if orientation in (5, 6, 7, 8):
        picture = picture.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return np.ascontiguousarray(picture)


def _decode(data: bytes, at_least: tuple[int, int] | None, limit: int) -> NDArray[np.uint8]:
    if data.startswith(jpeg.MAGIC):
        header = jpeg.read_header(data)
        refuse_huge(header.height, header.width, limit)
        orientation = containers.orientation(header.exif)
        if at_least is not None and orientation >= 5:
            at_least = at_least[::-1]
        reduction = jpeg.reduction_for((header.height, header.width), at_least)
        return turn(jpeg.decode(data, header, reduction), orientation)
    checked = _checked_png(data, limit)
    with containers.open_picture(data if checked is None else png.without_unread(data, checked)) as picture:
        width, height = picture.size
        refuse_huge(height, width, limit)
        containers.load(picture)
        if checked is not None and "transparency" in picture.info:
            # Pillow scales the pixels and leaves the transparent colour as the file has it.
            picture.info["transparency"] = png.as_8_bits(checked.bits, picture.mode, picture.info["transparency"])
        pixels = to_pixels(picture)
        if checked is not None:
            # Inflating twice is dear; data that ended early leaves zeros behind, in a file stored row by row at its end.
            last = pixels[-1] if picture.mode in ("L", "RGB") else _last_row(picture)
            doubtful = checked.interlaced or "transparency" in picture.info or not last.any()
            if doubtful and not png.is_complete(data, checked):
                raise SourceError("truncated PNG")
        return turn(pixels, _orientation(checked, picture))


def _last_row(picture: Image.Image) -> NDArray[np.uint8]:
    width, height = picture.size
    return np.frombuffer(picture.crop((0, height - 1, width, height)).tobytes(), np.uint8)


def _checked_png(data: bytes, limit: int) -> png.Checked | None:
    if not data.startswith(png.MAGIC):
        return None
    checked = png.check(data)
    refuse_huge(checked.height, checked.width, limit)
    return checked


def _orientation(checked: png.Checked | None, picture: Image.Image) -> int:
    return containers.orientation((checked.exif if checked is not None else b"") or containers.exif_of(picture))


def refuse_huge(height: int, width: int, limit: int) -> None:
    if width * height > limit:
        raise SourceError(f"{width}×{height} pixels; wanted at most {limit / 1e6:.4g} megapixels; reduce it first")


def _named(error: SourceError, name: str) -> SourceError:
    return SourceError(f"{printable(name)}: {error}") if name else error
