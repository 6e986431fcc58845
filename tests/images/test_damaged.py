"""Files that lie, break off or attack: a SourceError with a short reason, or the right pixels; never anything else."""

from __future__ import annotations

import contextlib
import io
import resource
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from deeper import images
from deeper.errors import MissingExtraError, SourceError
from tests.images.files import chunk, gif_by_hand, gradient, png_by_hand, saved, with_orientation

IMAGE = Image.fromarray(
    (gradient(80, 120).astype(int) + np.random.default_rng(0).integers(-9, 10, (80, 120, 3))).clip(0, 255).astype("u1")
)
FORMATS: list[tuple[str, dict[str, Any]]] = [
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("JPEG", {"exif": with_orientation(6)}),
    ("PNG", {}),
    ("GIF", {}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "jpeg"}),
    ("WEBP", {}),
    ("AVIF", {}),
    ("JPEG2000", {}),
    ("PPM", {}),
    ("PCX", {}),
    ("QOI", {}),
    ("SGI", {}),
    ("ICO", {}),
]


def refused(data: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason) as caught:
        images.decode(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "^empty file$"),
        (b"hello\nworld\n" * 9, "^not a picture: text$"),
        ("Größe, Maß".encode("latin1"), "^not a picture: text$"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "^not a picture: text$"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nquit\n", "PostScript"),
        (bytes(1000), "zero bytes"),
        (bytes(range(256)), "unknown format"),
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "truncated PNG"),
    ],
)
def test_what_is_no_picture(data: bytes, reason: str) -> None:
    refused(data, reason)
    with pytest.raises(SourceError):
        images.probe(data)


def test_the_name_stands_first_and_on_one_line() -> None:
    with pytest.raises(SourceError, match=r"^a\\nb\.jpg: empty file$"):
        images.decode(b"", "a\nb.jpg")


@pytest.mark.parametrize(("file_format", "options"), FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_files(file_format: str, options: dict[str, Any], share: float) -> None:
    data = saved(IMAGE, file_format, **options)
    refused(data[: int(len(data) * share)], "truncated|damaged|not a picture")


def _verdict(read: Callable[[bytes], object], data: bytes) -> str:
    try:
        read(data)
    except SourceError as error:
        return str(error)
    return "sound"


JPEGS: list[tuple[str, dict[str, Any]]] = [
    ("RGB", {}),
    ("RGB", {"progressive": True}),
    ("RGB", {"subsampling": 0, "restart_marker_blocks": 3}),
    ("RGB", {"subsampling": 1, "quality": 97}),
    ("L", {"progressive": True, "optimize": True}),
    ("CMYK", {}),
]


@pytest.mark.parametrize(("mode", "options"), JPEGS)
def test_a_check_is_as_strict_as_decoding(mode: str, options: dict[str, Any]) -> None:
    """An eighth of the size leaves most coefficients unused, but not unread."""
    data, random = saved(IMAGE.convert(mode), "JPEG", **options), np.random.default_rng(3)
    verdicts = []
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(random.choice([1, 1, 2, 4])):
            place, how = int(random.integers(3, len(damaged))), random.random()
            if how < 0.6:
                damaged[place] = int(random.integers(256))
            elif how < 0.75:
                del damaged[place : place + int(random.integers(1, 20))]
            elif how < 0.9:
                damaged[place : place + 2] = b"\xff" + random.choice([0xD9, 0xDA, 0xD0, 0xD3, 0, 0xC4]).tobytes()[:1]
            else:
                del damaged[place:]
        verdicts.append(_verdict(images.decode, bytes(damaged)))
        assert _verdict(images.check, bytes(damaged)) == verdicts[-1]
    assert 0 < verdicts.count("sound") < 300


def test_a_jpeg_cut_anywhere_is_called_truncated() -> None:
    data = saved(IMAGE.resize((24, 16)), "JPEG")
    for length in range(3, len(data) - 1):
        refused(data[:length], "^truncated JPEG$")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 100, "subsampling": 0}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_half_a_jpeg_is_never_half_grey(mode: str, options: dict[str, Any], end: bytes) -> None:
    data = saved(IMAGE.convert(mode), "JPEG", **options)
    refused(data[: len(data) * 6 // 10] + end, "^(truncated|damaged) JPEG$")
    with pytest.raises(SourceError, match="^(truncated|damaged) JPEG$"):
        images.decode(data[: len(data) * 6 // 10] + end, at_least=(10, 10))


def test_harmless_bytes_after_or_near_the_end_are_no_damage() -> None:
    for options in ({}, {"progressive": True}):
        data = saved(IMAGE, "JPEG", **options)
        whole = images.decode(data)
        np.testing.assert_array_equal(images.decode(data + b"trailer" * 50), whole)
        np.testing.assert_array_equal(images.decode(data[:-2] + b"abc" + data[-2:]), whole)


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize("share", [0.5, 0.97])
def test_png_whose_pixel_data_ends_early(interlace: int, share: float) -> None:
    # 90 × 90 grey; interlaced, the seven passes have 12+12+23+23+45+45+90-ish rows.
    rows = {0: [(90, 90)], 1: [(12, 12), (12, 11), (11, 23), (23, 22), (22, 45), (45, 45), (45, 90)]}[interlace]
    raw = b"".join(b"\0" + bytes([200]) * width for height, width in rows for _ in range(height))
    assert (images.decode(png_by_hand(90, 90, raw, 0, interlace=interlace)) == 200).all()
    refused(png_by_hand(90, 90, raw[: int(len(raw) * share)], 0, interlace=interlace), "^truncated PNG$")


def test_black_png_is_no_truncated_one() -> None:
    assert not images.decode(png_by_hand(90, 90, bytes(91 * 90), 0)).any()


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"IEND"])
def test_png_checksums(kind: bytes) -> None:
    data = bytearray(saved(IMAGE, "PNG"))
    position = data.index(kind)
    data[position + 4 + int.from_bytes(data[position - 4 : position], "big")] ^= 1
    refused(bytes(data), "^damaged PNG$")


def test_damage_in_any_chunk_is_damage() -> None:
    data = saved(IMAGE, "PNG")
    comment = chunk(b"tEXt", b"Comment\0hello")[:-1] + b"?"
    refused(data[:33] + comment + data[33:], "^damaged PNG$")


def test_bombs_are_refused_before_they_go_off() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(png_by_hand(20_000, 20_000, bytes(1000)), "20000×20000 pixels; wanted at most 179 megapixels; reduce it")
    refused(png_by_hand(2**31 - 1, 2**31 - 1, b""), "reduce it first")
    refused(gif_by_hand((65_535, 65_535), (8, 8), b"\x44\x01"), "reduce it first")
    refused(gif_by_hand((8, 8), (60_000, 60_000), b"\x44\x01"), "reduce it first")
    small_bmp = bytearray(saved(IMAGE, "BMP"))
    small_bmp[18:26] = (60_000).to_bytes(4, "little") * 2
    refused(bytes(small_bmp), "reduce it first")
    jpeg = bytearray(saved(IMAGE, "JPEG"))
    size = jpeg.index(b"\xff\xc0") + 5
    jpeg[size : size + 4] = b"\xff\xdc" * 2
    refused(bytes(jpeg), "reduce it first")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB


def test_a_lower_limit() -> None:
    for file_format in ("JPEG", "PNG", "GIF"):
        data = saved(IMAGE, file_format)
        assert images.decode(data, max_pixels=80 * 120).shape == (80, 120, 3)
        for read in (images.decode, images.probe):
            with pytest.raises(SourceError, match="120×80 pixels"):
                read(data, max_pixels=80 * 120 - 1)


def test_gif_that_ends_before_its_pixels() -> None:
    refused(gif_by_hand((8, 8), (8, 8), b"\x44\x01"), "^truncated GIF$")


def test_jpeg_with_a_flood_of_scans() -> None:
    data = saved(Image.new("L", (9000, 9000)), "JPEG", progressive=True)
    scan = data.rindex(b"\xff\xda")
    refused(data[:scan] + data[scan:-2] * 60 + data[-2:], "too many scans")


def test_compressed_text_bomb() -> None:
    data = saved(IMAGE, "PNG")
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(300 << 20), 9))
    try:
        picture = images.decode(data[:33] + bomb + data[33:])
    except SourceError:
        return
    np.testing.assert_array_equal(picture, np.asarray(IMAGE))


def test_cameras_raw_files_do_not_pass_as_their_thumbnails() -> None:
    refused(saved(IMAGE, "TIFF", tiffinfo={254: 1}), "raw")
    refused(b"II*\0\x10\0\0\0CR\x02\0" + bytes(100), "raw")


@pytest.mark.parametrize(("file_format", "options"), FORMATS)
def test_random_damage(file_format: str, options: dict[str, Any]) -> None:
    """500 mutations per format: flipped bytes, cut and doubled pieces, numbers set to their extremes."""
    generator = np.random.default_rng(20)
    data = saved(IMAGE.resize((24, 16)), file_format, **options)
    survived = 0
    for _ in range(500):
        mutant = bytearray(data)
        for _ in range(generator.integers(1, 6)):
            place = int(generator.integers(0, len(mutant)))
            # Half of all damage where the headers are.
            place = min(place, int(generator.integers(0, 64))) if generator.random() < 0.5 else place
            kind = generator.integers(0, 4)
            if kind == 0:
                mutant[place] = int(generator.integers(0, 256))
            elif kind == 1:
                mutant[place : place + 4] = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"][
                    generator.integers(3)
                ]
            elif kind == 2:
                del mutant[place : place + int(generator.integers(1, 20))]
            else:
                mutant[place:place] = mutant[place : place + int(generator.integers(1, 20))]
            mutant = mutant or bytearray(b"\0")
        try:
            # The limit keeps lies about the size from costing time; they are tested above.
            picture = images.decode(bytes(mutant), at_least=(8, 8), max_pixels=1 << 22)
            assert picture.dtype == np.uint8
            assert picture.shape[2] in (1, 3)
            survived += 1
        except (SourceError, MissingExtraError):
            pass
        with contextlib.suppress(SourceError, MissingExtraError):
            images.probe(bytes(mutant), max_pixels=1 << 22)
    # Some damage is harmless, and not all is: else nothing was tested.
    assert survived < 500


def test_no_warning_reaches_the_user() -> None:
    data = saved(IMAGE, "TIFF", compression="tiff_lzw")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        warnings.filterwarnings("ignore", module=r"PIL\.")  # what importing `deeper.images` sets; pytest takes it away
        with pytest.raises(SourceError):
            images.decode(data[: len(data) // 2])
    assert caught == []


def test_truncated_loading_stays_off() -> None:
    from PIL import ImageFile

    images.decode(saved(IMAGE, "PNG"))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    assert Image.open(io.BytesIO(saved(IMAGE, "EPS"))).format == "EPS"  # Pillow reads it, and we must not
    refused(saved(IMAGE, "EPS"), "PostScript")


@pytest.mark.parametrize("by_png", [True, False])
def test_an_icon_is_not_unpacked_before_it_is_measured(by_png: bool) -> None:
    inner = saved(Image.new("RGB", (300, 20)), "PNG" if by_png else "BMP")
    if not by_png:
        # Without its file header, and with as many rows again for the mask.
        inner = inner[14:22] + (2 * 20).to_bytes(4, "little") + inner[26:]
    header = b"\0\0\1\0\1\0" + bytes([0, 20, 0, 0, 1, 0, 24, 0]) + len(inner).to_bytes(4, "little") + b"\x16\0\0\0"
    refused(header + inner, "an icon with a picture of more than 256 pixels")


def test_a_png_says_its_size_once() -> None:
    data = png_by_hand(6, 4, b"".join(b"\0" + bytes(18) for _ in range(4)))
    assert images.decode(data).shape == (4, 6, 3)
    refused(data[:8] + data[8:33] + data[8:], "damaged PNG")


def written_wrongly(kind: str) -> bytes:
    """A JPEG with a number that some programs write wrong and that no decoder needs."""
    data = bytearray(saved(IMAGE, "JPEG"))
    if kind == "scan":
        scan = data.index(b"\xff\xda")
        end = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
        data[end - 3 : end] = bytes(3)
    elif kind == "version":
        data[data.index(b"JFIF\0") + 5] = 2
    else:
        first = data.index(b"\xff\xe0")
        length = 2 + int.from_bytes(data[first + 2 : first + 4], "big")
        data[first : first + length] = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + (
            b"\x02" if kind == "transform of four" else b"\x05"
        )
    return bytes(data)


@pytest.mark.parametrize("kind", ["scan", "version", "transform", "transform of four"])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_numbers_written_wrongly_are_no_damage_and_hide_none(kind: str, end: bytes) -> None:
    """libjpeg tells its first warning alone: one that is passed over must not take others with it."""
    data = written_wrongly(kind)
    np.testing.assert_array_equal(images.decode(data), images.decode(saved(IMAGE, "JPEG")))
    assert images.probe(data).width == IMAGE.width
    refused(data[: len(data) * 6 // 10] + end, "^truncated JPEG$")


def test_unusual_subsamplings_are_read_or_named() -> None:
    pixels = np.ascontiguousarray(np.asarray(IMAGE.convert("RGB").resize((64, 64))))
    data = bytearray(simplejpeg.encode_jpeg(pixels, colorsubsampling="411"))
    sampling = data.index(b"\xff\xc0") + 11
    assert data[sampling] == 0x41
    data[sampling] = 0x14  # as a lossless quarter turn makes of it; the pixels are others, and all there
    assert images.decode(bytes(data)).shape == pixels.shape and images.probe(bytes(data)).channels == 3
    data[sampling] = 0x24
    refused(bytes(data), "unusual chroma subsampling; save it again")


def test_the_limit_holds_for_small_pngs_too() -> None:
    data = saved(Image.new("L", (28, 28)), "PNG")
    for look in (images.decode, images.probe):
        with pytest.raises(SourceError, match="28×28 pixels; wanted at most"):
            look(data, max_pixels=100)
