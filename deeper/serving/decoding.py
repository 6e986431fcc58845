"""Files → pixels at a model's size, in threads: bounded in threads, in pixels of one picture, and in pixels that are
unpacked at once, so that no picture takes the server down."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from deeper.errors import DeeperError
from deeper.images import Preprocess, unpacked_pixels
from deeper.web import Refused

LOG = logging.getLogger("deeper.serving")


class Decoder:
    """`threads`: files decoded side by side. `largest`: pixels of one picture, by its header; larger ones are refused
    before they are unpacked. Together no more than twice as many are unpacked at once."""

    def __init__(self, threads: int, largest: int) -> None:
        self.largest = largest
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="deeper-decode")
        self._room = 2 * largest
        self._changed = threading.Condition()

    async def fit(self, preprocess: Preprocess, files: list[bytes]) -> NDArray[np.uint8]:
        """Files' bytes → uint8 N × H × W × C. Given up, those that have not begun are not decoded.

        Raises: Refused, with 400 for what is no picture, 503 where memory is short.
        """
        loop = asyncio.get_running_loop()
        jobs = [loop.run_in_executor(self._threads, self._decoded, preprocess, data) for data in files]
        done = await asyncio.gather(*jobs, return_exceptions=True)
        for number, result in enumerate(done):
            which = f"picture {number + 1}: " if len(files) > 1 else ""
            # A picture for which there was no memory may be sound.
            short = isinstance(result, DeeperError) and isinstance(result.__cause__, MemoryError)
            if short or isinstance(result, MemoryError):
                raise Refused(503, f"{which}needs more memory than there is now", {"retry-after": "5"})
            if isinstance(result, DeeperError):
                raise Refused(400, f"{which}{result}")
            if isinstance(result, Exception):
                # A decoder's own fault with a hostile file is the file's fault to whoever sent it.
                LOG.error("a picture broke its decoder", exc_info=result)
                raise Refused(400, f"{which}damaged picture")
            if isinstance(result, BaseException):
                raise result
        return np.stack([result for result in done if isinstance(result, np.ndarray)])

    def stop(self) -> None:
        """Decode no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _decoded(self, preprocess: Preprocess, data: bytes) -> NDArray[np.uint8]:
        with self._taken(unpacked_pixels(data, preprocess.needed, self.largest)):
            return preprocess.read(data, max_pixels=self.largest)

    @contextmanager
    def _taken(self, pixels: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: pixels <= self._room)
            self._room -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._room += pixels
                self._changed.notify_all()
