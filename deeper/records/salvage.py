"""Reading a shard that may be damaged: every sound record, and what lies between them."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deeper.records import picture, tfrecord
from deeper.records.picture import Facts
from deeper.records.tfrecord import FRAME, HEADER

_OTHER = re.compile(rb"[^\0]")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some bytes of a shard: one sound record (`facts`), or damage (`problem`)."""

    offset: int
    size: int
    facts: Facts | None
    problem: str | None
    id: str | None
    """Of the record; of a damaged one where it can still be read."""


def stretches(path: Path, index: Sequence[int] = ()) -> Iterator[Stretch]:
    """The whole file, without gaps, as sound records and damage.

    Records follow from their own lengths. Where a length is damaged, reading goes on at the next offset of `index` that
    begins a record, or without one at the next bytes that can only be a record's length, as its CRC says.
    """
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        position, end = 0, len(data)
        starts = sorted(set(index))
        while position < end:
            size, problem = _size_at(data, position)
            if problem:
                size = _next_start(data, position + 1, starts) - position
                yield Stretch(position, size, None, problem, _name_within(data, position, size))
            else:
                yield _record(data, position, size)
            position += size


def _size_at(data: mmap.mmap, position: int) -> tuple[int, str | None]:
    try:
        size = FRAME + tfrecord.header_length(data[position : position + HEADER])
    except ValueError as error:
        return 0, str(error)
    return (size, None) if position + size <= len(data) else (0, "the file ends within the record")


def _next_start(data: mmap.mmap, first: int, starts: Sequence[int]) -> int:
    for start in starts:
        if start >= first and start < len(data) and _size_at(data, start)[1] is None:
            # An index could be damaged too: a record that begins before this start would be passed over.
            return min(start, _searched(data, first, start))
    return _searched(data, first, len(data))


def _searched(data: mmap.mmap, first: int, end: int) -> int:
    # No record has 4 GiB, so the upper half of its length is four zero bytes.
    found = data.find(b"\0\0\0\0", first + 4, end)
    while found >= 0:
        if _size_at(data, found - 4)[1] is None:
            return found - 4
        after = found + 1
        if not any(data[found - 4 : found + 8]):
            # A length of 0 whose CRC is 0 begins no record. Power cuts leave megabytes of zeros: on to their end.
            other = _OTHER.search(data, found, end)
            if other is None:
                return end
            after = max(after, other.start() - HEADER)
        found = data.find(b"\0\0\0\0", after, end)
    return end


def _record(data: mmap.mmap, position: int, size: int) -> Stretch:
    first, stop = position + HEADER, position + size - 4
    try:
        content = tfrecord.unframe(data[position : position + size])
        facts = picture.read_facts(content, 0, len(content))
        encoded = picture.read_encoded(content)
    except ValueError as error:
        return Stretch(position, size, None, str(error), _name_at(data, first, stop))
    if facts.height < 1 or facts.width < 1 or facts.channels not in (1, 3) or not encoded:
        wrong = f"it says {facts.height}×{facts.width} pixels, {facts.channels} channels, {len(encoded)} bytes"
        return Stretch(position, size, None, wrong, facts.id)
    return Stretch(position, size, facts, None, facts.id)


def _name_at(data: mmap.mmap, first: int, stop: int) -> str | None:
    try:
        return picture.read_facts(data, first, stop).id
    except ValueError:
        return None


def _name_within(data: mmap.mmap, position: int, size: int) -> str | None:
    """The id in a stretch whose length is damaged, where nothing else is."""
    return _name_at(data, position + HEADER, position + size - 4) if size > FRAME else None
