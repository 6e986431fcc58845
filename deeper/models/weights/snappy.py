"""Snappy's block format, read only: what TensorFlow packs the blocks of its older checkpoints with where it pays.

Format: `format_description.txt` of google/snappy. A length, then literals and copies of what came before.
"""

from __future__ import annotations

from deeper.models.weights.protobuf import varint


def uncompress(data: bytes, limit: int) -> bytes:
    """What `data` stands for. Raises: ValueError, when it is damaged or would have more than `limit` bytes."""
    length, position = varint(data, 0)
    if length > limit:
        raise ValueError(f"a block would unpack to {length} bytes")
    out = bytearray()
    while position < len(data):
        tag = data[position]
        position += 1
        if tag & 3 == 0:
            size = (tag >> 2) + 1
            if size > 60:
                extra = size - 60
                size = int.from_bytes(data[position : position + extra], "little") + 1
                position += extra
            if position + size > len(data):
                raise ValueError("a literal is cut off")
            out += data[position : position + size]
            position += size
            continue
        width = tag & 3 if tag & 3 != 3 else 4
        if position + width > len(data):
            raise ValueError("a copy is cut off")
        offset = int.from_bytes(data[position : position + width], "little")
        position += width
        if tag & 3 == 1:
            size, offset = (tag >> 2 & 7) + 4, offset | tag >> 5 << 8
        else:
            size = (tag >> 2) + 1
        if not 0 < offset <= len(out):
            raise ValueError("a copy points outside")
        start = len(out) - offset
        piece = bytes(out[start : start + size])
        # A copy may reach into what it writes: the piece repeats.
        out += (piece * (size // len(piece) + 1))[:size]
        if len(out) > length:
            break
    if len(out) != length:
        raise ValueError("a block unpacks to another length than it says")
    return bytes(out)
