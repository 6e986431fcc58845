"""The fields of a protocol-buffer message, without its description: enough for TensorFlow's checkpoints.

Wire format: developers.google.com/protocol-buffers/docs/encoding. Whoever knows a message's `.proto` knows what its
field numbers mean.
"""

from __future__ import annotations

from collections.abc import Iterator

Buffer = bytes | memoryview
Field = int | memoryview
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def varint(data: Buffer, position: int) -> tuple[int, int]:
    """(value, position behind it) of a number in base 128. Raises: ValueError, when it is cut off or over 64 bits."""
    value = shift = 0
    while shift < 64:
        if position >= len(data):
            raise ValueError("a number is cut off")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("a number is too long")


def fields(data: Buffer) -> Iterator[tuple[int, Field]]:
    """(field number, value) in the order they stand in: integers, or the bytes of what is nested, packed or a text.

    Fixed-width fields come as their bytes. Raises: ValueError, for what is no message.
    """
    view = memoryview(data)
    position = 0
    while position < len(view):
        tag, position = varint(view, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = varint(view, position)
            yield number, value
            continue
        if wire == _BYTES:
            size, position = varint(view, position)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"no such wire type as {wire}")
        if size > len(view) - position:
            raise ValueError("a field is cut off")
        yield number, view[position : position + size]
        position += size


def of_bytes(value: Field) -> memoryview:
    """Raises: ValueError, for a field that should hold bytes and holds a number."""
    if isinstance(value, int):
        raise ValueError("a number stands where a message should")
    return value


def of_number(value: Field) -> int:
    """Raises: ValueError, for a field that should hold a number and holds bytes."""
    if not isinstance(value, int):
        raise ValueError("bytes stand where a number should")
    return value
