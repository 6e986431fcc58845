"""Who may ask: hosts, origins, tokens, preflights; and how it is told and logged."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deeper.web import Guard, Refused, error_response, json_response, log_as_json, read_body

PAGE = "https://photos.example"


async def there(request: Request) -> Response:
    return error_response(503, "full \ud800", {"retry-after": "3"})


async def broken(request: Request) -> Response:
    raise RuntimeError("a secret\nof two lines")


@dataclass
class Answer:
    status_code: int
    headers: dict[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """Asks an application without a server."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def get(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        raw = [(name.encode(), value.encode()) for name, value in {"host": "localhost", **(headers or {})}.items()]
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": raw}
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        given = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], given, b"".join(one["body"] for one in sent[1:]).decode())

    def options(self, path: str, headers: dict[str, str]) -> Answer:
        return self.get(path, headers, "OPTIONS")


def client(**options: Any) -> Client:
    return Client(Guard(Starlette(routes=[Route("/", there), Route("/broken", broken)]), **options))


PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,inference-header-content-length",
}


def test_without_origins_no_other_page_may_ask() -> None:
    asked = client(token="s3cret")
    assert asked.options("/", headers=PREFLIGHT).status_code == 403
    answer = asked.get("/", headers={"origin": PAGE, "authorization": "Bearer s3cret"})
    assert answer.status_code == 403 and not [one for one in answer.headers if one.startswith("access-control")]
    assert asked.get("/", headers={"authorization": "Bearer s3cret"}).status_code == 503


def test_a_whole_address_is_a_target_too() -> None:
    asked = client(token="s3cret")
    with_token = {"authorization": "Bearer s3cret", "host": "elsewhere.example"}
    assert asked.get("http://localhost:8000/", with_token).status_code == 503
    assert asked.get("HTTPS://localhost", with_token).status_code == 503
    assert asked.get("http://localhost/none", with_token).status_code == 404
    # Its host counts, not the header's; and the token is wanted as ever.
    assert asked.get("http://elsewhere.example/", {**with_token, "host": "localhost"}).status_code == 421
    assert asked.get("http://localhost/").status_code == 401


def test_a_page_that_is_allowed_may_send_a_token_and_read_the_headers() -> None:
    asked = client(token="s3cret", origins=(PAGE,))
    # A browser asks first, without the token; a * would not cover Authorization.
    answer = asked.options("/", headers=PREFLIGHT)
    assert answer.status_code == 204 and answer.headers["access-control-allow-origin"] == PAGE
    names = {one.strip() for one in answer.headers["access-control-allow-headers"].split(",")}
    assert {"authorization", "content-type", "content-encoding", "inference-header-content-length"} <= names
    assert "POST" in answer.headers["access-control-allow-methods"] and answer.headers["vary"] == "Origin"
    answer = asked.get("/", headers={"origin": PAGE, "authorization": "Bearer s3cret"})
    assert answer.status_code == 503 and answer.headers["access-control-allow-origin"] == PAGE
    exposed = {one.strip() for one in answer.headers["access-control-expose-headers"].split(",")}
    assert {"retry-after", "inference-header-content-length", "x-request-id"} <= exposed
    refused = asked.get("/", headers={"origin": PAGE})
    assert refused.status_code == 401 and refused.headers["access-control-allow-origin"] == PAGE
    assert asked.options("/", headers={**PREFLIGHT, "origin": "https://other.example"}).status_code == 403


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", "]", "http://localhost:x", "x" * 5000])
def test_an_origin_that_is_none_is_refused(origin) -> None:
    asked = client()
    answer = asked.get("/", headers={"origin": origin})
    assert answer.status_code == 403 and set(answer.json()) == {"error"}


def test_an_error_may_quote_what_has_no_utf_8() -> None:
    asked = client()
    assert asked.get("/").json() == {"error": "full \ud800"}


def test_long_answers_are_the_same_by_pieces() -> None:
    content = {"a": [0.1, 1e-30, 3], "b": ["é\ud800", None, True], "c": {"d": []}}
    whole = json_response(content)
    assert json_response(content, by_pieces=True).body == whole.body and json.loads(whole.body) == content


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root, stream = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    log_as_json(stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level


def test_every_line_of_the_log_is_json_with_time_level_and_request(log) -> None:
    asked = client()
    answer = asked.get("/broken", headers={"x-request-id": "mine"})
    assert answer.status_code == 500 and answer.headers["x-request-id"] == "mine" and "secret" not in answer.text
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request\nreceived.")
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert all(set(one) >= {"time", "level", "logger", "message"} for one in lines)
    failed = next(one for one in lines if one["level"] == "error")
    assert failed["request"] == "mine" and "RuntimeError: a secret" in failed["trace"]
    answered = next(one for one in lines if one["message"] == "answered")
    assert (answered["request"], answered["method"], answered["path"], answered["status"]) == (
        "mine",
        "GET",
        "/broken",
        500,
    )
    assert answered["milliseconds"] >= 0
    assert lines[-1]["logger"] == "uvicorn.error" and lines[-1]["level"] == "warning" and "request" not in lines[-1]


def test_what_cannot_be_taken_on_is_refused_before_it_is_routed() -> None:
    def admit(method: str) -> None:
        if method == "POST":
            raise Refused(503, "full", {"retry-after": "7"})

    asked = client(token="s3cret", admit=admit)
    allowed = {"authorization": "Bearer s3cret"}
    answer = asked.get("/nowhere", allowed, "POST")
    assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (503, {"error": "full"}, "7")
    assert answer.headers["x-request-id"]
    # Who may not ask learns nothing of it, and who only looks is let through.
    assert asked.get("/nowhere", method="POST").status_code == 401
    assert asked.get("/nowhere", allowed).status_code == 404


def test_what_is_cancelled_when_the_server_ends_is_told_so() -> None:
    async def waiting(request: Request) -> Response:
        await asyncio.sleep(60)
        raise AssertionError

    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def ended() -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
        }
        task = asyncio.ensure_future(Guard(Starlette(routes=[Route("/", waiting)]))(scope, receive, send))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ended())
    assert sent[0]["status"] == 503 and json.loads(sent[1]["body"]) == {
        "error": "the server is ending; ask again later"
    }
    assert (b"retry-after", b"5") in sent[0]["headers"]


def test_the_seconds_of_a_request_begin_with_its_whole_body() -> None:
    noted: list[tuple[str, int, float]] = []

    async def read(request: Request) -> Response:
        return Response(await read_body(request, 100))

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.5)  # a slow line
        return {"type": "http.request", "body": b"all", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        pass

    app = Guard(
        Starlette(routes=[Route("/", read, methods=["POST"])]),
        noted=lambda method, path, status, seconds: noted.append((path, status, seconds)),
    )
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [(b"host", b"localhost")]}
    asyncio.run(app(scope, receive, send))
    ((path, status, seconds),) = noted
    assert (path, status) == ("/", 200) and 0 <= seconds < 0.45


def test_headers_for_browsers_go_with_what_they_could_show() -> None:
    async def page(request: Request) -> Response:
        return Response("<p>", media_type="text/html")

    asked = Client(Guard(Starlette(routes=[Route("/", page)])))
    shown, plain = asked.get("/").headers, asked.get("/nowhere", {"host": "elsewhere.example"}).headers
    for name in ("x-content-type-options", "cross-origin-resource-policy"):
        assert name in shown and name in plain
    for name in ("content-security-policy", "x-frame-options", "referrer-policy", "permissions-policy"):
        assert name in shown and name not in plain
