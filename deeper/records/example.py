"""`tf.train.Example` to bytes and back, by hand: the format is small and no protobuf package is needed.

    message Example  { Features features = 1; }
    message Features { map<string, Feature> feature = 1; }
    message Feature  { oneof kind { BytesList bytes_list = 1; FloatList float_list = 2; Int64List int64_list = 3; } }
    message XList    { repeated X value = 1; }                          (tensorflow/core/example/{example,feature}.proto)

Encoding is deterministic: numbers are packed, and entries stand in the order given (sorted, for a mapping).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Mapping, Sequence

Value = bytes | str | int | float | Sequence[bytes] | Sequence[int] | Sequence[float]
Buffer = bytes | mmap.mmap
Feature = tuple[bytes, ...] | tuple[int, ...] | tuple[float, ...]

_BYTES, _FLOAT, _INT64 = 1, 2, 3
_WORD = 1 << 64
_DIGITS = tuple(bytes((value,)) for value in range(0x80))


def varint(value: int) -> bytes:
    """A non-negative integer in base 128, low digits first."""
    if value < 0x80:
        return _DIGITS[value]
    pieces = bytearray()
    while value > 0x7F:
        pieces.append(value & 0x7F | 0x80)
        value >>= 7
    pieces.append(value)
    return bytes(pieces)


def _field(number: int, data: bytes) -> bytes:
    # Wire type 2: length, then that many bytes.
    return bytes((number << 3 | 2,)) + varint(len(data)) + data


def _as_bytes(item: object) -> bytes:
    # File names that are no UTF-8 reach Python as lone surrogates; they must survive the way there and back.
    return item.encode("utf-8", "surrogatepass") if isinstance(item, str) else bytes(item)  # type: ignore[call-overload]


def _feature(value: Value) -> bytes:
    values: Sequence[object] = [value] if isinstance(value, (bytes, str, int, float)) else list(value)
    if values and all(isinstance(item, (bytes, str)) for item in values):
        return _field(_BYTES, b"".join(_field(1, _as_bytes(item)) for item in values))
    if all(isinstance(item, int) for item in values):
        numbers = [item for item in values if isinstance(item, int)]
        if any(not -(1 << 63) <= number < 1 << 63 for number in numbers):
            raise ValueError(f"{value!r} does not fit 64 bits")
        packed = b"".join(varint(number % _WORD) for number in numbers)
        return _field(_INT64, _field(1, packed) if packed else b"")
    if all(isinstance(item, (int, float)) for item in values):
        floats = [float(item) for item in values if isinstance(item, (int, float))]
        return _field(_FLOAT, _field(1, struct.pack(f"<{len(floats)}f", *floats)))
    raise TypeError(f"a feature holds bytes, text, integers or floats of one kind; got {type(value).__name__}")


def entry(name: str, value: Value) -> bytes:
    """One key with its value, for `example`. Raises: TypeError, ValueError, for what no feature can hold."""
    if isinstance(value, (bytes, str)):
        return _bytes_entry(name.encode(), _as_bytes(value))
    return _field(1, _field(1, name.encode()) + _field(2, _feature(value)))


def _bytes_entry(name: bytes, value: bytes) -> bytes:
    """The entry of one byte string: the lengths first, from the inside out, so that a picture is copied once."""
    head = b"\x0a" + varint(len(value))
    for number in (_BYTES, 2):
        head = bytes((number << 3 | 2,)) + varint(len(head) + len(value)) + head
    head = b"\x0a" + varint(len(name)) + name + head
    return b"".join((b"\x0a", varint(len(head) + len(value)), head, value))


def example(entries: Iterable[bytes]) -> bytes:
    """A serialised `Example` of such entries."""
    return _field(1, b"".join(entries))


def encode(features: Mapping[str, Value]) -> bytes:
    """A serialised `Example`, keys in order. An empty list is stored as an empty list of integers.

    Raises: TypeError, ValueError, for what no feature can hold.
    """
    return example(entry(name, features[name]) for name in sorted(features))


def read_varint(data: Buffer, position: int) -> tuple[int, int]:
    """The integer at `position` and the position behind it. Raises: ValueError."""
    value = shift = 0
    try:
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
            if shift > 63:
                raise ValueError("a number has more than 64 bits")
    except IndexError:
        raise ValueError("the data ends within a number") from None


def _parts(data: Buffer, start: int, end: int) -> list[tuple[int, int, int, int]]:
    """The fields between `start` and `end`: (number, wire type, first byte, end)."""
    parts = []
    position = start
    while position < end:
        tag, position = read_varint(data, position)
        kind = tag & 7
        if tag < 8:
            raise ValueError("a field has the number 0")
        if kind == 2:
            length, position = read_varint(data, position)
            stop = position + length
        elif kind == 0:
            _, stop = read_varint(data, position)
        elif kind in (1, 5):
            stop = position + (8 if kind == 1 else 4)
        else:
            raise ValueError(f"wire type {kind} does not occur in an Example")
        if stop > end:
            raise ValueError("a field reaches beyond its message")
        parts.append((tag >> 3, kind, position, stop))
        position = stop
    return parts


def _read_feature(data: Buffer, start: int, end: int) -> Feature:
    feature: Feature = ()
    for number, _, list_start, list_end in _parts(data, start, end):
        items = [part for part in _parts(data, list_start, list_end) if part[0] == 1]
        if number == _BYTES:
            feature = tuple(data[first:stop] for _, _, first, stop in items)
        elif number == _INT64:
            feature = tuple(value for item in items for value in _integers(data, item))
        elif number == _FLOAT:
            feature = tuple(value for item in items for value in _floats(data, item))
    return feature


def _integers(data: Buffer, item: tuple[int, int, int, int]) -> list[int]:
    _, kind, position, end = item
    if kind == 0:
        # One alone: the position is behind its tag, and the field's end is the number's.
        end = read_varint(data, position)[1]
    numbers = []
    while position < end:
        value, position = read_varint(data, position)
        value %= _WORD
        numbers.append(value - _WORD if value >= _WORD >> 1 else value)
    if kind not in (0, 2) or position != end:
        raise ValueError("a list of integers is malformed")
    return numbers


def _floats(data: Buffer, item: tuple[int, int, int, int]) -> tuple[float, ...]:
    _, kind, start, end = item
    if kind not in (2, 5) or (end - start) % 4:
        raise ValueError("a list of floats is malformed")
    return struct.unpack(f"<{(end - start) // 4}f", data[start:end])


def decode(data: Buffer, start: int = 0, end: int | None = None, skip: str | None = None) -> dict[str, Feature]:
    """The features of a serialised `Example`, from any writer, standing at `start` … `end` of `data`.

    The value called `skip` is left unread, so that its bytes need not be fetched from disk.
    Raises: ValueError, for bytes that are no Example.
    """
    features: dict[str, Feature] = {}
    for number, _, first, stop in _parts(data, start, len(data) if end is None else end):
        if number != 1:
            continue
        for part, _, entry_start, entry_end in _parts(data, first, stop):
            if part == 1:
                name, value = _read_entry(data, entry_start, entry_end, skip)
                features[name] = value
    return features


def _read_entry(data: Buffer, start: int, end: int, skip: str | None) -> tuple[str, Feature]:
    name, value = "", (0, 0)
    for number, _, first, stop in _parts(data, start, end):
        if number == 1:
            name = data[first:stop].decode("utf-8")
        elif number == 2:
            value = (first, stop)
    return name, () if name == skip else _read_feature(data, *value)
