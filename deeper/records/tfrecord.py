"""TFRecord files: a sequence of framed byte strings, as `tf.data.TFRecordDataset`, DALI and `tfrecord` read them.

One record, little-endian (tensorflow/core/lib/io/record_writer.h):

    uint64   length of the data
    uint32   masked CRC-32C of the eight length bytes
    bytes    data
    uint32   masked CRC-32C of the data

The sidecar index `NAME.idx` has one line `OFFSET SIZE` per record, where SIZE counts the frame too: what DALI's
`tfrecord2idx` writes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import google_crc32c

from deeper.errors import DatasetError, printable, typed

HEADER = 12
"""Bytes before the data."""
FRAME = 16
"""Bytes that a record takes besides its data."""

_MASK_DELTA = 0xA282EAD8
_HEAD = struct.Struct("<QI")
_TAIL = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")


class CorruptRecord(DatasetError):
    """A record whose bytes are not what was written. `path`, `offset`, `reason` say where and what."""

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        self.path, self.offset, self.reason = path, offset, reason
        super().__init__(
            f"damaged record in {printable(path.name)} at byte {offset}: {reason}; run "
            f"`deeper verify {typed(path.parent)} --repair` to drop what is damaged, or build the dataset again"
        )


def masked_crc(data: bytes) -> int:
    """CRC-32C (Castagnoli), rotated and shifted as TFRecord wants it, so that a CRC stored in data does no harm."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def frame(data: bytes) -> bytes:
    """`data` as one record."""
    length = _LENGTH.pack(len(data))
    return b"".join((length, _TAIL.pack(masked_crc(length)), data, _TAIL.pack(masked_crc(data))))


def header_length(header: bytes) -> int:
    """The data's length from the first 12 bytes of a record.

    Raises: ValueError, when they are cut short or their CRC does not match.
    """
    if len(header) < HEADER:
        raise ValueError("the file ends within a record's length")
    length, crc = _HEAD.unpack_from(header)
    if masked_crc(header[:8]) != crc:
        raise ValueError("the length's CRC does not match")
    return int(length)


def unframe(record: bytes) -> bytes:
    """The data of one whole record, both CRCs checked.

    Raises: ValueError, saying what does not match.
    """
    length = header_length(record[:HEADER])
    if length != len(record) - FRAME:
        raise ValueError(f"its length is {length} where the index has {len(record) - FRAME}")
    data = record[HEADER:-4]
    if masked_crc(data) != _TAIL.unpack_from(record, HEADER + length)[0]:
        raise ValueError("the data's CRC does not match")
    return data


def read(path: Path) -> Iterator[tuple[int, bytes]]:
    """The records of a file in order: (offset, data). Raises: CorruptRecord, at the first that is damaged."""
    with path.open("rb") as file:
        offset = 0
        while header := file.read(HEADER):
            try:
                length = header_length(header)
                # The length is trusted only after its CRC, so a flipped bit cannot ask for terabytes.
                rest = file.read(length + 4)
                if len(rest) < length + 4:
                    raise ValueError("the file ends within a record")
                data = unframe(header + rest)
            except ValueError as error:
                raise CorruptRecord(path, offset, str(error)) from None
            yield offset, data
            offset += FRAME + length


def index_text(sizes: list[int]) -> bytes:
    """The index of a file whose records have these sizes, frames included."""
    lines = []
    offset = 0
    for size in sizes:
        lines.append(f"{offset} {size}\n")
        offset += size
    return "".join(lines).encode("ascii")


def index_path(path: Path) -> Path:
    """`train-00000-of-00001.tfrecord` → `train-00000-of-00001.idx`."""
    return path.with_suffix(".idx")


def parse_index(text: bytes) -> tuple[list[int], list[int]]:
    """Offsets and sizes from an index. Raises: ValueError, for anything that is not contiguous records from byte 0."""
    numbers = [int(word) for word in text.split()]
    if len(numbers) % 2:
        raise ValueError("a line has no size")
    offsets, sizes = numbers[0::2], numbers[1::2]
    expected = 0
    for offset, size in zip(offsets, sizes):
        if offset != expected or size < FRAME:
            raise ValueError(f"a record at {offset} with {size} bytes where one at {expected} was expected")
        expected += size
    return offsets, sizes
