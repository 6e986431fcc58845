"""Pictures of many requests, gathered into batches for one engine.

A batch starts when the engine is free and either it is full or its first picture has waited `wait`. The queue is bounded
in pictures, those that are still being decoded included: what does not fit is refused at once, before it is decoded, so
that those who are let in are answered in time. A request that nobody waits for any more, because its client left or its
deadline passed, leaves the queue without costing the engine anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from deeper.prediction import Prediction
from deeper.web import Refused

LOG = logging.getLogger("deeper.serving")

Answer: TypeAlias = Callable[[NDArray[np.uint8]], Sequence[Prediction]]


@dataclass(eq=False)
class _Waiting:
    """A request's pictures, or some of them: no more than a batch takes."""

    images: NDArray[np.uint8]
    answer: Answer
    done: asyncio.Future[list[Prediction]]
    entered: float = field(default_factory=time.perf_counter)


class Place:
    """Room in the queue for pictures on their way to it; given back on leaving, or when they enter the queue."""

    def __init__(self, batcher: Batcher, count: int) -> None:
        self.batcher, self.count = batcher, count

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Give the room back; once is enough."""
        self.batcher.coming -= self.count
        self.count = 0


class Batcher:
    """Runs batches in one thread, for an engine uses all processors by itself.

    `largest`: pictures in a batch. `wait`: seconds. `limit`: pictures that may wait or be on their way.
    `batched(count, seconds)`: called for each batch that ran.
    """

    def __init__(
        self,
        *,
        largest: int = 64,
        wait: float = 0.003,
        limit: int = 256,
        batched: Callable[[int, float], None] = lambda count, seconds: None,
    ) -> None:
        self.largest, self.wait, self.limit, self.batched = largest, wait, limit, batched
        self.waiting: deque[_Waiting] = deque()
        self.pictures = self.coming = 0
        # Something waits; a whole batch waits.
        self._more, self._full = asyncio.Event(), asyncio.Event()
        self._engine = ThreadPoolExecutor(1, thread_name_prefix="deeper-engine")
        self._task: asyncio.Task[None] | None = None
        self._seconds_per_picture = 0.01

    def start(self) -> None:
        """Begin to run batches, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End; what still waits is refused."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for one in self.waiting:
            if not one.done.done():
                one.done.set_exception(Refused(503, "the server is ending", {"retry-after": "5"}))
        self.waiting.clear()
        await asyncio.get_running_loop().run_in_executor(None, self._engine.shutdown)

    @property
    def full(self) -> bool:
        """Whether not even one picture more would be let in."""
        return self.pictures + self.coming >= self.limit

    def check(self, count: int) -> None:
        """Whether `count` pictures would be let in now.

        Raises: Refused, with 413 for more than the queue ever takes, with 503 for more than it has room for.
        """
        if count > self.limit:
            raise Refused(413, f"{count:,} pictures in a request; this server's queue takes {self.limit:,}")
        taken = self.pictures + self.coming
        if taken + count > self.limit:
            retry = max(1, round(taken * self._seconds_per_picture))
            raise Refused(503, f"{taken:,} pictures wait already; try again later", {"retry-after": str(retry)})

    def place(self, count: int) -> Place:
        """Room for `count` pictures. Raises: Refused, as `check` does."""
        self.check(count)
        self.coming += count
        return Place(self, count)

    def submit(
        self, images: NDArray[np.uint8], answer: Answer, place: Place | None = None
    ) -> Coroutine[Any, Any, list[Prediction]]:
        """Predictions for uint8 N × H × W × C at the model's size. `answer`: what gives them, run in a thread; pictures with
        the same one share batches. `place`: the room that was taken for them before.

        The pictures are in the queue when this returns; the answer is awaited, and who gives up waiting takes them out.
        Raises: Refused, at once, as `check` does.
        """
        (place or self.place(len(images))).leave()
        loop = asyncio.get_running_loop()
        pieces = [
            _Waiting(images[first : first + self.largest], answer, loop.create_future())
            for first in range(0, len(images), self.largest)
        ]
        self.waiting += pieces
        self.pictures += len(images)
        self._tell()
        return self._answered(pieces)

    async def _answered(self, pieces: list[_Waiting]) -> list[Prediction]:
        try:
            return [prediction for one in pieces for prediction in await one.done]
        finally:
            for one in pieces:
                if not one.done.cancel():
                    with contextlib.suppress(asyncio.CancelledError):
                        one.done.exception()  # seen, also where an earlier piece has failed already
                if one in self.waiting:
                    self.waiting.remove(one)
                    self.pictures -= len(one.images)
            self._tell()

    def _tell(self) -> None:
        for event, there in ((self._more, bool(self.waiting)), (self._full, self.pictures >= self.largest)):
            if there:
                event.set()
            else:
                event.clear()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._more.wait()
            if not self.waiting:
                continue  # taken out again since
            late = self.waiting[0].entered + self.wait - time.perf_counter()
            if late > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._full.wait(), late)
            batch = self._taken()
            if not batch:
                continue
            began = time.perf_counter()
            # Whatever goes wrong is these requests' answer: this task must not end, or nobody would be answered any more.
            try:
                images = np.concatenate([one.images for one in batch]) if len(batch) > 1 else batch[0].images
                answers = list(await loop.run_in_executor(self._engine, batch[0].answer, images))
            except Exception as error:
                for one in batch:
                    if not one.done.done():
                        one.done.set_exception(error)
                continue
            seconds = time.perf_counter() - began
            self._seconds_per_picture = 0.8 * self._seconds_per_picture + 0.2 * seconds / len(images)
            try:
                self.batched(len(images), seconds)
            except Exception:
                LOG.exception("a batch could not be counted")
            first = 0
            for one in batch:
                if not one.done.done():
                    one.done.set_result(answers[first : first + len(one.images)])
                first += len(one.images)

    def _taken(self) -> list[_Waiting]:
        """The next batch, in order: pictures that the same network answers."""
        batch: list[_Waiting] = []
        count = 0
        while self.waiting and count + len(self.waiting[0].images) <= self.largest:
            if batch and self.waiting[0].answer != batch[0].answer:
                break
            one = self.waiting.popleft()
            self.pictures -= len(one.images)
            if not one.done.done():
                batch.append(one)
                count += len(one.images)
        self._tell()
        return batch
