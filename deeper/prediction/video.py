"""Pictures out of a video file, one every so many seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeper.errors import MissingExtraError, SourceError, UsageError, how_to_install, printable

SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ogv"})


def is_video(path: str | Path) -> bool:
    """By the end of its name."""
    return Path(path).suffix.lower() in SUFFIXES


def frames(path: str | Path, every: float = 1.0) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """(seconds from the start, uint8 H × W × 3) of the first frame, and of the first after each `every` seconds. 0 gives
    all frames. A file that ends early gives what is there. Frames are turned as the file says (quarter turns).

    Raises: MissingExtraError; SourceError, for what is no video; UsageError, for a negative `every`.
    """
    if not every >= 0:
        raise UsageError(f"--every: wanted seconds from 0, got {every:g}")
    try:
        import av
    except ImportError:
        raise MissingExtraError(f"reading video needs an extra package: {how_to_install('video')}") from None
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise SourceError("no moving pictures in it")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            due, count = 0.0, 0
            try:
                for frame in container.decode(stream):
                    seconds = float(frame.time) if frame.time is not None else count * every
                    count += 1
                    if seconds + 1e-6 >= due:
                        due = seconds + every
                        pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                        # A phone films lying and notes how it was held, counted against the clock, as numpy does.
                        turned = round(getattr(frame, "rotation", 0) / 90)
                        yield seconds, np.ascontiguousarray(np.rot90(pixels, turned)) if turned else pixels
            except av.FFmpegError as error:
                if count == 0:
                    raise SourceError(f"no video that can be read ({printable(error, 80)})") from None
    except av.FFmpegError as error:
        raise SourceError(f"no video that can be read ({printable(error, 80)})") from None
