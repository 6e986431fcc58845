"""Files that the tests make: by Pillow where it can, by hand where it refuses."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ORIENTATION = 0x0112


def saved(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def gradient(height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    """Smooth, so that lossy formats keep it, and without any symmetry."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 / width, y * 255 / height, (x + 2 * y) * 80 / (width + 2 * height)], -1).astype(np.uint8)


def with_orientation(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_by_hand(width: int, height: int, raw: bytes, colour: int = 2, depth: int = 8, interlace: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def gif_by_hand(screen: tuple[int, int], frame: tuple[int, int], lzw: bytes) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", *screen, 0x81, 0, 0)
        + bytes(range(12))
        + b","
        + struct.pack("<HHHHB", 0, 0, *frame, 0)
        + b"\x02"
        + bytes([len(lzw)])
        + lzw
        + b"\x00;"
    )
