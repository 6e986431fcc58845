"""PNG files: a check of the chunks, an encoder, and a quick way for small ones.

A set like MNIST is 70,000 pictures of 28 × 28, where the time goes to Pillow's bookkeeping and not to pixels.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper.errors import SourceError

MAGIC = b"\x89PNG\r\n\x1a\n"
_HEADER = MAGIC + b"\0\0\0\rIHDR"
_END = b"\0\0\0\0IEND\xaeB`\x82"
# Pixel bytes up to which rows are stored unfiltered: as small as filtered ones for such pictures, and much quicker.
_SMALL = 4096
# Chunks before the pixel data, of a picture in an icon.
_FEW = 64
_COLOUR_TYPES = {0: 1, 2: 3}
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Bytes that are inflated at once: what was not taken is copied each time.
_STEP = 1 << 16
# Pillow's names of what lies in the file, of those whose transparent colour it leaves on the file's scale.
_RAW_MODES = {"L;2": 2, "L;4": 4, "RGB;16B": 48}
# Chunks that say nothing of the pixels as they are read here; and the one text among them that may hold the EXIF turn.
_UNREAD = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})
_OLDER_EXIF = b"Raw profile type exif\0"
# Adam7 (PNG specification, 8.2): where each pass begins, and its steps: x, y, x step, y step.
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


class Checked(NamedTuple):
    """What the chunks say. `exif` is empty where there is none. `body`: where each piece of pixel data lies; `unread`: the
    chunks that nothing here asks for, texts and colour profiles."""

    height: int
    width: int
    bits: int
    interlaced: bool
    exif: bytes
    body: list[slice]
    unread: list[slice]


def size_of(data: bytes) -> tuple[int, int] | None:
    """(height, width) as the header says, and nothing more is looked at; None for what does not begin as a PNG."""
    if not data.startswith(_HEADER) or len(data) < 33:
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def largest_sides(data: bytes, start: int) -> tuple[int, int]:
    """(width, height) of the PNG that begins at `start`, the largest that any header before its pixels says: decoders go
    by the last."""
    width = height = 0
    position = start + len(MAGIC)
    for _ in range(_FEW):
        if position + 24 > len(data) or data[position + 4 : position + 8] == b"IDAT":
            return width, height
        if data[position + 4 : position + 8] == b"IHDR":
            wide, high = struct.unpack_from(">II", data, position + 8)
            width, height = max(width, wide), max(height, high)
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return 1 << 31, 1 << 31  # nothing honest has so many chunks before its pixels


def check(data: bytes) -> Checked:
    """Walk the chunks: all complete, every checksum right. Pillow skips those of pixel data. Raises: SourceError."""
    if not data.startswith(_HEADER) or len(data) < 33:
        raise SourceError("damaged PNG" if len(data) >= 33 else "truncated PNG")
    width, height, depth, colour, _, _, interlace = struct.unpack_from(">IIBBBBB", data, 16)
    view = memoryview(data)
    position, exif, body, unread = len(MAGIC), b"", [], []
    while True:
        if position + 12 > len(data):
            raise SourceError("truncated PNG")
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        stop = position + 8 + length
        if stop + 4 > len(data):
            raise SourceError("truncated PNG")
        if zlib.crc32(view[position + 4 : stop]) != int.from_bytes(data[stop : stop + 4], "big"):
            raise SourceError("damaged PNG")
        if kind == b"IHDR" and position != len(MAGIC):
            raise SourceError("damaged PNG")  # its size would be another one than the first says
        if kind == b"eXIf":
            exif = data[position + 8 : stop]
        if kind == b"IDAT":
            body.append(slice(position + 8, stop))
        if kind in _UNREAD and not data.startswith(_OLDER_EXIF, position + 8, stop):
            unread.append(slice(position, stop + 4))
        if kind == b"IEND":
            return Checked(height, width, depth * _SAMPLES.get(colour, 1), bool(interlace), exif, body, unread)
        position = stop + 4


def without_unread(data: bytes, checked: Checked) -> bytes:
    """The file without texts and profiles. Pillow unpacks them while it opens a file, and refuses the whole picture for a
    megabyte of history that an editor wrote into it."""
    if not checked.unread:
        return data
    edges = [0, *(edge for one in checked.unread for edge in (one.start, one.stop)), len(data)]
    return b"".join(data[first:last] for first, last in zip(edges[::2], edges[1::2]))


def bits_of(picture: Image.Image) -> int:
    """Bits of a pixel in a PNG that Pillow has opened and not loaded yet; 0 where that cannot be told any more."""
    if picture.format != "PNG" or not picture.tile:  # type: ignore[attr-defined]
        return 0
    raw = picture.tile[0][3]  # type: ignore[attr-defined]
    return _RAW_MODES.get(raw if isinstance(raw, str) else raw[0], 0)


def as_8_bits(bits: int, mode: str, key: Any) -> Any:
    """A transparent colour as the file has it → on the scale of pixels of Pillow's `mode`: grey of 2 and 4 bits is spread
    over 0..255, 16-bit colour keeps its high byte. Indices of palettes, and 16-bit grey, stay as they are."""
    if mode == "L" and bits in (2, 4) and isinstance(key, int):
        return key * 255 // ((1 << bits) - 1)
    if mode == "RGB" and bits == 48 and isinstance(key, tuple):
        return tuple(value >> 8 for value in key)
    return key


def is_complete(data: bytes, checked: Checked) -> bool:
    """Whether the pixel data, inflated, is long enough. Where it ends early, Pillow leaves the rest black."""
    passes = _PASSES if checked.interlaced else ((0, 0, 1, 1),)
    missing = 0
    for x, y, across, down in passes:
        columns, rows = -(-(checked.width - x) // across), -(-(checked.height - y) // down)
        if columns > 0 and rows > 0:
            missing += rows * (1 + (columns * checked.bits + 7) // 8)
    inflate = zlib.decompressobj()
    try:
        steps = (
            data[at : min(at + _STEP, one.stop)] for one in checked.body for at in range(one.start, one.stop, _STEP)
        )
        for rest in steps:
            while rest and missing > 0 and not inflate.eof:
                missing -= len(inflate.decompress(rest, 1 << 20))
                rest = inflate.unconsumed_tail
        # What the last pieces left inside.
        while missing > 0 and not inflate.eof and (inflated := inflate.decompress(b"", 1 << 20)):
            missing -= len(inflated)
    except zlib.error:
        return False
    return missing <= 0


def decode_small(data: bytes) -> NDArray[np.uint8] | None:
    """Pixels of a small PNG written as `encode` does; None for any other, which Pillow has to read."""
    if len(data) > 2 * _SMALL or not data.startswith(_HEADER) or data[37:41] != b"IDAT" or data[-12:] != _END:
        return None
    width, height, depth, colour, *methods = struct.unpack_from(">IIBBBBB", data, 16)
    length = int.from_bytes(data[33:37], "big")
    if depth != 8 or colour not in _COLOUR_TYPES or any(methods) or 41 + length + 16 != len(data):
        return None
    channels = _COLOUR_TYPES[colour]
    stride = 1 + width * channels
    if not 0 < height * (stride - 1) <= _SMALL:
        return None
    crcs = zlib.crc32(data[12:29]), zlib.crc32(data[37:-16])
    if crcs != (int.from_bytes(data[29:33], "big"), int.from_bytes(data[-16:-12], "big")):
        return None
    inflate = zlib.decompressobj()
    try:
        rows = inflate.decompress(data[41:-16], height * stride + 1)
    except zlib.error:
        return None
    if len(rows) != height * stride or not inflate.eof or any(rows[::stride]):
        return None
    return np.frombuffer(rows, np.uint8).reshape(height, stride)[:, 1:].reshape(height, width, channels).copy()


def encode(picture: NDArray[np.uint8]) -> bytes:
    """uint8 H × W × 1 or 3 as 8-bit PNG. Equal pixels give equal bytes (with the same zlib and Pillow)."""
    height, width, channels = picture.shape
    if picture.size > _SMALL:
        image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=6)
        return buffer.getvalue()
    rows = np.zeros((height, 1 + width * channels), np.uint8)
    rows[:, 1:] = picture.reshape(height, -1)
    size = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    return MAGIC + _chunk(b"IHDR", size) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)) + _END


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big")
