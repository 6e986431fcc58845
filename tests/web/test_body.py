"""Bodies within their limits: what is counted, what is refused, and when."""

from __future__ import annotations

import asyncio
import gzip
import pickle
import tracemalloc
import zlib
from collections.abc import Iterable

import pytest
from starlette.requests import Request

from deeper.web import Refused, Room, read_body


def reading(chunks: Iterable[bytes], largest: int = 1000, encoding: str = "", **given: object) -> bytes:
    """What `read_body` makes of a chunked request."""
    source = iter(chunks)
    headers = [(b"content-encoding", encoding.encode())] if encoding else []

    async def receive() -> dict[str, object]:
        chunk = next(source, None)
        return {"type": "http.request", "body": chunk or b"", "more_body": chunk is not None}

    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    return asyncio.run(read_body(request, largest, **given))  # type: ignore[arg-type]


def status(*given: object, **named: object) -> int:
    with pytest.raises(Refused) as refused:
        reading(*given, **named)  # type: ignore[arg-type]
    return refused.value.status


def test_packed_and_plain_bodies_are_read() -> None:
    data = bytes(range(250)) * 4
    assert reading([data[:300], data[300:]]) == data
    for pack, encoding in ((gzip.compress, "gzip"), (gzip.compress, "x-gzip"), (zlib.compress, "deflate")):
        packed = pack(data)
        assert reading([packed[at : at + 7] for at in range(0, len(packed), 7)], encoding=encoding) == data
        assert status([pack(bytes(1001))], encoding=encoding) == 413
        assert status([packed[:-5]], encoding=encoding) == 400


def test_what_lies_behind_a_packed_end_is_refused() -> None:
    packed = gzip.compress(b"x" * 100)
    assert status([packed + packed], encoding="gzip") == 400
    assert status([packed, b"more"], encoding="gzip") == 400
    # Without an end: neither read on nor kept.
    asked = 0

    def endless() -> Iterable[bytes]:
        nonlocal asked
        yield packed
        while True:
            asked += 1
            yield bytes(1 << 16)

    tracemalloc.start()
    assert status(endless(), 1 << 30, encoding="gzip") == 400
    assert asked == 1 and tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_packed_bytes_count_too() -> None:
    # Empty deflate blocks: any number of bytes that unpack to nothing.
    blocks = zlib.compressobj(wbits=31)
    head = blocks.compress(b"") + blocks.flush(zlib.Z_FULL_FLUSH)
    empty = blocks.flush(zlib.Z_FULL_FLUSH) or b"\0\0\0\xff\xff"
    assert status([head, *[empty * 20] * 20], 1000, encoding="gzip") == 413


def test_all_bodies_together_have_a_limit_and_give_it_back() -> None:
    room = Room(1500)
    with room.share() as one:
        assert len(reading([bytes(1000)], share=one)) == 1000
        with room.share() as other:
            assert status([bytes(300), bytes(300)], share=other) == 503
        assert room.held == 1000
    assert room.held == 0
    with room.share() as again:
        assert len(reading([bytes(1000)], share=again)) == 1000


def test_a_refusal_passes_between_processes() -> None:
    one = pickle.loads(pickle.dumps(Refused(503, "later", {"retry-after": "1"})))
    assert (one.status, one.message, one.headers) == (503, "later", {"retry-after": "1"})
