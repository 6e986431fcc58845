"""What every protocol's handlers share: the models, the limits, and asking a model while watching the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from deeper.prediction import Prediction
from deeper.serving.decoding import Decoder
from deeper.serving.hosted import Models, Version
from deeper.serving.metrics import Metrics
from deeper.serving.parsing import Parser
from deeper.web import Refused, Room, read_body

# Numbers that are written in some milliseconds.
_LONG = 10_000

Pictures = NDArray[np.uint8] | list[bytes]


@dataclass(frozen=True)
class Asking:
    """`room`: for the bodies of all requests. `largest_body`: bytes of one, also unpacked. `largest_request`: pictures in
    one. `seconds`: for one, from the whole body to the answer."""

    models: Models
    metrics: Metrics
    decoder: Decoder
    room: Room
    largest_body: int
    largest_request: int
    seconds: float
    parser: Parser = field(default_factory=Parser)

    @asynccontextmanager
    async def body(self, request: Request, version: Version) -> AsyncIterator[bytes]:
        """The request's body, for as long as it is needed. Raises: Refused, with 503 before it is read where the model's
        queue is full, and while it is read where all bodies together are too large."""
        version.queue.check(1)
        with self.room.share() as share:
            yield await read_body(request, self.largest_body, share)

    async def answer(
        self, request: Request, version: Version, pictures: Callable[[], Awaitable[Pictures]]
    ) -> list[Prediction]:
        """Predictions for uint8 N × H × W × C at the model's size, or for N files, through the model's queue. `pictures`
        gives them. Parsing, decoding and waiting are given up when the client goes away or its time is over.

        Raises: Refused, with 503 before a file is decoded where the queue has no room, 400 for what is no picture, 413
        for too many, 504 when the time is over.
        """
        work = asyncio.ensure_future(self._answered(version, pictures))
        gone = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait({work, gone}, timeout=self.seconds, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise (
                    Refused(499, "the client went away")
                    if gone.done()
                    else Refused(504, f"no answer within {self.seconds:g} seconds")
                )
            predictions = work.result()
        finally:
            gone.cancel()
            work.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        self.metrics.note_answers(version.name, predictions)
        return predictions

    async def written(self, predictions: list[Prediction], write: Callable[[bool], Response]) -> Response:
        """`write(by_pieces)`: the answer in a protocol's own form; in a thread, by pieces, where it is a long one."""
        if len(predictions) * len(predictions[0].classes if predictions else ()) < _LONG:
            return write(False)
        return await asyncio.to_thread(write, True)

    async def _answered(self, version: Version, pictures: Callable[[], Awaitable[Pictures]]) -> list[Prediction]:
        given = await pictures()
        if len(given) > self.largest_request:
            raise Refused(413, f"{len(given):,} pictures in a request; at most {self.largest_request:,} are taken")
        if not len(given):
            return []
        with version.queue.place(len(given)) as place:
            fit = version.classifier.preprocess
            images = await self.decoder.fit(fit, given) if isinstance(given, list) else given
            waiting = version.queue.submit(images, version.classifier.answer, place)
        return await waiting


async def _gone(request: Request) -> None:
    """Returns when the client has closed its connection. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
