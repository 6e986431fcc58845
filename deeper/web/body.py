"""Reading a request's body within limits: refused before it is read where its length is told, and while it is read or
unpacked where it is not."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Any

from starlette.requests import ClientDisconnect, Request

# Under this name a request's state says when its body had come, in seconds of `time.perf_counter`.
WHOLE = "whole"
# Unpacked at once; others get their turn between two such pieces.
_PIECE = 1 << 20


class Refused(Exception):
    """A request that gets no answer but an error. `headers`: sent with it."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers or {}

    def __reduce__(self) -> tuple[Any, ...]:
        # Also out of another process.
        return Refused, (self.status, self.message, self.headers)


class Room:
    """Bytes that all requests together may hold while they are read and answered."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0

    def share(self) -> Share:
        """One request's part, empty at first."""
        return Share(self)


class Share:
    """What one request holds of a `Room`; given back on leaving."""

    def __init__(self, room: Room) -> None:
        self.room, self.held = room, 0

    def take(self, count: int) -> None:
        """`count` bytes more. Raises: Refused, with 503, where others hold them."""
        if self.room.held + count > self.room.limit:
            raise Refused(503, "too much is being read already; try again later", {"retry-after": "1"})
        self.room.held += count
        self.held += count

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.room.held -= self.held
        self.held = 0


async def read_body(request: Request, largest: int, share: Share | None = None) -> bytes:
    """The whole body, unpacked from gzip or deflate, at most `largest` bytes of it, packed and unpacked. `share`: what it
    is held in. When it has come is noted in the request's state, as `WHOLE`.

    Raises: Refused, with 413 for a body that is or becomes larger, 415 for another encoding, 400 for a damaged or
    unfinished one or one with something behind its packed end, 503 where `share` gets no more.
    """
    told = request.headers.get("content-length", "")
    if told.isdecimal() and told.isascii() and (len(told) > 15 or int(told) > largest):
        length = f"{int(told):,}" if len(told) <= 15 else f"{told[:15]}…"
        raise Refused(413, f"the body has {length} bytes; at most {largest:,} are taken", {"connection": "close"})
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "x-gzip":  # an older name of the same (RFC 9110, 8.4.1.3)
        encoding = "gzip"
    if encoding not in ("identity", "gzip", "deflate", ""):
        raise Refused(415, f"content encoding {encoding[:40]!r}; wanted gzip, deflate or none")
    packed = _Packed(encoding) if encoding in ("gzip", "deflate") else None
    parts: list[bytes] = []
    came = size = 0

    def keep(part: bytes) -> None:
        nonlocal size
        size += len(part)
        if size > largest:
            raise _too_large(largest)
        if share is not None:
            share.take(len(part))
        parts.append(part)

    async for chunk in _stream(request):
        # Also what is packed counts: an unpacker may swallow any number of bytes and give none.
        came += len(chunk)
        if came > largest:
            raise _too_large(largest)
        if packed is None:
            keep(chunk)
            continue
        for part in packed.unpacked(chunk):
            keep(part)
            await asyncio.sleep(0)
    # From here on what takes time is the server, not the client's line.
    request.scope.setdefault("state", {})[WHOLE] = time.perf_counter()
    if packed is not None and not packed.complete:
        raise Refused(400, f"the {encoding} body ends too early")
    return b"".join(parts)


class _Packed:
    """Unpacks one gzip or zlib stream, piece by piece."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        # 32: zlib's or gzip's header, whichever is there.
        self.unpacker = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)

    @property
    def complete(self) -> bool:
        return self.unpacker.eof

    def unpacked(self, chunk: bytes) -> Iterator[bytes]:
        """What `chunk` gives, at most `_PIECE` bytes at once."""
        while chunk:
            # zlib keeps whatever lies behind the end, without a limit; a gzip file of several members is not taken.
            if self.unpacker.eof:
                raise Refused(400, f"something lies behind the end of the {self.encoding} body; wanted one member")
            try:
                part = self.unpacker.decompress(chunk, _PIECE)
            except zlib.error:
                raise Refused(400, f"the body is no {self.encoding}") from None
            chunk = self.unpacker.unused_data or self.unpacker.unconsumed_tail
            if not part and not chunk:
                return
            yield part


def _too_large(largest: int) -> Refused:
    return Refused(413, f"the body has more than {largest:,} bytes, which is the limit", {"connection": "close"})


async def _stream(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise Refused(400, "the client went away before its body was whole") from None
