"""File bytes → pixels, by one stated policy:

- the EXIF turn is applied, for JPEG, PNG and whatever else carries one;
- CMYK and YCCK become RGB, Adobe's inverted ones too; YCbCr and HSV become RGB; LAB is refused;
- 16-bit grey is scaled to 8 bits over its full range, not cut; 16-bit colour keeps its high byte;
- alpha, also of a palette, is laid over white; palettes become RGB; one bit becomes 0 and 255;
- of an animation the first frame is taken;
- half a picture is none: truncated files are refused, and so is what holds more than `MAX_PIXELS`.

The result has one channel for grey files and three for all others.
"""

from __future__ import annotations

import io
import struct
import warnings
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from deeper.errors import MissingExtraError, SourceError, printable
from deeper.images.arrays import scale_16_bits

# Pillow's own limit against decompression bombs (twice its warning threshold): 178 megapixels, 534 MB as RGB.
MAX_PIXELS = 2 * 89_478_485
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"
_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}
# Where an Exif segment stands in a JPEG: among the first ones, each at most 64 KiB.
_EXIF_WITHIN = 256 << 10
_ORIENTATION = 0x0112

# We check the size ourselves and refuse with a reason; Pillow would warn about half of it besides.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class Probe(NamedTuple):
    """What a file says of itself: `format` as Pillow names it, size after the EXIF turn, channels 1 or 3."""

    format: str
    height: int
    width: int
    channels: int


def is_kept(data: bytes) -> bool:
    """Whether a dataset keeps these bytes as they are: JPEG and PNG. Anything else is stored as PNG."""
    return data.startswith((_JPEG, _PNG))


def decode(
    data: bytes, *, name: str = "", channels: int | None = None, at_least: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Decode a file's bytes. Shape: H × W × C, C 1 or 3. dtype: uint8.

    `name` is for messages. `channels`: convert to so many. `at_least`: a height and width that will do: a JPEG that
    is more than twice as large in both is decoded at 1/2, 1/4 or 1/8, whichever is the smallest that still covers it
    (a function of the file's size and `at_least` alone).

    Raises: SourceError, with a short reason; MissingExtraError, for HEIC without its extra.
    """
    try:
        picture = _decode(data, at_least)
    except SourceError as error:
        raise SourceError(f"{printable(name)}: {error}" if name else str(error)) from None
    return picture if channels is None else to_channels(picture, channels)


def probe(data: bytes, name: str = "") -> Probe:
    """Format, size after the turn, and channels, from the header alone. Raises: SourceError."""
    try:
        with _opened(data) as picture:
            width, height = picture.size
            if _orientation(data, picture) >= 5:
                height, width = width, height
            grey = picture.mode in ("1", "L", "LA", "La", "I", "F") or picture.mode.startswith("I;16")
            return Probe(picture.format or "", height, width, 1 if grey else 3)
    except SourceError as error:
        raise SourceError(f"{printable(name)}: {error}" if name else str(error)) from None


def to_channels(picture: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Grey ↔ colour. Grey is repeated; colour becomes luma, (299 R + 587 G + 114 B) / 1000 rounded (ITU-R 601-2)."""
    has = picture.shape[2]
    if has == channels:
        return picture
    if has == 1 and channels == 3:
        return np.repeat(picture, 3, axis=2)
    if has == 3 and channels == 1:
        return np.asarray(Image.fromarray(picture).convert("L"))[..., None]
    raise SourceError(f"a picture of {has} channels cannot become one of {channels}; wanted 1 or 3")


def turn(picture: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Apply an EXIF orientation (1 to 8) to H × W × C pixels."""
    if orientation in (5, 6, 7, 8):
        picture = picture.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return np.ascontiguousarray(picture)


def _decode(data: bytes, at_least: tuple[int, int] | None) -> NDArray[np.uint8]:
    if data.startswith(_JPEG):
        picture = _decode_jpeg(data, at_least)
        if picture is not None:
            return picture
    with _opened(data) as opened:
        orientation = _orientation(data, opened)
        try:
            opened.load()
        except (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, TypeError) as error:
            raise SourceError(f"{_reason(error)} {opened.format or 'picture'}") from None
        except MemoryError:
            raise SourceError("needs more memory than there is") from None
        pixels = _pixels(opened)
    return turn(pixels, orientation) if orientation > 1 else pixels


def _decode_jpeg(data: bytes, at_least: tuple[int, int] | None) -> NDArray[np.uint8] | None:
    """The quick way for ordinary JPEGs; None where Pillow has to decide (CMYK, damage)."""
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        if height * width > MAX_PIXELS:
            raise SourceError(_too_large(height, width))
        if colorspace not in ("Gray", "YCbCr", "RGB"):
            return None
        orientation = 1
        if b"Exif\0\0" in data[:_EXIF_WITHIN]:
            with _opened(data) as opened:
                orientation = _orientation(data, opened)
        rows, columns = at_least or (0, 0)
        if orientation >= 5:
            rows, columns = columns, rows
        pixels = simplejpeg.decode_jpeg(
            data, colorspace="GRAY" if colorspace == "Gray" else "RGB", min_height=rows, min_width=columns
        )
    except (ValueError, RuntimeError):
        return None
    return turn(pixels, orientation) if orientation > 1 else pixels


def _opened(data: bytes) -> Image.Image:
    if not data:
        raise SourceError("empty file")
    try:
        picture = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise SourceError(_not_a_picture(data)) from None
    except Image.DecompressionBombError:
        raise SourceError(f"more than {MAX_PIXELS // 10**6} megapixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, TypeError, OverflowError) as error:
        raise SourceError(f"{_reason(error)} picture") from None
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise SourceError(_too_large(height, width))
    return picture


def _too_large(height: int, width: int) -> str:
    return f"{width}×{height} pixels are more than {MAX_PIXELS // 10**6} megapixels; reduce it first"


def _not_a_picture(data: bytes) -> str:
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        try:
            import pillow_heif
        except ImportError:
            raise MissingExtraError("a HEIC picture needs an extra: pip install 'deeper[heic]'") from None
        pillow_heif.register_heif_opener()
        return "damaged HEIC"
    head = data[:512]
    if data.startswith(_JPEG):
        return "damaged JPEG"
    if data.startswith(_PNG):
        return "damaged PNG"
    if b"\0" not in head and sum(byte < 9 for byte in head) == 0:
        return "not a picture: text"
    return "not a picture, or of an unknown format"


def _reason(error: BaseException) -> str:
    text = str(error).lower()
    return "truncated" if "truncated" in text or "unrecognized data stream" in text or isinstance(error, EOFError) else "damaged"


def _orientation(data: bytes, picture: Image.Image) -> int:
    # Reading EXIF costs more than decoding a small picture: only where there is any.
    if picture.format == "PNG" and b"eXIf" not in data and b"Raw profile type exif" not in data:
        return 1
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001  # broken EXIF must not cost the picture
        return 1
    return orientation if orientation in range(1, 9) else 1


def _pixels(picture: Image.Image) -> NDArray[np.uint8]:
    mode = picture.mode
    if mode == "L" and "transparency" not in picture.info:
        return np.asarray(picture)[..., None]
    if mode == "RGB" and "transparency" not in picture.info:
        return np.asarray(picture)
    if mode == "1":
        return np.asarray(picture.convert("L"))[..., None]
    if mode.startswith("I;16"):
        return scale_16_bits(np.asarray(picture).astype(np.uint16))[..., None]
    if mode == "I":
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise SourceError("32-bit grey values beyond 16 bits")
        return (values.astype(np.uint8) if values.max() <= 255 else scale_16_bits(values.astype(np.uint16)))[..., None]
    if mode in ("LA", "La"):
        return _over_white(picture.convert("RGBA"))[..., :1]
    if mode == "L":
        return _over_white(picture.convert("RGBA"))[..., :1]
    if mode in ("RGBA", "RGBa", "PA") or "transparency" in picture.info:
        return _over_white(picture.convert("RGBA"))
    if mode in ("P", "CMYK", "YCbCr", "HSV", "RGBX"):
        return np.asarray(picture.convert("RGB"))
    raise SourceError(f"pixels of kind {mode} are not supported; save it as 8-bit PNG or JPEG")


def _over_white(picture: Image.Image) -> NDArray[np.uint8]:
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"))
