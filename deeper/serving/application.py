"""All routes of the server, and its life: engines warmed, bundles watched, queues ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from importlib.resources import files as package_files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from deeper.errors import UsageError
from deeper.serving import open_inference, plain, tensorflow_rest
from deeper.serving.asking import Asking
from deeper.serving.batching import Batcher
from deeper.serving.decoding import Decoder
from deeper.serving.hosted import Hosted, Models, Version
from deeper.serving.metrics import Metrics
from deeper.web import Guard, Refused, Room, error_response

LOG = logging.getLogger("deeper.serving")

_KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


@dataclass(frozen=True, kw_only=True)
class ServingOptions:
    """How much a server takes on."""

    largest_batch: int = 64
    """Pictures that the engine gets at once."""
    wait: float = 0.003
    """Seconds that a first picture waits for others."""
    queue: int = 256
    """Pictures that may wait; more are refused with 503 at once."""
    seconds: float = 30.0
    """For one request, from the whole body to the answer."""
    largest_body: int = 32 << 20
    """Bytes of a request, also unpacked."""
    bodies: int = 512 << 20
    """Bytes of all requests that are being read or answered; more are refused with 503."""
    largest_request: int = 256
    """Pictures in one request."""
    largest_picture: int = 50_000_000
    """Pixels of one picture."""
    decoders: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Threads that turn files into pixels."""
    watch: float = 2.0
    """Seconds between two looks for a better bundle; 0: never."""
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    token: str | None = None

    def __post_init__(self) -> None:
        for name in ("largest_batch", "queue", "largest_body", "largest_request", "largest_picture", "decoders"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.bodies < self.largest_body:
            raise UsageError(f"bodies, {self.bodies:,} bytes, must not be below largest_body, {self.largest_body:,}")
        # Not `< 0`: NaN must not pass.
        if not (0 <= self.wait < math.inf and 0 <= self.watch < math.inf and 0 < self.seconds < math.inf):
            raise UsageError("wait and watch must be finite and not negative, seconds finite and above 0")


def application(models: Models, options: ServingOptions | None = None) -> ASGIApp:
    """The server as an ASGI application."""
    options = options or ServingOptions()
    metrics = Metrics()
    asking = Asking(
        models,
        metrics,
        Decoder(options.decoders, options.largest_picture),
        Room(options.bodies),
        options.largest_body,
        min(options.largest_request, options.queue),
        options.seconds,
    )
    ready = False

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        nonlocal ready
        loop = asyncio.get_running_loop()
        for hosted in models.by_name.values():
            await loop.run_in_executor(None, hosted.current.warm)
            hosted.batcher = _batcher(hosted, options, metrics)
            hosted.batcher.start()
        watching = loop.create_task(_watch(models, options.watch)) if options.watch else None
        ready = True
        yield
        ready = False
        if watching is not None:
            watching.cancel()
        for hosted in models.by_name.values():
            if hosted.batcher is not None:
                await hosted.batcher.stop()
        asking.decoder.stop()
        asking.parser.stop()

    def version_of(request: Request) -> Version:
        return models.find(request.path_params["model"], request.path_params.get("version"))

    async def live(request: Request) -> Response:
        return JSONResponse({"live": True})

    async def readiness(request: Request) -> Response:
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def measured(request: Request) -> Response:
        return Response(metrics.text(models), media_type="text/plain; version=0.0.4")

    async def listed(request: Request) -> Response:
        return JSONResponse({"models": [one.current.describe() for one in models.by_name.values()]})

    async def predicted(request: Request) -> Response:
        return await plain.predict(request, asking)

    async def v2(request: Request) -> Response:
        from deeper import __version__

        return JSONResponse(open_inference.server_metadata(__version__))

    async def v2_model(request: Request) -> Response:
        return JSONResponse(open_inference.model_metadata(version_of(request)))

    async def v2_ready(request: Request) -> Response:
        return JSONResponse({"name": version_of(request).name, "ready": ready}, 200 if ready else 503)

    async def v2_infer(request: Request) -> Response:
        return await open_inference.infer(request, asking, version_of(request))

    async def v1(request: Request) -> Response:
        return await _version_1(request, asking)

    routes = [
        Route("/", _page("index.html")),
        Route("/page/{name}", _static),
        Route("/livez", live),
        Route("/readyz", readiness),
        Route("/metrics", measured),
        Route("/api/models", listed),
        Route("/predict", predicted, methods=["POST"]),
        Route("/v2", v2),
        Route("/v2/", v2),
        Route("/v2/health/live", live),
        Route("/v2/health/ready", readiness),
    ]
    for start in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes += [
            Route(start, v2_model),
            Route(f"{start}/ready", v2_ready),
            Route(f"{start}/infer", v2_infer, methods=["POST"]),
        ]
    routes.append(Route("/v1/models/{rest:path}", v1, methods=["GET", "POST"]))

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = {404: "no such place here", 405: f"{request.method} is not taken here"}.get(
            error.status_code, error.detail
        )
        return error_response(error.status_code, said, dict(error.headers or {}))

    async def told(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return error_response(error.status, error.message, error.headers)

    async def broken(request: Request, error: Exception) -> Response:
        identity = request.scope.get("state", {}).get("request_id", "")
        return error_response(500, f"something went wrong here; ask for request {identity}")

    handlers: dict[Any, Any] = {HTTPException: refused, Refused: told, Exception: broken}
    app = Starlette(routes=routes, lifespan=life, exception_handlers=handlers)
    app.router.redirect_slashes = False

    def admit(method: str) -> None:
        # Whoever posts wants a model's answer. Where none has room, finding out which one is an eighth of what refusing costs.
        batchers = [one.batcher for one in models.by_name.values() if one.batcher is not None]
        if method == "POST" and batchers and all(one.full for one in batchers):
            batchers[0].check(1)

    return Guard(
        app,
        hosts=options.hosts,
        origins=options.origins,
        token=options.token,
        # The page holds nothing of the models; it asks for the token itself.
        public=lambda path: path == "/" or path.startswith("/page/"),
        admit=admit,
        noted=metrics.note_request,
    )


async def _version_1(request: Request, asking: Asking) -> Response:
    """`NAME[/versions/V][:predict|/metadata]`; a name may hold a colon of its own."""
    rest = request.path_params["rest"]
    verb = ""
    for ending in (":predict", ":classify", ":regress", "/metadata"):
        if rest.endswith(ending):
            rest, verb = rest.removesuffix(ending), ending
            break
    name, _, version = rest.partition("/versions/")
    found = asking.models.find(name, version or None)
    if verb == ":predict" and request.method == "POST":
        return await tensorflow_rest.predict(request, asking, found)
    reads = request.method in ("GET", "HEAD")
    if verb == "" and reads:
        return JSONResponse(tensorflow_rest.status([found] if version else found.hosted.versions))
    if verb == "/metadata" and reads:
        return JSONResponse(tensorflow_rest.metadata(found))
    if verb in (":classify", ":regress"):
        return error_response(501, f"{verb[1:]} is not spoken here; use predict")
    allowed = "POST" if verb == ":predict" else "GET, HEAD"
    return error_response(405, f"{request.method} is not taken here", {"allow": allowed})


def _batcher(hosted: Hosted, options: ServingOptions, metrics: Metrics) -> Batcher:
    def batched(count: int, seconds: float) -> None:
        metrics.batches.labels(hosted.name).observe(count)
        metrics.engine.labels(hosted.name).observe(seconds)

    return Batcher(largest=options.largest_batch, wait=options.wait, limit=options.queue, batched=batched)


async def _watch(models: Models, every: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(every)
        for hosted in models.by_name.values():
            try:
                await loop.run_in_executor(None, hosted.exchange)
            except Exception:  # whatever it is, the next look may find better
                LOG.exception("looking for a better bundle failed")


def _page(name: str) -> Callable[[Request], Any]:
    async def page(request: Request) -> Response:
        return _file(name)

    return page


async def _static(request: Request) -> Response:
    return _file(request.path_params["name"])


def _file(name: str) -> Response:
    """A file of the page's folder; only names that lie right in it."""
    ending = name[name.rfind(".") :] if "." in name else ""
    known = {one.name for one in package_files("deeper.serving").joinpath("page").iterdir()}
    if ending not in _KINDS or name not in known:
        return error_response(404, "no such file")
    data = package_files("deeper.serving").joinpath("page", name).read_bytes()
    return Response(data, media_type=_KINDS[ending], headers={"cache-control": "no-cache"})
