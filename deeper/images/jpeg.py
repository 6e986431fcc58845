"""JPEG files by libjpeg-turbo: quick, scaled while decoding, and strict.

Pillow shows what is missing of a damaged scan as grey and says nothing; here libjpeg's own warnings decide.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from deeper.errors import SourceError

MAGIC = b"\xff\xd8\xff"
# Each scan of a progressive file passes over the whole picture, and an empty scan takes ten bytes: the product is
# limited, or a small file could keep a processor busy for hours. An ordinary progressive file has about ten scans.
_MAX_SCANNED, _LEAST_SCAN = 4 << 30, 10
# A few stray bytes before the end marker are common in cameras' files. After it nothing comes that could be damaged:
# libjpeg tells the first of its warnings alone, so that no other can be passed over.
_HARMLESS = re.compile(r": [1-8] extraneous bytes before marker 0xd9")
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# Whose scans have all coefficients.
_SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC9})
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
# What ends the pixels of a scan: no stuffed byte, and no mark to restart at.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class Header(NamedTuple):
    """`colorspace` as libjpeg-turbo names it: Gray, YCbCr, RGB, CMYK, YCCK. `exif` is empty where there is none.
    `whole`: whether libjpeg keeps the whole picture's coefficients, at whatever size it is decoded, because it comes in
    several scans."""

    height: int
    width: int
    colorspace: str
    exif: bytes
    whole: bool


def read_header(data: bytes) -> Header:
    """What the segments before the pixels say; the size is that before any turn. Raises: SourceError."""
    try:
        height, width, colorspace = _said(data)
    except SourceError:
        if (mended := _mended(data)) == data:
            raise
        height, width, colorspace = _said(mended)
    return Header(height, width, colorspace, *_segments(data))


def decode(data: bytes, header: Header, reduction: int = 1) -> NDArray[np.uint8]:
    """The pixels, not turned. `reduction`: 1, 2, 4 or 8. Shape: ⌈H/reduction⌉ × ⌈W/reduction⌉ × C.

    Raises: SourceError, for files that end early or whose scan is damaged.
    """
    pixels_each = header.height * header.width
    # Counting takes longer than it sounds, and so small a file cannot hold so many.
    if pixels_each * (len(data) // _LEAST_SCAN) > _MAX_SCANNED and pixels_each * data.count(b"\xff\xda") > _MAX_SCANNED:
        raise SourceError("a JPEG with far too many scans for its size; save it again")
    ink = header.colorspace in ("CMYK", "YCCK")
    wanted = "GRAY" if header.colorspace == "Gray" else "CMYK" if ink else "RGB"
    try:
        pixels = _pixels(data, header, wanted, reduction)
    except SourceError:
        if (mended := _mended(data)) == data:
            raise
        pixels = _pixels(mended, header, wanted, reduction)
    return _without_ink(pixels) if ink else pixels


def reduction_for(header_size: tuple[int, int], at_least: tuple[int, int] | None) -> int:
    """The largest of 8, 4, 2 that leaves both sides at least so long, else 1."""
    if at_least is not None:
        for factor in (8, 4, 2):
            if all(-(-size // factor) >= wanted for size, wanted in zip(header_size, at_least, strict=True)):
                return factor
    return 1


def _said(data: bytes) -> tuple[int, int, str]:
    """Height, width and colour space. Raises: SourceError."""
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, RuntimeError) as error:
        raise SourceError(_reason(str(error), data)) from None
    except KeyError:  # a subsampling that simplejpeg has no name for; it decodes such files all the same
        try:
            with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
                named = {"L": "Gray", "CMYK": "CMYK"}.get(picture.mode, "YCbCr")
                return picture.height, picture.width, named
        except Image.DecompressionBombError:
            raise SourceError("too many pixels; reduce it first") from None
        except (OSError, SyntaxError, ValueError):
            raise SourceError("damaged JPEG") from None
    return height, width, colorspace


def _pixels(data: bytes, header: Header, colorspace: str, reduction: int) -> NDArray[np.uint8]:
    """Raises: SourceError, whenever libjpeg warns of anything but what is harmless."""
    try:
        return _turbo(data, header, colorspace, reduction, strict=True)
    except (ValueError, RuntimeError) as error:
        problem = error
    if _HARMLESS.search(str(problem)):
        try:
            return _turbo(data, header, colorspace, reduction, strict=False)
        except (ValueError, RuntimeError) as error:
            problem = error
    raise SourceError(_reason(str(problem), data))


def _mended(data: bytes) -> bytes:
    """The same file with numbers put right that some programs write wrong, that decoders ignore, and that libjpeg warns of:
    JFIF's version, Adobe's colour transform, and a scan's range of coefficients where there is but one."""
    result = bytearray(data)
    components, single = 0, False
    adobe: int | None = None
    for marker, start, end in _walked(data):
        body = data[start:end]
        if marker == 0xE0 and body[:5] == b"JFIF\0" and len(body) > 5:
            result[start + 5] = 1
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) > 11 and body[11] > 0:
            adobe = start + 11
        elif marker in _FRAMES and len(body) > 5:
            components, single = body[5], marker in _SEQUENTIAL
        elif marker == 0xDA and single and len(body) > 3:
            result[end - 3 : end] = b"\x00\x3f\x00"
    if adobe is not None:
        result[adobe] = 2 if components == 4 else 1
    return bytes(result)


def _walked(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Every segment: its marker, and where its body begins and ends. Pixels are passed over."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF or marker in _STANDALONE:
            position += 1 if marker == 0xFF else 2
            continue
        if marker == 0xD9:
            return
        end = position + 2 + max(2, int.from_bytes(data[position + 2 : position + 4], "big"))
        yield marker, position + 4, min(end, len(data))
        position = end
        if marker == 0xDA:
            following = _MARKER.search(data, end)
            if following is None:
                return
            position = following.start()


def _turbo(data: bytes, header: Header, colorspace: str, reduction: int, *, strict: bool) -> NDArray[np.uint8]:
    if reduction == 1:
        pixels = simplejpeg.decode_jpeg(data, colorspace=colorspace, strict=strict)
    else:
        pixels = simplejpeg.decode_jpeg(
            data,
            colorspace=colorspace,
            min_height=-(-header.height // reduction),
            min_width=-(-header.width // reduction),
            min_factor=reduction,
            strict=strict,
        )
    return np.asarray(pixels, np.uint8)


def _without_ink(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    # As Pillow and the browsers do, every CMYK file is taken to be inverted, the way Adobe writes them.
    result = np.empty((*pixels.shape[:2], 3), np.uint8)
    rows = max(1, (4 << 20) // pixels.shape[1])
    for first in range(0, len(pixels), rows):
        band = np.ascontiguousarray(255 - pixels[first : first + rows])
        result[first : first + rows] = np.asarray(Image.fromarray(band, "CMYK").convert("RGB"))
    return result


def _segments(data: bytes) -> tuple[bytes, bool]:
    """The body of the first Exif segment, and whether there are several scans: progressive, or the first one is not of all
    components. Only the segments before the first scan are looked at, each once."""
    exif, whole, components = b"", False, 0
    for marker, start, end in _walked(data):
        if marker == 0xDA:
            return exif, whole or (start < end and data[start] < components)
        if marker == 0xE1 and not exif and data[start : start + 6] == b"Exif\0\0":
            exif = data[start:end]
        if marker in _FRAMES and start + 5 < end:
            whole, components = marker in _PROGRESSIVE, data[start + 5]
    return exif, whole


def _reason(message: str, data: bytes) -> str:
    text = message.lower()
    # A file cut among its tables makes libjpeg complain about those; it is the end marker that is missing.
    if "premature end" in text or data.rfind(b"\xff\xd9") <= data.rfind(b"\xff\xda"):
        return "truncated JPEG"
    if "subsampling" in text:
        return "a JPEG of an unusual chroma subsampling; save it again"
    if "precision" in text:
        return "a JPEG of 12 or 16 bits; save it as 8-bit JPEG or as PNG"
    return "damaged JPEG"
