"""What one connection may take: slow and silent clients are cut off, hasty ones are told what is wrong."""

from __future__ import annotations

import asyncio
import asyncio.selector_events
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deeper.web import Guard, Limits, Refused, error_response, read_body
from deeper.web.connections import Lingering, patient
from deeper.web.running import bound, server

LIMITS = Limits(request_seconds=1.0, slowest=50_000, unread_seconds=1.0, idle_seconds=1.0)


async def large(request: Request) -> Response:
    return Response(bytes(200_000))


async def huge(request: Request) -> Response:
    return Response(bytes(20_000_000))


async def told(request: Request) -> Response:
    return Response(str(len(await read_body(request, 1_000_000))))


async def unread(request: Request) -> Response:
    return Response("full", 503)


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error_response(error.status, error.message, error.headers)


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[str, int]]:
    app = Guard(
        Starlette(
            routes=[
                Route("/large", large),
                Route("/huge", huge),
                Route("/told", told, methods=["POST"]),
                Route("/unread", unread, methods=["POST"]),
            ],
            exception_handlers={Refused: refused},
        )
    )
    with bound("127.0.0.1", 0) as listening:
        running = server(app, LIMITS)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname()
        running.should_exit = True
        thread.join(20)


@contextlib.contextmanager
def connected(place, request: bytes = b"") -> Iterator[socket.socket]:
    with socket.socket() as one:
        # Small, so that what is not read soon lies with the server.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.settimeout(15)
        one.connect(place)
        one.sendall(request)
        yield one


def post(path: str, length: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def rest(one: socket.socket) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionError):
        while part := one.recv(65536):
            answer += part
    return answer


def closed_after(one: socket.socket) -> float:
    """Seconds until the server has cut the connection, without reading."""
    began = time.monotonic()
    while time.monotonic() < began + 10:
        try:
            one.send(b"G")
        except ConnectionError:
            return time.monotonic() - began
        except (BlockingIOError, TimeoutError):
            pass
        time.sleep(0.05)
    return float("inf")


def test_who_asks_and_never_reads_is_cut_off(place) -> None:
    with connected(place, b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200) as one:
        one.setblocking(False)
        assert closed_after(one) < 5
    # Also where the connection is to be closed with the answer.
    with connected(place, b"GET /huge HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") as one:
        time.sleep(3)
        assert len(rest(one)) < 20_000_000


def test_who_reads_slowly_gets_it_all(place) -> None:
    with connected(place, b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") as one:
        answer = b""
        while part := one.recv(16_000):
            answer += part
            time.sleep(0.1)
        assert answer.endswith(bytes(200_000))


def test_who_reads_one_large_answer_after_the_other_gets_them_all(place) -> None:
    """Whenever it is looked, much lies ready; but it is another answer each time."""
    with connected(place) as one:
        began = time.monotonic()
        while time.monotonic() < began + 3.5:
            one.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < 200_000:
                part = one.recv(4096)
                assert part
                answer += part
                time.sleep(0.002)


def test_a_slow_sender_passes_and_a_dribbler_does_not(place) -> None:
    with connected(place, post("/told", 300_000)) as one:
        # 75,000 bytes a second for four seconds, where a request may take one; by the clock, however late it wakes.
        began = time.monotonic()
        for number in range(1, 41):
            one.sendall(bytes(7500))
            time.sleep(max(0.0, began + number / 10 - time.monotonic()))
        assert rest(one).endswith(b"300000")
    for start in (post("/told", 300_000), b"POST /told HTTP/1.1\r\n", b""):
        with connected(place, start) as one:
            began = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while time.monotonic() < began + 8:
                    one.sendall(b"x")
                    time.sleep(0.1)
            assert time.monotonic() - began < 4


def test_a_refused_sender_gets_its_refusal(place) -> None:
    # Without a length, larger than allowed, and the client reads only when it has sent all.
    chunk = b"10000\r\n" + bytes(65536) + b"\r\n"
    with connected(place, b"POST /told HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n") as one:
        for _ in range(100):
            one.sendall(chunk)
        assert rest(one).startswith(b"HTTP/1.1 413")


def test_a_body_that_nobody_read_does_not_spoil_the_connection(place) -> None:
    with connected(place, post("/unread", 200_000)) as one:
        answer = one.recv(4096)
        assert answer.startswith(b"HTTP/1.1 503")
        one.sendall(bytes(200_000) + post("/told", 3) + b"abc")
        answer += rest(one)  # it is closed when it stays idle
        assert b"HTTP/1.1 200" in answer and answer.endswith(b"3")
    # One that goes on for ever is cut off like any other.
    with connected(place, post("/unread", 10**9)) as one:
        assert one.recv(4096).startswith(b"HTTP/1.1 503")
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < began + 8:
                one.sendall(b"x")
                time.sleep(0.1)
        assert time.monotonic() - began < 6


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\0",
        b"GET / HTTP/9\r\n\r\n",
        b"GET /\r\n\r\n",
        b"POST /told HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        b"POST /told HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"POST /told HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_told_so_in_json(place, data) -> None:
    with connected(place, data + b"\r\n") as one:
        head, _, body = rest(one).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400") and b"application/json" in head
    assert set(json.loads(body)) == {"error"}


@pytest.mark.parametrize("request_line", [b"GET /small", b"POST /unread"])
def test_a_body_that_turns_out_to_be_none_is_answered_once(place, request_line, caplog) -> None:
    data = request_line + b" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"
    with connected(place, data) as one:
        answer = rest(one)
    assert answer.count(b"HTTP/1.1 ") == 1 and answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404", b"HTTP/1.1 503"))
    assert not [one for one in caplog.records if one.exc_info or one.levelname == "ERROR"]


def test_a_request_of_two_lengths_is_refused_and_nothing_after_it_is_answered(place) -> None:
    """A proxy may have read it by the other length, and what follows may be somebody else's (RFC 9112, 6.1)."""
    hidden = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"POST /told HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(place, head + b"3\r\nabc\r\n0\r\n\r\n" + hidden) as one:
        answer = rest(one)
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer.lower()


def test_an_answer_leaves_in_one_call_of_the_system(place, monkeypatch) -> None:
    """Headers and body together: where most are refused, a second call is a third of what a refusal costs."""
    calls: list[bytes] = []
    write = asyncio.selector_events._SelectorSocketTransport.write

    def counted(self, data) -> None:
        calls.append(bytes(data))
        write(self, data)

    monkeypatch.setattr(asyncio.selector_events._SelectorSocketTransport, "write", counted)
    with socket.create_connection(place) as client:
        for _ in range(3):
            client.sendall(b"POST /unread HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nok")
            answer = b""
            while not answer.endswith(b"full"):
                part = client.recv(65_536)
                assert part
                answer += part
    assert len(calls) == 3
    assert all(one.startswith(b"HTTP/1.1 503") and one.endswith(b"full") for one in calls)


def test_who_stops_after_a_quick_beginning_is_cut_off(place) -> None:
    """What came quickly buys no silence."""
    with connected(place, post("/told", 900_000)) as one:
        one.sendall(bytes(800_000))
        one.setblocking(False)
        began = time.monotonic()
        while time.monotonic() < began + 10:
            with contextlib.suppress(BlockingIOError):
                assert one.recv(100) == b""
                break
            time.sleep(0.05)
        assert time.monotonic() - began < 4


def test_an_answer_of_this_very_turn_is_not_taken_for_one_that_nobody_reads() -> None:
    """The timer may go off between an answer and the turn in which it leaves."""

    async def whole() -> bool:
        loop = asyncio.get_running_loop()
        here, there = socket.socketpair()
        transport, _ = await loop.connect_accepted_socket(asyncio.Protocol, here)

        class Standing(patient(LIMITS)):
            def __init__(self) -> None:
                self.loop, self.transport = loop, None

        protocol = Standing()
        protocol.transport = protocol.half_open = Lingering(transport, protocol)
        protocol.half_open.write(b"answer")
        protocol._unread(0)
        there.setblocking(False)
        read = await loop.sock_recv(there, 100)
        closing = transport.is_closing()
        transport.close()
        there.close()
        return read == b"answer" and not closing

    assert asyncio.run(whole())
