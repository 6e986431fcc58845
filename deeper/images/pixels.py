"""Every kind of pixel that Pillow knows → 8 bits, one channel or three, by the policy that `decode` states."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper.errors import SourceError
from deeper.images.containers import tiff_tag

# Pixels converted at once: intermediate copies, of up to four times the size, stay small beside a large picture.
_BAND = 4 << 20
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_GREY = ("1", "L", "LA", "La", "I")


def channels_of(picture: Image.Image) -> int:
    """How many channels `to_pixels` will give: 1 for grey kinds, 3 for all others."""
    return 1 if picture.mode in _GREY or picture.mode.startswith("I;16") else 3


def to_pixels(picture: Image.Image) -> NDArray[np.uint8]:
    """The pixels of a loaded picture. Shape: H × W × C, C 1 or 3. Raises: SourceError, for kinds without a range."""
    mode = picture.mode
    if mode == "F" or (mode == "I" and picture.format != "PPM"):
        raise SourceError("numbers without a stated range (32-bit or signed); save it with 8 or 16 bits")
    width, height = picture.size
    rows = max(1, _BAND // max(1, width))
    if height <= rows:
        return _convert(picture, picture)
    result = np.empty((height, width, channels_of(picture)), np.uint8)
    for first in range(0, height, rows):
        last = min(height, first + rows)
        result[first:last] = _convert(picture.crop((0, first, width, last)), picture)
    return result


def scale_16_bits(values: NDArray[np.uint16], largest: int = 65535) -> NDArray[np.uint8]:
    """0..largest → 0..255, proportionally and rounded."""
    scaled = (values.astype(np.uint32) * 255 + largest // 2) // largest
    return np.minimum(scaled, 255).astype(np.uint8)


def _convert(band: Image.Image, whole: Image.Image) -> NDArray[np.uint8]:
    mode, transparent = band.mode, "transparency" in whole.info
    if mode == "I" or mode.startswith("I;16"):
        return _from_16_bits(band, whole)
    if mode in ("L", "1") and not transparent:
        return np.array(band if mode == "L" else band.convert("L"))[..., None]
    if mode in ("L", "1", "LA", "La"):
        return _over_white(np.asarray(band if band.mode == "LA" else band.convert("LA")))
    if mode in ("RGBA", "RGBa", "PA") or (mode in ("P", "RGB") and transparent):
        return _over_white(np.asarray(band if mode == "RGBA" else band.convert("RGBA")))
    if mode == "LAB":
        return np.array(_from_lab(band))
    if mode in ("RGB", "P", "CMYK", "YCbCr", "HSV", "RGBX"):
        return np.array(band if mode == "RGB" else band.convert("RGB"))
    raise SourceError(f"pixels of kind {mode} are not supported; save it as 8-bit PNG or JPEG")


def _from_16_bits(band: Image.Image, whole: Image.Image) -> NDArray[np.uint8]:
    values = np.asarray(band).astype(np.uint16)
    # TIFF may hold 12 bits in 16, and count from white to black; Pillow leaves both as they are.
    bits = tiff_tag(whole, _BITS_PER_SAMPLE)
    pixels = scale_16_bits(values, 4095 if bits == 12 else 65535)
    if tiff_tag(whole, _PHOTOMETRIC) == 0:
        pixels = 255 - pixels
    key = whole.info.get("transparency")
    if isinstance(key, int):
        pixels[values == key] = 255
    return pixels[..., None]


def _over_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """… × C + 1 with alpha last → … × C, rounded."""
    alpha = pixels[..., -1:].astype(np.uint16)
    # The sum is at most 255² + 127, which 16 bits hold.
    return ((pixels[..., :-1] * alpha + (255 - alpha) * 255 + 127) // 255).astype(np.uint8)


def _from_lab(band: Image.Image) -> Image.Image:
    try:
        from PIL import ImageCms
    except ImportError:
        raise SourceError("LAB pixels, which this Pillow cannot convert; save it as 8-bit PNG or JPEG") from None
    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    converted = ImageCms.applyTransform(band, transform)
    assert converted is not None
    return converted
