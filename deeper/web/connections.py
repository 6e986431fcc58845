"""What one connection may take: time to send a request, time to read an answer; and how it is closed.

uvicorn leaves these open. A client that sends too slowly, or that does not read what it asked for, is cut off; one that is
refused while it still sends is read on for a moment, for a connection that is closed with bytes unread is reset, and the
reset would take the refusal with it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from deeper.errors import UsageError

# Seconds for which a refused client may go on sending.
_LINGER = 3.0
# Bytes that are read at once. asyncio's own 256 KiB are more than the C library keeps at hand: memory would be mapped anew
# for every read, which is a sixth of what a refusal of 60 kB costs.
_PIECE = 64 << 10


# (bytes that have come, most bytes of a head) → the answer to the request that begins there, and its size; or None.
Shed: TypeAlias = Callable[[bytes, int], tuple[bytes, int] | None]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one client, and all together, may take."""

    connections: int = 1_000
    request_seconds: float = 8.0
    """From a connection's (or the next request's) first byte to the last of the request, and more where enough comes:"""
    slowest: int = 16 << 10
    """bytes a second; as many seconds more as the bytes that came take at this rate, but none without bytes of its own:
    after the first `request_seconds` as many must come in each. Answers are read as quickly."""
    idle_seconds: float = 5.0
    """Between two requests on one connection."""
    unread_seconds: float = 10.0
    """After so long it is looked whether a client reads its answer."""
    header_bytes: int = 32 << 10
    drain_seconds: float = 30.0
    """After SIGTERM, for requests that were taken."""

    def __post_init__(self) -> None:
        if min(vars(self).values()) <= 0:
            raise UsageError("every limit must be above 0")


class Lingering:
    """A transport whose `close` goes on reading for a moment where the client has not finished its request.

    What is written in one turn of the event loop leaves in one call of the system: an answer is its headers and its
    body, and a second call is a third of what a refusal costs.
    """

    def __init__(self, transport: asyncio.Transport, protocol: Patient) -> None:
        self._transport, self._protocol = transport, protocol
        self._waiting: list[bytes] = []
        self.lingering = False
        self.written = 0
        self.busy_since = 0.0
        """When what lies unread now was begun to be written."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Counted, so that it can be told how much of it was taken."""
        self.written += len(data)
        if not self._waiting:
            self._protocol.loop.call_soon(self.flush)
            if not self._transport.get_write_buffer_size():
                self.busy_since = self._protocol.loop.time()
        self._waiting.append(data)

    def flush(self) -> None:
        """Hand over what was written in this turn."""
        waiting, self._waiting = self._waiting, []
        if waiting and not self._transport.is_closing():
            self._transport.write(b"".join(waiting))

    def get_write_buffer_size(self) -> int:
        """Bytes that are not with the system yet."""
        return self._transport.get_write_buffer_size() + sum(map(len, self._waiting))

    @property
    def taken(self) -> int:
        """Bytes that the client, or the system for it, has taken so far."""
        return self.written - self.get_write_buffer_size()

    def is_closing(self) -> bool:
        """Also while it lingers: nothing more is to be written."""
        return self.lingering or self._transport.is_closing()

    def close(self) -> None:
        """Half of it at first, where the client still sends; the second call closes in any case."""
        self.flush()
        sending = self._protocol.passing > 0 or self._protocol.conn.their_state in (h11.SEND_BODY, h11.ERROR)
        if self.lingering or self._transport.is_closing() or not sending:
            self._transport.close()
            self._protocol.watch_reading()
            return
        self.lingering = True
        self._transport.write_eof()
        self._transport.resume_reading()
        self._protocol.linger(_LINGER)


class Patient(H11Protocol):
    """Closes connections that dribble, those that never read, and those beyond the limit; see `patient`."""

    limits: Limits
    shed: Shed
    half_open: Lingering
    _timer: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _began = 0.0
    _came = 0
    passing = 0
    """Bytes still to come of a request that was refused unread."""

    def connection_made(self, transport: Any) -> None:
        if len(self.connections) >= self.limits.connections:
            transport.abort()
            return
        transport.max_size = _PIECE
        self.half_open = Lingering(transport, self)
        super().connection_made(self.half_open)  # type: ignore[arg-type]
        self._expect()

    def data_received(self, data: bytes) -> None:
        if self.half_open.lingering:
            return
        data = self._unshed(data)
        if not data:
            return
        if self._timer is None and not self._whole():
            self._expect()
        self._came += len(data)
        # h11 looks at the size of headers only where they are not whole yet: so they come to it in pieces.
        most = self.limits.header_bytes
        while self.conn.their_state is h11.IDLE and len(data) > most:
            super().data_received(data[:most])
            data = data[most:]
        if not self.transport.is_closing():
            super().data_received(data)
        self._settle()

    def _unshed(self, data: bytes) -> bytes:
        """What of `data` is to be read: without a request that is refused unread, and answered here. Of several at once
        only the first is; h11 takes the others one by one, and waits for clients that do not read."""
        if self.passing:
            data = self._passed(data)
        between = self.conn.their_state is h11.IDLE and self.conn.our_state is h11.IDLE
        if (
            not data
            or not between
            or self.conn.trailing_data[0]
            or self.flow.write_paused
            or self.transport.is_closing()
        ):
            return data
        answered = self.shed(data, self.limits.header_bytes)
        if answered is None:
            return data
        answer, self.passing = answered
        first, _, rest = answer.partition(b"\r\n")
        usual = b"".join(b"%s: %s\r\n" % pair for pair in self.server_state.default_headers)
        self._unset_keepalive_if_required()
        self.transport.write(b"%s\r\n%s%s" % (first, usual, rest))
        return self._passed(data)

    def _passed(self, data: bytes) -> bytes:
        """What follows the request that was refused unread."""
        count = min(self.passing, len(data))
        self.passing -= count
        if not self.passing:
            self._settle()
        elif self._timer is None:
            self._expect()
        self._came += count
        return data[count:]

    def on_response_complete(self) -> None:
        self.half_open.flush()  # only what the client has not taken by then is watched
        super().on_response_complete()
        self._settle()
        self.watch_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._stop()
        if self._stalled is not None:
            self._stalled.cancel()
        if self in self.connections:
            super().connection_lost(error)

    def send_400_response(self, msg: str) -> None:
        """For what is no HTTP: like every error, JSON."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            if self.cycle is not None and not self.cycle.response_complete:
                # Its own answer, to a body that turned out to be none, would be a second one.
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            body = json.dumps({"error": f"this is no HTTP request: {msg[:1].lower()}{msg[1:]}"}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.watch_reading()

    def watch_reading(self) -> None:
        """Cut the client off where, in `unread_seconds`, it takes next to nothing of what lies ready for it."""
        if self._stalled is None and self.transport.get_write_buffer_size():
            self._stalled = self.loop.call_later(self.limits.unread_seconds, self._unread, self.half_open.taken)

    def linger(self, seconds: float) -> None:
        """Close for good after `seconds`."""
        self._stop()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _unread(self, before: int) -> None:
        self._stalled = None
        self.half_open.flush()
        limits, lies = self.limits, self.loop.time() - self.half_open.busy_since
        if not self.transport.get_write_buffer_size():
            return
        if lies < limits.unread_seconds:  # all before it was read
            left = limits.unread_seconds - lies
            self._stalled = self.loop.call_later(left, self._unread, self.half_open.taken)
        elif self.half_open.taken - before < limits.slowest * limits.unread_seconds:
            self.transport.abort()
        else:
            self.watch_reading()

    def _whole(self) -> bool:
        """Whether nothing is missing of the request that is being answered."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def _settle(self) -> None:
        """Wait for the rest of a request, for the next one, or for nothing."""
        if self.transport.is_closing():
            return
        state = self.conn.their_state
        if self.passing:
            return
        if state is h11.SEND_BODY or (state is h11.IDLE and self.conn.trailing_data[0]):
            if self._timer is None:
                self._expect()
            return
        self._stop()
        if state is h11.IDLE and self.timeout_keep_alive_task is None:
            # Between two requests, where uvicorn's own timer was stopped by the rest of a body that nobody read.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _expect(self) -> None:
        self._stop()
        self._began, self._came = self.loop.time(), 0
        self._timer = self.loop.call_later(self.limits.request_seconds, self._late, 0)

    def _late(self, wanted: float) -> None:
        """`wanted`: bytes that must have come by now."""
        self._timer = None
        seconds, slowest = self.limits.request_seconds, self.limits.slowest
        left = self._began + seconds + self._came / slowest - self.loop.time()
        if left <= 0 or self._came < wanted:
            self.transport.abort()
            return
        # In windows: what came quickly at first buys no silence after it.
        wait = min(left, seconds)
        self._timer = self.loop.call_later(wait, self._late, self._came + slowest * wait)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def patient(wanted: Limits, shedding: Shed = lambda data, most: None) -> type[Patient]:
    """The protocol with these limits. `shedding`: as `Guard.shed`."""

    class Limited(Patient):
        limits = wanted
        shed = staticmethod(shedding)

    return Limited
