"""The review's own small server: one page, its pictures, two things that can be done. On loopback, for one person.

Who may ask: whoever opened the address with its key, which only the terminal shows; it becomes a cookie that other sites
cannot make the browser send. Requests under another host name (DNS rebinding) or from another origin are refused, and
the page may load nothing but what comes from here.
"""

from __future__ import annotations

import errno
import hmac
import json
import re
import secrets
import sys
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files as package_files
from typing import Any
from urllib.parse import parse_qs, urlsplit

from deeper.errors import DeeperError, StorageError, UsageError
from deeper.review.session import Session

HOST = "127.0.0.1"
PORT = 8017
# What a decision takes is some 60 bytes.
_LARGEST_BODY = 4096
# Seconds that a connection may say nothing.
_PATIENCE = 30
_PAGES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/review.css": ("review.css", "text/css; charset=utf-8"),
    "/review.js": ("review.js", "text/javascript; charset=utf-8"),
    "/classes.js": ("classes.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class ReviewServer(ThreadingHTTPServer):
    """Serves one `Session` until it is shut down. `port` 0: any free one; a taken port: the next free one is taken.

    `address` is what to open: it holds the key. Raises: UsageError, when no port is free.
    """

    daemon_threads = True
    # Another program's port must not be taken over.
    allow_reuse_address = False

    def __init__(self, session: Session, port: int = PORT) -> None:
        self.session = session
        self.key = secrets.token_urlsafe(24)
        for candidate in [port] if port == 0 else range(port, min(port + 20, 65_536)):
            try:
                super().__init__((HOST, candidate), _Handler)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    reason = (error.strerror or str(error)).lower()
                    raise UsageError(f"--port: {candidate} cannot be had ({reason}); give another one") from None
        else:
            raise UsageError(f"--port: {port} and the next 19 are taken; give another one, or 0 for any that is free")
        self.port = int(self.server_address[1])
        self.hosts = {f"{name}:{self.port}" for name in (HOST, "localhost")}
        self.address = f"http://{HOST}:{self.port}/?key={self.key}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of something is no news."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def _seen(wanted: dict[str, Any]) -> dict[str, Any]:
    """The decision that the page shows, where it says so."""
    return {"seen": wanted["seen"]} if "seen" in wanted else {}


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "deeper", ""
    timeout = _PATIENCE

    def log_message(self, format: str, *arguments: Any) -> None:
        """The terminal belongs to the person who reviews."""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def _answer(self, work: Any) -> None:
        try:
            if self.headers.get("Host", "") not in self.server.hosts:
                raise _Refused(HTTPStatus.MISDIRECTED_REQUEST, "this server answers under its own address alone")
            work()
        except _Refused as refusal:
            # Its body may not have been read: what follows on this connection could be anything.
            self.close_connection = True
            self._send(str(refusal).encode(), "text/plain; charset=utf-8", refusal.status)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except DeeperError as error:
            status = HTTPStatus.INSUFFICIENT_STORAGE if isinstance(error, StorageError) else HTTPStatus.BAD_REQUEST
            self._send_json({"error": str(error)}, status)

    def _get(self) -> None:
        address = urlsplit(self.path)
        given = parse_qs(address.query).get("key", [""])[0]
        if address.path == "/" and self._is_key(given):
            self._send(b"", "text/plain", HTTPStatus.SEE_OTHER, {"Location": "/", "Set-Cookie": self._cookie()})
            return
        self._known()
        if address.path in _PAGES:
            name, kind = _PAGES[address.path]
            self._send((package_files("deeper.review") / "page" / name).read_bytes(), kind)
        elif address.path == "/session":
            self._send_json(self.server.session.describe())
        elif found := re.fullmatch(r"/picture/([0-9]{1,9})", address.path):
            self._send(*self.server.session.picture(int(found[1])))
        else:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such page")

    def _post(self) -> None:
        self._known()
        if self.headers.get("Origin") not in {f"http://{host}" for host in self.server.hosts}:
            raise _Refused(HTTPStatus.FORBIDDEN, "decisions are taken from the review's own page alone")
        if self.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "wanted application/json")
        wanted = self._body()
        if self.path == "/decide":
            number, kind, to = wanted.get("number"), wanted.get("decision"), wanted.get("to")
            whole = type(number) is int and isinstance(kind, str) and (to is None or type(to) is int)
            if not whole:
                raise UsageError("wanted number, decision and, to relabel, to")
            self._send_json(self.server.session.decide(number, kind, to, **_seen(wanted)))  # type: ignore[arg-type]
        elif self.path == "/undo":
            number = wanted.get("number")
            if number is not None and type(number) is not int:
                raise UsageError("wanted a number, or none for the latest decision")
            self._send_json(self.server.session.undo(number, **_seen(wanted)))
        else:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such thing to do")

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length) > _LARGEST_BODY:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"wanted a body of at most {_LARGEST_BODY} bytes")
        try:
            wanted = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            wanted = None
        if not isinstance(wanted, dict):
            raise UsageError("wanted a JSON object")
        return wanted

    def _known(self) -> None:
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get(self._cookie_name())
        except CookieError:
            cookie = None
        if cookie is None or not self._is_key(cookie.value):
            raise _Refused(
                HTTPStatus.FORBIDDEN, "Open the whole address that `deeper review` printed; it holds the key."
            )

    def _is_key(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.server.key.encode())

    def _cookie_name(self) -> str:
        # Cookies do not tell ports apart; two reviews at once must.
        return f"deeper-review-{self.server.port}"

    def _cookie(self) -> str:
        return f"{self._cookie_name()}={self.server.key}; Path=/; HttpOnly; SameSite=Strict"

    def _send_json(self, plain: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(plain, allow_nan=False).encode(), "application/json", status)

    def _send(
        self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        headers = {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
