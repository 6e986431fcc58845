"""From what a person names, files, folders, patterns, a list, a video, to pictures one by one."""

from __future__ import annotations

import fnmatch
import glob
import os
import select
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from deeper.errors import SourceError, UsageError
from deeper.prediction.answers import Failed, Named, Pause, told
from deeper.prediction.video import is_video, read_ahead
from deeper.records.sources.walk import Found, Walk, walk

# Seconds without a line after which those that came are answered.
_IDLE = 0.1
# Decimals of seconds; videos count no finer.
_MICROSECONDS = 6


def find(paths: Sequence[str], listed: TextIO | None = None) -> Iterator[str | Failed | Pause]:
    """The files that `paths` name, in order; what does not exist is yielded as it is, to be reported. `-` stands for the
    lines of `listed` (standard input). Of a folder, what `deeper build` would take: links are followed, each folder is
    listed once, hidden files, texts and the like passed over. Folders and links that cannot be read, and patterns and
    folders with nothing in them, are `Failed`."""
    for path in paths:
        if path == "-":
            yield from _lines(sys.stdin if listed is None else listed)
        elif not os.path.lexists(path) and "**" in path.split(os.sep):
            yield from _everywhere(path)
        elif not os.path.lexists(path) and glob.has_magic(path):
            matches = sorted(glob.glob(path))
            if not matches:
                yield Failed(path, "no file matches this pattern")
            for match in matches:
                yield from _inside(match)
        else:
            yield from _inside(path)


def pictures_of(
    paths: Sequence[str], every: float, listed: TextIO | None = None
) -> Generator[str | Named | Failed | Pause, None, None]:
    """What is to be classified: files as they are, videos frame by frame, one each `every` seconds. A video that cannot be
    read is a `Failed`."""
    for path in find(paths, listed):
        if not isinstance(path, str) or not is_video(path):
            yield path
            continue
        try:
            yield from _named(path, every)
        except Exception as error:  # a decoder may raise nearly anything
            yield Failed(path, told(error))


def _named(path: str, every: float) -> Iterator[Named]:
    """The frames of a video. Names have as many decimals as tell two frames apart."""
    decimals, last, before = 2, -1.0, ""
    for seconds, frame in read_ahead(path, every):
        while (name := f"{path}@{seconds:.{decimals}f}s") == before and last < seconds and decimals < _MICROSECONDS:
            decimals += 1
        yield Named(name, frame)
        last, before = seconds, name


def _everywhere(pattern: str) -> Iterator[str | Failed]:
    """What matches a pattern with `**` in it, by a walk that lists each folder once: links may lead in circles."""
    parts = pattern.split(os.sep)
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    root = os.sep.join(parts[:fixed]) or (os.sep if pattern.startswith(os.sep) else os.curdir)
    nothing = Failed(pattern, "no file matches this pattern")
    found = _listed(root, pattern) if os.path.isdir(root) else nothing
    if isinstance(found, Failed):
        yield found
        return
    front, above = (root, os.path.join(Path(root), "")) if fixed else ("", "")
    names = [one.path.removeprefix(above) for one in found.files]
    matching = sorted(name for name in names if _matches(name.split(os.sep), parts[fixed:]))
    yield from (os.path.join(front, name) for name in matching)
    lost = [one for one in found.rejected if _matches(one.id.split("/"), parts[fixed:])]
    yield from (Failed(os.path.join(front, one.id), one.reason) for one in lost)
    if not matching and not lost:
        yield nothing


def _listed(folder: str, given: str) -> Walk | Failed:
    """What lies below a folder, or why that cannot be told, of what was `given`."""
    try:
        return walk(Path(folder))
    except (SourceError, OSError) as error:
        return Failed(given, str(error))


def _matches(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a file fits, or a folder above it: of a folder that fits, all is taken."""
    if not pattern or pattern == [""]:
        return True
    if pattern[0] == "**":
        return any(_matches(parts[skipped:], pattern[1:]) for skipped in range(len(parts)))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _inside(path: str) -> Iterator[str | Failed]:
    if not os.path.isdir(path):
        yield path
        return
    found = _listed(path, path)
    if isinstance(found, Failed):
        yield found
        return
    # Names begin as the folder was given, also with "./", which `Path` leaves out.
    above = os.path.join(Path(path), "")
    yield from (os.path.join(path, one.path.removeprefix(above)) for one in sorted(found.files, key=_files_first))
    yield from (Failed(os.path.join(path, one.id), one.reason) for one in found.rejected)
    if not found.files and not found.rejected:
        yield Failed(path, "no picture found in this folder")


def _files_first(found: Found) -> tuple[tuple[bool, str], ...]:
    """The order of the files of a folder before those of its sub-folders."""
    return (*((True, folder) for folder in found.parts[:-1]), (False, found.parts[-1]))


def _lines(listed: TextIO | None) -> Iterator[str | Pause]:
    """The lines that are not empty; a `Pause` where the writer takes its time. Raises: UsageError, where there is none."""
    if listed is None:
        raise UsageError("- wants a list of files on standard input, which is closed")
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
