"""What one record holds: a picture's bytes and the facts about it, under the keys of the 2016 Inception tools.

    image/encoded       bytes    the JPEG or PNG file, as it was found
    image/format        bytes    "JPEG" or "PNG"
    image/height        int64    pixels, as decoded (after the EXIF turn)
    image/width         int64
    image/channels      int64    1 or 3, as decoded
    image/colorspace    bytes    "Grayscale" or "RGB"
    image/filename      bytes    the last part of the id
    image/class/label   int64    index into the classes of dataset.json, from 0
    image/class/text    bytes    that class's name
    image/id            bytes    the id; ours
    image/group         bytes    where the source gave one; ours

The keys are those of `inception/data/build_image_data.py` (tensorflow/models), but its labels began at 1 with a hidden
background class, and ours begin at 0. `image/encoded` stands last, so that the facts of a large set are read from the
first bytes of each record without fetching the pictures from disk.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from deeper.records import example
from deeper.records.example import Buffer

ENCODED = "image/encoded"
# One page holds the facts of all but the longest names.
_GLANCE = 1024
_SLOTS = {
    b"image/id": 0,
    b"image/class/label": 1,
    b"image/class/text": 2,
    b"image/height": 3,
    b"image/width": 4,
    b"image/channels": 5,
    b"image/group": 6,
}
_NUMBERS = {1, 3, 4, 5}


class Facts(NamedTuple):
    """What is known of a picture without decoding it. `text`: the class's name; `label`: its index."""

    id: str
    label: int
    text: str
    height: int
    width: int
    channels: int
    group: str | None


# Most pictures of a set share these.
_shared = lru_cache(4096)(example.entry)


def encode(facts: Facts, encoded: bytes, file_format: str) -> bytes:
    """The `Example` of one picture: keys in order, but `image/encoded` last. `file_format`: "JPEG" or "PNG"."""
    return example.example(
        (
            _shared("image/channels", facts.channels),
            _shared("image/class/label", facts.label),
            _shared("image/class/text", facts.text),
            _shared("image/colorspace", "RGB" if facts.channels == 3 else "Grayscale"),
            example.entry("image/filename", facts.id.rpartition("/")[2]),
            _shared("image/format", file_format),
            b"" if facts.group is None else _shared("image/group", facts.group),
            _shared("image/height", facts.height),
            example.entry("image/id", facts.id),
            _shared("image/width", facts.width),
            example.entry(ENCODED, encoded),
        )
    )


def read_facts(data: Buffer, start: int, end: int) -> Facts:
    """The facts of the `Example` at `start` … `end`. Raises: ValueError, for a malformed one or a missing key."""
    found = _glance(data[start : min(end, start + _GLANCE)]) or _walk(data, start, end)
    identifier, label, text, height, width, channels, group = found
    if identifier is None or label is None or text is None or height is None or width is None or channels is None:
        raise ValueError("it lacks one of image/id, image/class/…, image/height, image/width, image/channels")
    return Facts(
        _text(identifier),
        int(label),
        _text(text),
        int(height),
        int(width),
        int(channels),
        None if group is None else _text(group),
    )


def read_encoded(data: bytes) -> bytes:
    """The picture's bytes out of a whole `Example`. Raises: ValueError."""
    value = example.decode(data).get(ENCODED, ())
    if len(value) != 1 or not isinstance(value[0], bytes):
        raise ValueError("it has no image/encoded")
    return value[0]


def _text(value: bytes | int) -> str:
    return value.decode("utf-8", "surrogatepass") if isinstance(value, bytes) else str(value)


def _glance(head: bytes) -> list[bytes | int | None] | None:
    """The facts where everything is as `encode` writes it with short names; else None, and `_walk` looks properly.

    70,000 records are read by this, so it takes the shortest way: every length is one byte.
    """
    found: list[bytes | int | None] = [None] * 7
    try:
        if head[0] != 0x0A:
            return None
        position = 2
        while head[position - 1] > 0x7F:
            position += 1
        while True:
            # entry: 0A length, 0A length key, 12 length (0A | 1A) length 0A length value
            if head[position + 1] > 0x7F:
                position += 2
                while head[position - 1] > 0x7F:
                    position += 1
                at_end = head[position : position + 15] == b"\x0a\x0dimage/encoded"
                return found if at_end and None not in found[:6] else None
            key_end = position + 4 + head[position + 3]
            key = head[position + 4 : key_end]
            if key == b"image/encoded":
                return found if None not in found[:6] else None
            length = head[position + 1]
            size = head[key_end + 5]
            if head[position] != 0x0A or head[key_end] != 0x12 or head[key_end + 4] != 0x0A:
                return None
            if position + 2 + length != key_end + 6 + size:
                return None
            slot = _SLOTS.get(key)
            if slot is not None:
                value = head[key_end + 6 : key_end + 6 + size]
                if slot in _NUMBERS:
                    number = value[0] if size == 1 else example.read_varint(value, 0)[0]
                    found[slot] = number
                else:
                    found[slot] = value
            position += 2 + length
    except (IndexError, ValueError):
        return None


def _walk(data: Buffer, start: int, end: int) -> list[bytes | int | None]:
    features = example.decode(data, start, end, skip=ENCODED)
    found: list[bytes | int | None] = [None] * 7
    for key, slot in _SLOTS.items():
        value = features.get(key.decode(), ())
        if len(value) == 1:
            item = value[0]
            if isinstance(item, int if slot in _NUMBERS else bytes):
                found[slot] = item
    return found
