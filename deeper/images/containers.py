"""Opening what is neither an ordinary JPEG nor a small PNG: which formats are read, and why others are not."""

from __future__ import annotations

import io
import re
import threading
import warnings

from PIL import Image, UnidentifiedImageError

from deeper.errors import MissingExtraError, SourceError, how_to_install
from deeper.images import jpeg, png

# Only formats that hold pixels and show themselves by their first bytes. Pillow knows more, which a stranger's file
# must not reach: EPS starts Ghostscript, HDF5, GRIB and WMF call handlers that other packages install.
_FORMATS = ("PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "PCX", "QOI", "SGI", "ICO", "PSD")
# TGA has no first bytes of its own, only this footer in its second version.
_TGA_FOOTER = b"TRUEVISION-XFILE.\0"
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"})
_LARGEST_ICON, _MOST_IN_ICON = 256, 256
_ORIENTATION = 0x0112
_SUBFILE = 0x00FE
_heic_lock = threading.Lock()

# Pillow warns about large pictures and odd tags; what we cannot use we refuse with a reason. (Catching warnings where
# they arise would not be safe among threads.)
warnings.filterwarnings("ignore", module=r"PIL\.")


def open_picture(data: bytes) -> Image.Image:
    """Read the header with Pillow; pixels are not decoded yet. Raises: SourceError, MissingExtraError."""
    if not data:
        raise SourceError("empty file")
    if data[8:10] == b"CR" and data[:2] in (b"II", b"MM"):
        raise SourceError("a camera's raw file; export it as JPEG or PNG")
    if data[:4] in (b"\0\0\1\0", b"\0\0\2\0") and _holds_more_than_an_icon(data):
        raise SourceError("an icon with a picture of more than 256 pixels; export it as PNG")
    formats = (*_FORMATS, "TGA") if data.endswith(_TGA_FOOTER) else _FORMATS
    try:
        try:
            picture: Image.Image = Image.open(io.BytesIO(data), formats=formats)
        except UnidentifiedImageError:
            if not _is_heic(data):
                raise SourceError(_not_a_picture(data)) from None
            picture = _open_heic(data)
    except (SourceError, MissingExtraError):
        raise
    except Image.DecompressionBombError:
        raise SourceError("too many pixels; reduce it first") from None
    except MemoryError as error:
        raise SourceError("needs more memory than there is") from error
    except Exception as error:  # Pillow's parsers raise nearly anything on hostile bytes
        raise SourceError(reason(error, "picture")) from None
    # Cameras' raw files are TIFF too, and begin with a thumbnail.
    if (tiff_tag(picture, _SUBFILE) or 0) & 1:
        raise SourceError("a camera's raw file or a mere thumbnail; export it as JPEG or PNG")
    return picture


def load(picture: Image.Image) -> None:
    """Decode the pixels of an opened picture, in place. Raises: SourceError."""
    try:
        picture.load()
    except MemoryError as error:
        raise SourceError("needs more memory than there is") from error
    except Image.DecompressionBombError:
        raise SourceError("too many pixels; reduce it first") from None
    except Exception as error:  # see `open_picture`
        raise SourceError(reason(error, picture.format or "picture")) from None


def exif_of(picture: Image.Image) -> bytes:
    """The Exif body a picture carries, without Pillow's search through XMP; empty where there is none.

    TIFF files yield none: Pillow turns those itself when it loads them.
    """
    if picture.format == "TIFF":
        return b""
    exif = picture.info.get("exif", b"")
    profile = picture.info.get("Raw profile type exif")
    if not exif and isinstance(profile, str):  # ImageMagick's older way in PNG: three lines, then hexadecimal
        try:
            exif = bytes.fromhex("".join(profile.split("\n")[3:]))
        except ValueError:
            return b""
    return exif if isinstance(exif, bytes) else b""


def orientation(exif: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 where it is missing or its segment is damaged: that must not cost the picture."""
    if not exif:
        return 1
    tags = Image.Exif()
    try:
        tags.load(exif)
        value = tags.get(_ORIENTATION, 1)
    except Exception:  # see above
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def tiff_tag(picture: Image.Image, tag: int) -> int | None:
    """The first number under a TIFF tag; None in other formats and where it is missing."""
    if picture.format != "TIFF":
        return None
    tags = getattr(picture, "tag_v2", {})
    try:
        value = tags.get(tag)
    except Exception:  # a tag is parsed when it is asked for, and the file may be hostile
        return None
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else None


def reason(error: BaseException, kind: str) -> str:
    """A short phrase for what Pillow raised."""
    text = str(error).lower()
    cut = isinstance(error, EOFError) or re.search(r"truncated|not enough|unexpected end|end of file", text)
    return f"{'truncated' if cut else 'damaged'} {kind}"


def _holds_more_than_an_icon(data: bytes) -> bool:
    # Pillow unpacks an icon's picture while it opens the file, before anybody has asked how large it is.
    count = int.from_bytes(data[4:6], "little")
    if count > _MOST_IN_ICON:
        return True
    for number in range(count):
        entry = data[6 + 16 * number : 22 + 16 * number]
        if len(entry) < 16:
            break
        start = int.from_bytes(entry[12:16], "little")
        if data[start : start + 8] == png.MAGIC:
            width, height = png.largest_sides(data, start)
        else:
            # A bitmap's header counts the rows of the picture and of its mask.
            width = abs(int.from_bytes(data[start + 4 : start + 8], "little", signed=True))
            height = abs(int.from_bytes(data[start + 8 : start + 12], "little", signed=True)) // 2
        if max(width, height) > _LARGEST_ICON:
            return True
    return False


def _is_heic(data: bytes) -> bool:
    if data[4:8] != b"ftyp":
        return False
    box = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    brands = {box[i : i + 4] for i in range(0, len(box), 4) if i != 4}
    return b"avif" not in brands and not _HEIC_BRANDS.isdisjoint(brands)


def _open_heic(data: bytes) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        raise MissingExtraError(f"a HEIC picture needs an extra package: {how_to_install('heic')}") from None
    with _heic_lock:
        pillow_heif.register_heif_opener()
    try:
        return Image.open(io.BytesIO(data), formats=("HEIF",))
    except UnidentifiedImageError:
        raise SourceError("damaged HEIC") from None


def _not_a_picture(data: bytes) -> str:
    head = data[:1024]
    if data.startswith(jpeg.MAGIC):
        return "damaged JPEG"
    if data.startswith(png.MAGIC):
        return "damaged PNG"
    if head.startswith((b"%PDF-", b"%!PS")):
        return "a document (PDF or PostScript), not a picture"
    if b"<svg" in head:
        return "a drawing (SVG), not a picture; export it as PNG"
    if not head.strip(b"\0"):
        return "nothing but zero bytes"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "truncated or damaged TIFF"
    if data[4:12] == b"ftypavif":
        return "truncated or damaged AVIF"
    if not re.search(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]", head):
        return "not a picture: text"
    return "not a picture, or of an unknown format"
