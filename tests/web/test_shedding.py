"""Requests that are refused before they are read: what is plain is what h11 reads so, and nothing else of a connection
changes."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deeper.web import Guard, Limits, Refused, read_body
from deeper.web.running import bound, server
from deeper.web.shedding import plain_post
from tests.patience import patient

LIMITS = Limits(request_seconds=1.0, slowest=50_000, unread_seconds=5.0, idle_seconds=2.0)
BODY = bytes(range(256)) * 400


def post(*headers: str, length: int | None = len(BODY), version: str = "1.1", target: str = "/told") -> bytes:
    lines = [f"POST {target} HTTP/{version}", "Host: localhost", *headers]
    lines += [] if length is None else [f"Content-Length: {length}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Desk:
    """A server that has room or not, and what it noted."""

    def __init__(self) -> None:
        self.full = True
        self.noted: list[tuple[str, str, int]] = []
        self.read = 0

    def admit(self, method: str) -> None:
        if self.full and method == "POST":
            raise Refused(503, "no room; try again later", {"retry-after": "3"})


async def live(request: Request) -> Response:
    return Response("live")


@contextlib.contextmanager
def running(token: str | None = None) -> Iterator[tuple[tuple[str, int], Desk]]:
    desk = Desk()

    async def told(request: Request) -> Response:
        desk.read += 1
        return Response(str(len(await read_body(request, 1_000_000))))

    app = Guard(
        Starlette(routes=[Route("/told", told, methods=["POST"]), Route("/live", live)]),
        token=token,
        public=lambda path: path == "/live",
        admit=desk.admit,
        noted=lambda method, path, status, seconds: desk.noted.append((method, path, status)),
    )
    with bound("127.0.0.1", 0) as listening:
        serving = server(app, LIMITS)
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]})
        thread.start()
        yield listening.getsockname(), desk
        serving.should_exit = True
        thread.join(patient(20))


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[tuple[str, int], Desk]]:
    with running() as found:
        yield found


@pytest.fixture
def connection(place) -> Iterator[socket.socket]:
    (address, desk) = place
    desk.full = True
    desk.noted.clear()
    with socket.create_connection(address, timeout=patient(10)) as one:
        yield one


def answer(one: socket.socket) -> http.client.HTTPResponse:
    found = http.client.HTTPResponse(one)
    found.begin()
    found.body = found.read()  # type: ignore[attr-defined]
    return found


def test_it_is_refused_once_and_the_connection_goes_on(connection, place, caplog) -> None:
    _, desk = place
    read = desk.read
    with caplog.at_level(logging.INFO, "deeper.web"):
        connection.sendall(post("X-Request-Id: mine", target="/told?x=1") + BODY)
        first = answer(connection)
        assert first.status == 503 and json.loads(first.body) == {"error": "no room; try again later"}
        assert first.headers["retry-after"] == "3" and first.headers["x-request-id"] == "mine"
        assert first.headers["x-content-type-options"] == "nosniff" and first.headers["date"]
    assert desk.noted == [("POST", "/told", 503)] and desk.read == read  # before it is sent
    assert [(one.facts["path"], one.facts["status"]) for one in caplog.records if hasattr(one, "facts")] == [
        ("/told", 503)
    ]
    # Two at once, the second in pieces; then others, by h11.
    connection.sendall(post() + BODY + post() + BODY[:1000])
    assert answer(connection).status == answer(connection).status == 503
    for first_byte in range(1000, len(BODY), 20_000):
        connection.sendall(BODY[first_byte : first_byte + 20_000])
        time.sleep(0.01)
    connection.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer(connection).body == b"live"
    desk.full = False
    connection.sendall(post() + BODY)
    assert answer(connection).body == str(len(BODY)).encode() and desk.read == read + 1
    desk.full = True
    connection.sendall(post() + BODY)
    assert answer(connection).status == 503 and desk.read == read + 1


@pytest.mark.parametrize(
    "head",
    [
        post("Connection: close"),
        post("Transfer-Encoding: chunked", length=None),
        post("Expect: 100-continue"),
        post(version="1.0"),
        post("Upgrade: h2c", "Connection: upgrade"),
    ],
)
def test_what_is_not_plain_is_refused_the_usual_way(connection, head) -> None:
    connection.sendall(head)
    found = answer(connection)
    assert found.status == 503 and found.headers["retry-after"] == "3" and found.headers["x-request-id"]


def test_who_may_not_ask_learns_nothing_of_it() -> None:
    with running(token="s3cret") as (address, desk):
        for headers, status in (((), 401), (("Authorization: Bearer s3cret",), 503)):
            with socket.create_connection(address, timeout=patient(10)) as one:
                one.sendall(post(*headers) + BODY)
                assert answer(one).status == status
        with socket.create_connection(address, timeout=patient(10)) as one:
            one.sendall(post("Authorization: Bearer s3cret").replace(b"localhost", b"evil.example") + BODY)
            assert answer(one).status == 421
        deadline = time.monotonic() + patient(10)  # noted after it is sent
        while len(desk.noted) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [status for _, _, status in desk.noted] == [401, 503, 421]


def test_a_refused_body_that_stalls_is_cut_off(connection) -> None:
    connection.sendall(post() + BODY[:1000])
    assert answer(connection).status == 503
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        assert connection.recv(1) == b""
    assert time.monotonic() - began < patient(8)


def test_a_refused_connection_that_says_no_more_is_closed(connection) -> None:
    connection.sendall(post() + BODY)
    assert answer(connection).status == 503
    began = time.monotonic()
    assert connection.recv(1) == b"" and time.monotonic() - began < patient(8)


@pytest.mark.parametrize("end", [b"", b"b", b"\x01"])
def test_blanks_cost_no_more_than_their_number(end: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nX: a" + b" " * 30_000 + end + b"\r\nContent-Length: 0\r\n\r\n"
    began = time.process_time()
    assert (plain_post(head, 32 << 10) is None) is (end == b"\x01")
    assert time.process_time() - began < 1


@pytest.mark.parametrize("reads", [0, 40_000], ids=["nothing", "slowly"])
def test_who_pipelines_without_reading_fills_no_memory(place, reads: int) -> None:
    """Answers that nobody takes wait with the client, not here."""
    (address, desk) = place
    desk.full = True
    with socket.create_connection(address, timeout=patient(10)) as one:
        one.setblocking(False)
        sent, ends = 0, time.monotonic() + 4
        while time.monotonic() < ends:
            try:
                sent += one.send(post(length=0) * 1000)
            except BlockingIOError:
                time.sleep(0.05)
            except ConnectionError:
                break
            if reads:
                with contextlib.suppress(BlockingIOError):
                    one.recv(reads // 20)
        # What the system holds for both sides, and a little more: not what seconds of sending come to.
        assert sent < 40 << 20 and len(desk.noted) < 40_000
        desk.noted.clear()


def test_who_still_sends_when_the_server_ends_has_the_answer() -> None:
    with running() as (address, _):
        one = socket.create_connection(address, timeout=patient(10))
        one.sendall(post(length=10_000_000) + BODY)
        time.sleep(0.3)
        one.sendall(BODY)
    with one:
        assert answer(one).status == 503


NAMES = st.sampled_from(
    [
        "Host",
        "Content-Length",
        "content-length",
        "Transfer-Encoding",
        "Expect",
        "Connection",
        "Upgrade",
        "X y",
        "X",
        "",
        ":",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        ["localhost", "5", "05", "+5", "5, 5", " 5 ", "5\t", "keep-alive", "close", "chunked", "a\tb", "é"]
    ),
    st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=6),
)
FIRSTS = st.sampled_from(
    [
        "POST / HTTP/1.1",
        "POST /a?b HTTP/1.1",
        "POST  / HTTP/1.1",
        "post / HTTP/1.1",
        "GET / HTTP/1.1",
        "POST / HTTP/1.0",
    ]
    + ["POST /é HTTP/1.1", "POST * HTTP/1.1", "POST http://x/ HTTP/1.1", "POST / HTTP/1.1 ", "POST /\0 HTTP/1.1"]
)


@given(FIRSTS, st.lists(st.tuples(NAMES, VALUES), max_size=4), st.sampled_from(["\r\n", "\n", "\r"]))
def test_what_is_taken_for_plain_is_what_h11_reads(first: str, headers: list[tuple[str, str]], newline: str) -> None:
    lines = [first, "Host: localhost", *(f"{name}:{value}" for name, value in headers), "Content-Length: 7"]
    head = (newline.join(lines[:-1]) + "\r\n" + lines[-1] + "\r\n\r\n").encode("latin-1")
    found = plain_post(head + b"1234567GET", 32 << 10)
    if found is None:
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head + b"1234567GET")
    request = connection.next_event()
    assert isinstance(request, h11.Request) and request.method == b"POST" and request.target == found.target
    kept = [pair for pair in request.headers if pair[0] != b"connection"]
    assert kept == found.headers and found.size == len(head) + 7
    data = connection.next_event()
    assert isinstance(data, h11.Data) and bytes(data.data) == b"1234567"
    assert isinstance(connection.next_event(), h11.EndOfMessage)


def test_a_usual_request_is_plain() -> None:
    """Else nothing would be gained, and no test above would say so."""
    browsers = post("User-Agent: x", "Accept: */*", "Connection: keep-alive", "Content-Type: image/jpeg")
    found = plain_post(browsers + BODY, 32 << 10)
    assert found is not None and found.size == len(browsers) + len(BODY) and found.target == b"/told"
    assert plain_post(browsers[:-1], 32 << 10) is None and plain_post(browsers, 50) is None
