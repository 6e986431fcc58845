"""A layer around an ASGI application: Host and Origin, token, headers, request ids, and JSON for whatever goes wrong."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deeper.web.body import WHOLE, Refused
from deeper.web.logs import REQUEST, facts
from deeper.web.shedding import plain_post

LOG = logging.getLogger("deeper.web")
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "[::1]"})
# Of every answer.
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
# Of what a browser could show; to JSON, which it may not take for anything else, they would say nothing, and checking
# them is a tenth of what a refusal costs.
_SHOWN = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
            b"media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
    ),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()"),
)
_JSON = (b"content-type", b"application/json")
# What a page of another origin may send, by name (a * stands for no Authorization), and read.
_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": (
        "authorization, content-type, content-encoding, inference-header-content-length, x-request-id"
    ),
    "access-control-max-age": "600",
}
_EXPOSED = b"retry-after, inference-header-content-length, x-request-id"
# Paths that a prober asks without knowing the token.
_OPEN = frozenset({"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"})

Noted = Callable[[str, str, int, float], None]


class _Json(JSONResponse):
    def render(self, content: Any) -> bytes:
        text = content if isinstance(content, _Text) else _ENCODER.encode(content)
        # Half a surrogate pair, which a client's JSON may hold, has no UTF-8; as \\ud800 it goes back as it came.
        return text.encode("utf-8", "backslashreplace")


class _Text(str):
    """JSON already."""


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None, *, by_pieces: bool = False
) -> Response:
    """Any plain value; texts may hold whatever a client sent. `by_pieces`: for hundreds of thousands of numbers, in a
    thread. Python writes JSON with its one lock held; so it lets go of that now and then."""
    return _Json(_Text("".join(_ENCODER.iterencode(content))) if by_pieces else content, status, headers)


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """`{"error": message}`: the one form of every error."""
    return _Json({"error": message}, status, headers)


class Guard:
    """Wraps `app`. `hosts`: further names under which clients may ask (a proxy's, a machine's); loopback names are
    always allowed, `*` allows all. `origins`: other origins whose pages may ask (CORS); none by default. `token`: a bearer
    token that every request must bring but health probes and those for paths of which `public(path)` is true.
    `admit(method)`: raises `Refused` where nothing of the kind can be taken on; asked before the request is routed, and
    of plain ones before they are read (`shed`).
    `noted(method, path, status, seconds)`: called for each answer; seconds from the request, with its body where that was
    read, to the answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: tuple[str, ...] = (),
        origins: tuple[str, ...] = (),
        token: str | None = None,
        public: Callable[[str], bool] = lambda path: False,
        admit: Callable[[str], None] = lambda method: None,
        noted: Noted = lambda method, path, status, seconds: None,
    ) -> None:
        self.app, self.hosts, self.origins, self.token = app, hosts, origins, token
        self.public, self.admit, self.noted = public, admit, noted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no other protocol is spoken here: uvicorn refuses the handshake
        _take_apart(scope)
        began = time.perf_counter()
        identity = _identity(Headers(scope=scope).get("x-request-id", ""))
        scope.setdefault("state", {})["request_id"] = identity
        REQUEST.set(identity)
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], *_HEADERS, (b"x-request-id", identity.encode())]
                if _JSON not in headers:
                    headers += _SHOWN
                if self.origins:
                    origin = Headers(scope=scope).get("origin")
                    if origin is not None and origin in self.origins:
                        headers.append((b"access-control-allow-origin", origin.encode("latin-1")))
                        headers.append((b"access-control-expose-headers", _EXPOSED))
                    headers.append((b"vary", b"Origin"))
                message["headers"] = headers
            await send(message)

        try:
            refusal = self._refusal(Request(scope))
            if refusal is not None:
                await refusal(scope, receive, noting)
            else:
                self.admit(scope["method"])
                await self.app(scope, receive, noting)
        except Refused as error:
            if status == 0:
                await error_response(error.status, error.message, error.headers)(scope, receive, noting)
        except asyncio.CancelledError:
            # The server ends, and has waited for as long as it may.
            if status == 0:
                ending = {"retry-after": "5", "connection": "close"}
                await error_response(503, "the server is ending; ask again later", ending)(scope, receive, noting)
            raise
        except Exception:
            # Never a stack trace to the client; to the log, with the id that the client was given.
            LOG.exception("a request failed")
            if status == 0:
                await error_response(500, f"something went wrong here; ask for request {identity}")(
                    scope, receive, noting
                )
        finally:
            seconds = time.perf_counter() - scope["state"].get(WHOLE, began)
            self.noted(scope["method"], scope["path"], status, seconds)
            _log(scope, status, seconds)

    def shed(self, data: bytes, most: int) -> tuple[bytes, int] | None:
        """Where nothing can be taken on: the whole answer to the plain request at the beginning of `data`, and how many
        bytes that has, head and body. None: it is to be read. `most`: bytes of a head.

        What every answer has (Host, token, request id, the log) is as it is for the others.
        """
        try:
            self.admit("POST")
            return None
        except Refused as error:
            refused = error
        except Exception:
            return None  # told where all other requests are
        began = time.perf_counter()
        request = plain_post(data, most)
        if request is None or self.origins or "connection" in refused.headers:
            return None
        path = unquote(request.target.partition(b"?")[0].decode("ascii"))
        scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": request.headers}
        if self._refusal(Request(scope)) is not None:
            return None
        identity = _identity(Headers(scope=scope).get("x-request-id", ""))
        head, body = _written(refused.status, refused.message, tuple(refused.headers.items()))
        seconds = time.perf_counter() - began
        self.noted("POST", path, refused.status, seconds)
        before = REQUEST.set(identity)
        _log(scope, refused.status, seconds)
        REQUEST.reset(before)
        return b"%sx-request-id: %s\r\n\r\n%s" % (head, identity.encode(), body), request.size

    def _refusal(self, request: Request) -> Response | None:
        if "transfer-encoding" in request.headers and "content-length" in request.headers:
            # Somewhere on the way the two may be read differently, and a second request seen inside the first.
            return error_response(
                400, "give content-length or transfer-encoding, not both (RFC 9112, 6.1)", {"connection": "close"}
            )
        host = request.headers.get("host", "")
        if not self._known(host):
            # Against DNS rebinding: a page of somewhere else whose name was made to point here.
            return error_response(
                421, f"no such host here: {host[:80]!r}; start the server with --allow-host to allow it"
            )
        origin = request.headers.get("origin")
        if origin is not None and origin not in self.origins and _place(origin) != host:
            return error_response(403, f"pages of {origin[:80]!r} may not ask; start the server with --allow-origin")
        if request.method == "OPTIONS" and origin is not None:
            # Before the token: browsers ask this without it.
            return Response(status_code=204, headers=_PREFLIGHT)
        # Not request.url's: that is put together with the Host header, which may hold a path of the client's choice.
        path = request.scope["path"]
        if self.token is not None and path not in _OPEN and not self.public(path):
            scheme, _, given = request.headers.get("authorization", "").partition(" ")
            # Schemes are written in any case (RFC 9110, 11.1).
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self.token.encode()):
                return error_response(401, "a bearer token is wanted", {"www-authenticate": "Bearer"})
        return None

    def _known(self, host: str) -> bool:
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        return "*" in self.hosts or name.lower() in _LOCAL or name.lower() in {one.lower() for one in self.hosts}


def _take_apart(scope: Scope) -> None:
    """A request's target may be a whole address, as proxies are asked; its host counts then (RFC 9112, 3.2.2)."""
    scheme, _, rest = scope["path"].partition("://")
    if scheme.lower() not in ("http", "https"):
        return
    host, slash, path = rest.partition("/")
    scope["path"] = slash + path or "/"
    _, _, raw = scope.get("raw_path", b"").partition(b"://")
    scope["raw_path"] = b"/" + raw.partition(b"/")[2]
    others = [pair for pair in scope["headers"] if pair[0] != b"host"]
    scope["headers"] = [*others, (b"host", host.encode("latin-1", "replace"))]


@lru_cache(maxsize=16)
def _written(status: int, message: str, headers: tuple[tuple[str, str], ...]) -> tuple[bytes, bytes]:
    """An error as it leaves, but for the request's id: its head, not ended yet, and its body."""
    answer = error_response(status, message, dict(headers))
    lines = b"".join(b"%s: %s\r\n" % line for line in (*answer.raw_headers, *_HEADERS))
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode() + lines, bytes(answer.body)


def _identity(given: str) -> str:
    """A client's own request id where it is a sane one, else a new one."""
    return given if 0 < len(given) <= 80 and given.isascii() and given.isprintable() else secrets.token_hex(8)


def _place(origin: str) -> str | None:
    """Host and port of an origin; None where it is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:  # such as a bracket that is never closed
        return None


def _log(scope: Scope, status: int, seconds: float) -> None:
    told = facts(method=scope["method"], path=scope["path"], status=status, milliseconds=round(1000 * seconds, 2))
    LOG.info("answered", extra=told)
