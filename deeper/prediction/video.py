"""Pictures out of a video file, one every so many seconds."""

from __future__ import annotations

import math
import os
import stat
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from deeper.errors import MissingExtraError, SourceError, UsageError, how_to_install, printable

SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ogv"})
# What is decoded ahead: at most so many frames, and bytes of them, but always two.
_AHEAD = 64
_AHEAD_BYTES = 1 << 27

Frame: TypeAlias = tuple[float, NDArray[np.uint8]]


def is_video(path: str | Path) -> bool:
    """By the end of its name."""
    return Path(path).suffix.lower() in SUFFIXES


def frames(path: str | Path, every: float = 1.0) -> Iterator[Frame]:
    """(seconds from the start, uint8 H × W × 3) of the first frame, and of the first after each `every` seconds. 0 gives
    all frames. A file that ends early gives what is there. Frames are turned as the file says (quarter turns).

    Raises: MissingExtraError; SourceError, for what is no video; UsageError, for a negative `every`.
    """
    return (frame for frame in _decoded(path, every) if frame is not None)


def read_ahead(path: str | Path, every: float = 1.0) -> Iterator[Frame]:
    """`frames`, decoded by a thread of its own while those before are looked at. It ends with whoever reads."""
    source, stopped = _decoded(path, every), Event()

    def following() -> Frame | None:
        # Between two that are wanted there may be thousands: nobody waits for those when it ends.
        return next((frame for frame in source if frame is not None or stopped.is_set()), None)

    with closing(source), ThreadPoolExecutor(1, thread_name_prefix="deeper-video") as thread:
        ahead: deque[Future[Frame | None]] = deque([thread.submit(following)])
        try:
            while (frame := ahead.popleft().result()) is not None:
                most = max(2, min(_AHEAD, _AHEAD_BYTES // frame[1].nbytes))
                ahead.extend(thread.submit(following) for _ in range(most - len(ahead)))
                yield frame
        finally:
            stopped.set()
            for pending in ahead:
                pending.cancel()


def _decoded(path: str | Path, every: float) -> Generator[Frame | None, None, None]:
    """What `frames` gives, and None for each frame that is passed over."""
    if not every >= 0:
        raise UsageError(f"--every: wanted seconds from 0, got {every:g}")
    try:
        import av
    except ImportError:
        raise MissingExtraError(f"reading video needs an extra package: {how_to_install('video')}") from None
    try:
        # Not a name as it is given: FFmpeg takes what stands before a colon for a protocol.
        with av.open(_regular(path)) as container:
            if not container.streams.video:
                raise SourceError("no moving pictures in it")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            due, count = 0.0, 0
            clock = _Clock()
            try:
                for frame in container.decode(stream):
                    seconds = clock.at(float(frame.time) if frame.time is not None else count * every)
                    count += 1
                    if seconds + 1e-6 < due:
                        yield None
                        continue
                    # The next multiple: a frame that comes late makes no later one late.
                    due = every * (math.floor((seconds + 1e-6) / every) + 1) if every else seconds
                    pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                    # A phone films lying and notes how it was held, counted against the clock, as numpy does.
                    turned = round(getattr(frame, "rotation", 0) / 90)
                    yield seconds, np.ascontiguousarray(np.rot90(pixels, turned)) if turned else pixels
            except av.FFmpegError as error:
                if count == 0:
                    raise SourceError(_unreadable(error)) from None
    except av.FFmpegError as error:
        raise SourceError(_unreadable(error)) from None


class _Clock:
    """Seconds from a video's first frame on, also where the file's own times begin later, or anew: recordings that were
    joined byte by byte, programme streams of cameras."""

    def __init__(self) -> None:
        self.offset: float | None = None
        self.last, self.step = 0.0, 0.0

    def at(self, time: float) -> float:
        """`time`: the next frame's, as the file has it."""
        if self.offset is None:
            self.offset = -time
        elif time + self.offset < self.last:
            self.offset = self.last + self.step - time
        seconds = time + self.offset
        self.step = seconds - self.last or self.step
        self.last = seconds
        return seconds


def _regular(path: str | Path) -> str:
    """The whole name of a file. A FIFO would hang. Raises: SourceError."""
    name = os.path.abspath(path)
    try:
        if not stat.S_ISREG(os.stat(name).st_mode):
            raise SourceError("no regular file; wanted a video file")
    except OSError as error:
        raise SourceError(_unreadable(error)) from None
    except ValueError:  # a NUL in the name
        raise SourceError("no file can have this name") from None
    return name


def _unreadable(error: Exception) -> str:
    # FFmpeg's errors have a text too, and all repeat the name, which is said already.
    return f"no video that can be read ({printable(getattr(error, 'strerror', None) or error, 80)})"
