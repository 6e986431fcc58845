"""Running an ASGI application with uvicorn: the socket, the limits, and that those who wait when the server ends get their
answers."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from deeper.errors import UsageError
from deeper.web.connections import Limits, patient
from deeper.web.guard import Guard

# Connections that wait to be accepted.
_BACKLOG = 1024


def bound(host: str, port: int) -> socket.socket:
    """A listening socket. Raises: UsageError, where that cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # With the interface that a link-local address names: fe80::1%eth0.
        one.bind(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4] if "%" in host else (host, port))
        # From now on clients wait instead of being refused: whoever reads the address may ask at once.
        one.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        one.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"cannot listen on {host}:{port} ({reason.lower()}); give another --host or --port") from None
    return one


class _Server(uvicorn.Server):
    """Says when it is ready: only from then on an interrupt ends it as it should."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()


def server(app: ASGIApp, limits: Limits, ready: Callable[[], None] = lambda: None) -> uvicorn.Server:
    """Not yet running. `ready`: called once it answers."""
    config = uvicorn.Config(
        app,
        http=patient(limits, app.shed) if isinstance(app, Guard) else patient(limits),
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=max(1, int(limits.idle_seconds)),
        timeout_graceful_shutdown=int(limits.drain_seconds),
        h11_max_incomplete_event_size=limits.header_bytes,
        backlog=_BACKLOG,
    )
    return _Server(config, ready)


def run(app: ASGIApp, listening: socket.socket, limits: Limits, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGINT or SIGTERM; then take no more, answer what was taken, and return. `ready`: as in `server`."""
    server(app, limits, ready).run(sockets=[listening])
