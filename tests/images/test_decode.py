from __future__ import annotations

import io
import struct
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from deeper import images
from deeper.errors import MissingExtraError, SourceError
from deeper.images import png
from tests.images.files import gradient, png_by_hand, saved, with_orientation

PICTURE = gradient()
LOSSLESS: list[tuple[str, dict[str, Any]]] = [
    ("PNG", {}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_deflate"}),
    ("WEBP", {"lossless": True}),
    ("JPEG2000", {}),
    ("PPM", {}),
    ("PCX", {}),
    ("QOI", {}),
    ("SGI", {}),
    ("TGA", {}),
    ("ICO", {"bitmap_format": "png", "sizes": [(60, 40)]}),
]


def difference(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> int:
    assert first.shape == second.shape
    return int(np.abs(first.astype(int) - second.astype(int)).max())


def agrees_with_probe(data: bytes, file_format: str) -> NDArray[np.uint8]:
    picture = images.decode(data)
    assert images.probe(data) == (file_format, *picture.shape)
    assert picture.dtype == np.uint8
    assert picture.flags.writeable
    assert picture.flags.c_contiguous
    return picture


@pytest.mark.parametrize(("file_format", "options"), LOSSLESS)
def test_lossless_formats_keep_every_pixel(file_format: str, options: dict[str, Any]) -> None:
    data = saved(Image.fromarray(PICTURE), file_format, **options)
    np.testing.assert_array_equal(agrees_with_probe(data, file_format), PICTURE)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "JPEG2000", "PPM", "GIF", "BMP"])
def test_grey_stays_one_channel(file_format: str) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = images.decode(saved(Image.fromarray(grey), file_format))
    np.testing.assert_array_equal(picture[..., 0], grey)
    assert picture.shape == (16, 16, 1)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"keep_rgb": True}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "YCbCr"])
def test_jpeg_is_close_to_the_truth_and_to_pillow(mode: str, options: dict[str, Any]) -> None:
    source = Image.fromarray(PICTURE).convert(mode)
    data = saved(source, "JPEG", quality=95, **options)
    picture = agrees_with_probe(data, "JPEG")
    assert picture.shape[2] == (1 if mode == "L" else 3)
    truth = np.asarray(source if mode == "L" else source.convert("RGB")).reshape(picture.shape)
    assert difference(picture, truth) <= 12
    pillow = Image.open(io.BytesIO(data))
    assert difference(picture, np.asarray(pillow if mode == "L" else pillow.convert("RGB")).reshape(picture.shape)) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("colour", [True, False])
def test_exif_turn(file_format: str, orientation: int, colour: bool) -> None:
    """Pillow's `exif_transpose` undoes what the tag says; so do we, once and only once."""
    source = Image.fromarray(PICTURE if colour else PICTURE[..., 0].copy())
    options: dict[str, Any] = {"lossless": True} if file_format == "WEBP" else {}
    options = {"quality": 95, "subsampling": 0} if file_format == "JPEG" else options
    options = {"quality": 100, "subsampling": "4:4:4"} if file_format == "AVIF" else options
    data = saved(source, file_format, exif=with_orientation(orientation), **options)
    tagged = source.copy()
    tagged.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(tagged))
    picture = agrees_with_probe(data, file_format)
    if picture.shape[2] == 3 and not colour:  # WebP and AVIF have no grey
        picture = picture[..., :1]
    assert difference(picture, upright.reshape(*upright.shape[:2], -1)) <= (
        12 if file_format in ("JPEG", "AVIF") else 0
    )


def test_orientation_moves_the_corner_where_the_standard_says() -> None:
    # EXIF 2.3, table of tag 0x0112: where row 0, column 0 of the file is seen.
    source = Image.new("L", (3, 2))
    source.putpixel((0, 0), 255)
    seen = {1: (0, 0), 2: (0, 2), 3: (1, 2), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (2, 1), 8: (2, 0)}
    for orientation, corner in seen.items():
        picture = images.decode(saved(source, "PNG", exif=with_orientation(orientation)))
        assert tuple(np.argwhere(picture[..., 0] == 255)[0]) == corner
        assert picture.shape[:2] == ((2, 3) if orientation < 5 else (3, 2))


def test_damaged_exif_does_not_cost_the_picture() -> None:
    data = saved(Image.fromarray(PICTURE), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xffrubbish")
    assert images.decode(data).shape == (40, 60, 3)
    data = saved(Image.fromarray(PICTURE), "JPEG", exif=with_orientation(77))
    assert images.decode(data).shape == (40, 60, 3)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_over_its_full_range(file_format: str) -> None:
    values = np.linspace(0, 65535, 1000).astype(np.uint16).reshape(25, 40)
    picture = agrees_with_probe(saved(Image.fromarray(values), file_format), file_format)
    np.testing.assert_array_equal(picture[..., 0], np.rint(values / 257))


def test_16_bit_grey_that_counts_from_white() -> None:
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    picture = images.decode(saved(Image.fromarray(values), "TIFF", tiffinfo={262: 0}))
    np.testing.assert_array_equal(picture[..., 0], 255 - np.rint(values / 257))


def test_16_bit_colour_is_scaled_within_one_level() -> None:
    values = np.linspace(0, 65535, 8 * 8 * 3).astype(">u2").reshape(8, 24)
    raw = b"".join(b"\0" + row.tobytes() for row in values)
    picture = agrees_with_probe(png_by_hand(8, 8, raw, colour=2, depth=16), "PNG")
    assert np.abs(picture.reshape(8, 24) - values / 257).max() <= 1
    assert (picture.min(), picture.max()) == (0, 255)


@pytest.mark.parametrize(("mode", "dtype"), [("I", np.int32), ("F", np.float32)])
def test_numbers_without_a_range_are_refused(mode: str, dtype: type) -> None:
    data = saved(Image.fromarray(np.ones((3, 3), dtype)), "TIFF")
    with pytest.raises(SourceError, match="without a stated range"):
        images.decode(data)


def test_alpha_lies_over_white() -> None:
    colours = np.array([[[200, 100, 0, 255], [200, 100, 0, 128], [200, 100, 0, 0], [0, 0, 0, 51]]], np.uint8)
    alpha = colours[..., 3:] / 255
    wanted = np.rint(colours[..., :3] * alpha + 255 * (1 - alpha))
    for file_format, options in [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})]:
        np.testing.assert_array_equal(images.decode(saved(Image.fromarray(colours), file_format, **options)), wanted)
    grey = Image.fromarray(np.array([[[0, 0], [0, 255], [100, 51]]], np.uint8), "LA")
    np.testing.assert_array_equal(images.decode(saved(grey, "PNG"))[0, :, 0], [255, 0, 224])


def test_every_grey_under_every_alpha() -> None:
    grey, alpha = np.mgrid[:256, :256]
    data = saved(Image.fromarray(np.stack([grey, alpha], -1).astype(np.uint8), "LA"), "PNG")
    np.testing.assert_array_equal(images.decode(data)[..., 0], np.rint((grey * alpha + 255 * (255 - alpha)) / 255))


def test_one_transparent_colour_becomes_white() -> None:
    grey = Image.fromarray(np.array([[10, 20], [30, 10]], np.uint8))
    np.testing.assert_array_equal(images.decode(saved(grey, "PNG", transparency=10))[..., 0], [[255, 20], [30, 255]])
    deep = Image.fromarray(np.array([[257, 514], [0, 257]], np.uint16))
    np.testing.assert_array_equal(images.decode(saved(deep, "PNG", transparency=257))[..., 0], [[255, 2], [0, 255]])
    colour = Image.merge("RGB", [grey, grey, grey])
    assert images.decode(saved(colour, "PNG", transparency=(10, 10, 10)))[0, 0].tolist() == [255, 255, 255]
    assert images.decode(saved(colour, "PNG", transparency=(10, 10, 10)))[0, 1].tolist() == [20, 20, 20]


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_palettes_are_expanded_and_their_transparent_entry_is_white(file_format: str) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([200, 0, 0, 0, 150, 0, 0, 0, 100])
    expected = [[[200, 0, 0], [0, 150, 0]], [[0, 0, 100], [0, 150, 0]]]
    assert images.decode(saved(image, file_format)).tolist() == expected
    expected[0][1] = expected[1][1] = [255, 255, 255]
    assert images.decode(saved(image, file_format, transparency=1)).tolist() == expected


def test_partial_transparency_of_a_palette() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([0, 0, 0, 100, 100, 100])
    assert images.decode(saved(image, "PNG", transparency=bytes([51, 255]))).tolist() == [[[204] * 3, [100] * 3]]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP", "PPM"])
def test_one_bit_becomes_black_and_white(file_format: str) -> None:
    bits = np.eye(9, 11, dtype=bool)
    picture = images.decode(saved(Image.fromarray(bits), file_format))
    np.testing.assert_array_equal(picture[..., 0], bits * 255)
    assert picture.shape == (9, 11, 1)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_become_rgb(mode: str) -> None:
    source = Image.new("RGB", (16, 16), (200, 90, 30))
    if mode == "LAB":
        to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        image = ImageCms.applyTransform(source, to_lab)
        assert image is not None
    else:
        image = source.convert(mode)
    picture = agrees_with_probe(saved(image, "TIFF"), "TIFF")
    assert difference(picture, np.asarray(source)) <= 3


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_the_first_frame_is_taken(file_format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = saved(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert difference(images.decode(data), np.asarray(frames[0])) <= 2


def test_bands_of_large_pictures_join(monkeypatch: pytest.MonkeyPatch) -> None:
    from deeper.images import pixels

    rgba = np.random.default_rng(5).integers(0, 256, (37, 50, 4), np.uint8)
    data = saved(Image.fromarray(rgba), "PNG")
    palette = saved(Image.fromarray(PICTURE).quantize(16), "PNG", transparency=3)
    whole = images.decode(data), images.decode(palette)
    monkeypatch.setattr(pixels, "_BAND", 200)
    np.testing.assert_array_equal(images.decode(data), whole[0])
    np.testing.assert_array_equal(images.decode(palette), whole[1])


def test_channels_by_luma() -> None:
    picture = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]], np.uint8)
    data = images.encode_png(picture)
    np.testing.assert_array_equal(images.decode(data, channels=1)[0, :, 0], [76, 150, 29, 18])
    grey = images.encode_png(picture[..., :1])
    np.testing.assert_array_equal(images.decode(grey, channels=3)[..., 2], picture[..., 0])
    with pytest.raises(SourceError, match="wanted 1"):
        images.to_channels(picture, 2)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("at_least", "reduction"), [((50, 75), 8), ((51, 75), 4), ((200, 300), 2), ((201, 300), 1)])
def test_at_least(at_least: tuple[int, int], reduction: int, orientation: int) -> None:
    data = saved(Image.fromarray(gradient(400, 600)), "JPEG", quality=95, exif=with_orientation(orientation))
    wanted = at_least if orientation == 1 else at_least[::-1]
    picture = images.decode(data, at_least=wanted)
    size = (400 // reduction, 600 // reduction)
    assert picture.shape[:2] == (size if orientation == 1 else size[::-1])
    exact = Image.fromarray(images.decode(data)).reduce(reduction)
    assert difference(picture, np.asarray(exact)) <= 4
    np.testing.assert_array_equal(picture, images.decode(data, at_least=wanted))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_check_tells_the_shape_and_brings_small_pictures(mode: str, orientation: int) -> None:
    data = saved(Image.fromarray(gradient(90, 61)).convert(mode), "JPEG", exif=with_orientation(orientation))
    whole = images.decode(data)
    shape, pixels = images.check(data)
    assert shape == whole.shape and pixels is None
    assert images.check(data, whole_up_to=90 * 61 - 1)[1] is None
    shape, pixels = images.check(data, whole_up_to=90 * 61)
    assert shape == whole.shape
    np.testing.assert_array_equal(pixels, whole)


def test_a_check_brings_what_had_to_be_decoded_anyway() -> None:
    data = saved(Image.fromarray(PICTURE), "PNG")
    shape, pixels = images.check(data)
    assert shape == PICTURE.shape
    np.testing.assert_array_equal(pixels, PICTURE)


def test_kept() -> None:
    image = Image.fromarray(PICTURE)
    assert images.is_kept(saved(image, "JPEG"))
    assert images.is_kept(saved(image, "PNG"))
    assert not images.is_kept(saved(image, "BMP"))
    assert not images.is_kept(b"")


def test_heic_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    for read in (images.decode, images.probe):
        with pytest.raises(MissingExtraError, match=r"pip install .*'.\[heic\]'"):
            read(data)


def test_threads_agree(data: Path) -> None:
    files = [path.read_bytes() for path in sorted(data.glob("flowers12/train/*/*.jpg"))[:60]]
    files += [saved(Image.fromarray(PICTURE), file_format, **options) for file_format, options in LOSSLESS]
    alone = [images.decode(one) for one in files]
    with ThreadPoolExecutor(8) as pool:
        for first, second in zip(alone * 3, pool.map(images.decode, files * 3), strict=True):
            np.testing.assert_array_equal(first, second)


def test_photographs(data: Path) -> None:
    paths = sorted(data.glob("flowers12/t*/*/*.jpg"))
    assert len(paths) == 960
    for path in paths[::16]:
        file = path.read_bytes()
        picture = images.decode(file, path.name)
        assert images.probe(file) == ("JPEG", *picture.shape)
        assert difference(picture, np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))) <= 3


def test_what_a_decoding_holds_at_once() -> None:
    picture = Image.fromarray(gradient(400, 600))
    plain, progressive = (saved(picture, "JPEG", progressive=one, exif=with_orientation(1)) for one in (False, True))
    assert images.unpacked_pixels(plain, (50, 75)) == 50 * 75
    # libjpeg keeps the coefficients of all scans, however small the picture becomes.
    assert images.unpacked_pixels(progressive, (50, 75)) == 400 * 600
    # Of a file that is not progressive but has its components in scans of their own, too.
    first = plain.index(b"\xff\xda")
    alone = b"\xff\xda\0\x08\1" + plain[first + 5 : first + 7] + plain[first + 11 : first + 14]
    assert images.unpacked_pixels(plain[:first] + alone + plain[first + 14 :], (50, 75)) == 400 * 600
    assert images.decode(progressive, at_least=(50, 75)).shape == (50, 75, 3)
    assert images.unpacked_pixels(saved(picture, "PNG"), (50, 75)) == 400 * 600


@pytest.mark.parametrize(
    ("bits", "colour", "row", "key", "wanted"),
    [
        (2, 0, b"\x1b", b"\0\x01", [[0], [255], [170], [255]]),
        (4, 0, b"\x05\xf0", b"\0\x05", [[0], [255], [255], [0]]),
        (16, 2, b"\3\xe8\7\xd0\x0b\xb8" + b"\xff" * 6, b"\3\xe8\7\xd0\x0b\xb8", [[255] * 3] * 2),
    ],
)
def test_the_transparent_colour_is_on_the_scale_of_the_file(bits, colour, row, key, wanted) -> None:
    """Pillow spreads 2 and 4 bits over 0..255 and cuts 16 to 8, and leaves the colour that is transparent as it was."""
    width = len(wanted)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0)),
        (b"tRNS", key),
    ]
    chunks += [(b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    assert images.decode(data)[0].tolist() == wanted


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iCCP", "tEXt"])
def test_a_history_that_an_editor_wrote_costs_no_picture(kind: str) -> None:
    """Pillow unpacks texts and profiles while it opens a file, and refuses the whole for a megabyte of them."""
    long = zlib.compress(bytes(2 << 20)) if kind != "tEXt" else b"x" * (70 << 20)
    body = {"zTXt": b"c\0\0" + long, "iTXt": b"c\0\1\0\0\0" + long, "iCCP": b"c\0\0" + long, "tEXt": b"c\0" + long}[
        kind
    ]
    chunk = kind.encode() + body
    plain = saved(Image.fromarray(PICTURE), "PNG")
    data = plain[:33] + struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + plain[33:]
    with pytest.raises(ValueError):
        Image.open(io.BytesIO(data)).load()
    assert np.array_equal(agrees_with_probe(data, "PNG"), PICTURE)


def test_an_older_exif_in_a_text_still_turns() -> None:
    plain = saved(Image.fromarray(PICTURE), "PNG")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
    text = b"\nexif\n%8d\n%s\n" % (len(exif), exif.hex().encode())
    chunk = b"zTXtRaw profile type exif\0\0" + zlib.compress(text)
    data = plain[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + plain[33:]
    assert agrees_with_probe(data, "PNG").shape == (60, 40, 3)


def test_large_pictures_that_must_be_looked_through_are_so_in_time() -> None:
    """What zlib does not take at once is copied back: of one chunk of 48 MB that took eight times the inflating."""
    picture = np.random.default_rng(0).integers(0, 256, (4000, 4000, 3), np.uint8)
    picture[-1] = 0  # as it would be where the file had ended early
    data = saved(Image.fromarray(picture), "PNG", compress_level=1)
    first = data.index(b"IDAT")
    bodies, at = [], first - 4
    while data[at + 4 : at + 8] == b"IDAT":
        length = int.from_bytes(data[at : at + 4], "big")
        bodies.append(data[at + 8 : at + 8 + length])
        at += 12 + length
    body = b"".join(bodies)
    whole = struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))
    data = data[: first - 4] + whole + data[at:]
    checked = png.check(data)
    began = time.process_time()
    zlib.decompress(body)
    plain, began = time.process_time() - began, time.process_time()
    assert png.is_complete(data, checked)
    assert time.process_time() - began < 3 * plain + 0.1
