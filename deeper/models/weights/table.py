"""LevelDB's table format, read only: sorted keys with values, which TensorFlow's checkpoints are made of.

Format: `doc/table_format.md` of google/leveldb; TensorFlow's copy is `tensorflow/core/lib/io/table.cc`, with the same
magic number. Blocks of entries, each with a kind byte and a masked CRC-32C behind it; an index block of where they lie;
a footer of 48 bytes that says where the index is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import google_crc32c

from deeper.models.weights.protobuf import Buffer, varint
from deeper.models.weights.snappy import uncompress

MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5
_PLAIN, _SNAPPY = 0, 1
# Of one block once unpacked: a tensor of a gigabyte is no Inception's.
LARGEST_BLOCK = 1 << 30


def ends_as_table(tail: bytes) -> bool:
    """Whether the last 8 bytes of a file are those of a table."""
    return tail == struct.pack("<Q", MAGIC)


def masked_crc(data: Buffer) -> int:
    """TensorFlow's and LevelDB's CRC-32C, rotated and shifted so that checksums of checksums stay good."""
    crc = int(google_crc32c.value(bytes(data)))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def entries(data: Buffer) -> Iterator[tuple[bytes, memoryview]]:
    """Keys and values in order. Raises: ValueError, for whatever is damaged."""
    view = memoryview(data)
    if len(view) < _FOOTER or struct.unpack("<Q", view[-8:])[0] != MAGIC:
        raise ValueError("its end is missing")
    footer = view[-_FOOTER:]
    _, position = _handle(footer, 0)
    index, _ = _handle(footer, position)
    for _, place in _block_entries(_block(view, index)):
        handle, _ = _handle(place, 0)
        yield from _block_entries(_block(view, handle))


def _handle(data: memoryview, position: int) -> tuple[tuple[int, int], int]:
    """((offset, size) of a block, position behind)."""
    offset, position = varint(data, position)
    size, position = varint(data, position)
    return (offset, size), position


def _block(view: memoryview, handle: tuple[int, int]) -> memoryview:
    offset, size = handle
    end = offset + size
    if end + _TRAILER > len(view) - _FOOTER:
        raise ValueError("a block lies outside the file")
    kind = view[end]
    if struct.unpack("<I", view[end + 1 : end + _TRAILER])[0] != masked_crc(view[offset : end + 1]):
        raise ValueError("a block has the wrong checksum")
    if kind == _PLAIN:
        return view[offset:end]
    if kind == _SNAPPY:
        return memoryview(uncompress(bytes(view[offset:end]), LARGEST_BLOCK))
    raise ValueError(f"a block is packed in a way of number {kind}")


def _block_entries(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    if len(block) < 4:
        raise ValueError("a block is too short")
    restarts = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise ValueError("a block has more restarts than room")
    key, position = b"", 0
    while position < end:
        shared, position = varint(block, position)
        own, position = varint(block, position)
        size, position = varint(block, position)
        if shared > len(key) or position + own + size > end:
            raise ValueError("an entry is cut off")
        key = key[:shared] + bytes(block[position : position + own])
        position += own
        yield key, block[position : position + size]
        position += size
