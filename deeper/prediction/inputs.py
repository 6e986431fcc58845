"""From what a person names, files, folders, patterns, a list, a video, to pictures one by one."""

from __future__ import annotations

import glob
import os
import select
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from deeper.errors import DeeperError
from deeper.prediction.answers import Failed, Named, Pause
from deeper.prediction.classifier import surprise
from deeper.prediction.video import SUFFIXES, frames, is_video

# What is taken from a folder. A file that is named itself is tried whatever it is called.
PICTURES = frozenset(
    ".jpg .jpeg .png .webp .bmp .gif .tif .tiff .avif .heic .heif .ppm .pgm".split()  # noqa: SIM905
)
# Seconds without a line after which those that came are answered.
_IDLE = 0.1


def find(paths: Sequence[str], listed: TextIO | None = None) -> Iterator[str | Pause]:
    """The files that `paths` name, in order; what does not exist is yielded as it is, to be reported. `-` stands for the
    lines of `listed` (standard input)."""
    for path in paths:
        if path == "-":
            yield from _lines(sys.stdin if listed is None else listed)
        elif not os.path.lexists(path) and glob.has_magic(path):
            for match in sorted(glob.glob(path, recursive=True)):
                yield from _inside(match)
        else:
            yield from _inside(path)


def pictures_of(
    paths: Sequence[str], every: float, listed: TextIO | None = None
) -> Iterator[str | Named | Failed | Pause]:
    """What is to be classified: files as they are, videos frame by frame, one each `every` seconds. A video that cannot be
    read is a `Failed`."""
    for path in find(paths, listed):
        if isinstance(path, Pause) or not is_video(path):
            yield path
            continue
        try:
            for seconds, frame in frames(path, every):
                yield Named(f"{path}@{seconds:.2f}s", frame)
        except DeeperError as error:
            yield Failed(path, str(error))
        except Exception as error:  # a decoder may raise nearly anything
            yield Failed(path, surprise(error))


def _inside(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
        return
    taken = PICTURES | SUFFIXES
    for folder, folders, names in os.walk(path):
        folders.sort()
        yield from (os.path.join(folder, name) for name in sorted(names) if Path(name).suffix.lower() in taken)


def _lines(listed: TextIO) -> Iterator[str | Pause]:
    """The lines that are not empty; a `Pause` where the writer takes its time."""
    try:
        number = listed.fileno()
        select.select([number], [], [], 0)
    except (OSError, ValueError):  # no file of the system's, or a system that waits for none
        yield from (line.rstrip("\r\n") for line in listed if line.strip())
        return
    rest = b""
    while True:
        if not select.select([number], [], [], _IDLE)[0]:
            yield Pause()
            select.select([number], [], [])
        part = os.read(number, 1 << 16)
        *lines, rest = (rest + part).split(b"\n")
        yield from (os.fsdecode(line.rstrip(b"\r")) for line in (lines if part else [rest]) if line.strip())
        if not part:
            return
