"""Every file below a folder, safely: links followed but never in circles, special files and unreadable folders named.

Names become ids that are the same on every platform: "/" between folders, Unicode in its composed form (NFC; macOS
hands out decomposed names), bytes that are no UTF-8 written as `\\xNN`.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from deeper.errors import SourceError, printable
from deeper.records.sources.item import Rejected
from deeper.records.sources.listing import natural_key

_NO_PICTURE_NAMES = {"thumbs.db", "desktop.ini", "license", "readme", "makefile"}
_NO_PICTURE_SUFFIXES = {
    *(".txt", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".md", ".rst", ".yaml", ".yml", ".toml"),
    *(".html", ".htm", ".log", ".ini", ".db", ".py", ".ipynb", ".pdf"),
    *(".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx"),
    # What cameras, telephones and programs for photographs leave beside pictures.
    *(".aae", ".xmp", ".thm", ".lrcat", ".mp3", ".wav", ".m4a", ".zip", ".gz", ".tar", ".7z", ".rar"),
}
# What archives made on a Mac leave beside the real folders: small files with the names of pictures.
_HIDDEN_FOLDERS = {"__macosx", "@eadir"}
# Where deeper writes to unless told otherwise: below the folder that it is started in, which may be that of the pictures.
_PLACES = {"datasets", "runs", "audits"}
# What lies beside the runs of a series: of `deeper learn-curve` and `find-rate`.
_FIGURES = {"learning-curve.png", "learning-curve.svg", "rates.png", "rates.svg"}
_SHARD = re.compile(r"(train|validation|test)-.*\.tfrecord")


@dataclass(frozen=True, slots=True)
class Found:
    """One regular file. `parts`: cleaned names below the root; `path`: where to read it."""

    parts: tuple[str, ...]
    path: str
    size: int
    modified: int
    """Nanoseconds."""

    @property
    def id(self) -> str:
        return "/".join(self.parts)


@dataclass
class Walk:
    """What lies below a folder. Every entry is in exactly one of `files`, `folders`, `rejected`, `repeated`, `skipped`,
    `outputs`, or below one of `outputs`."""

    files: list[Found] = field(default_factory=list)
    folders: list[tuple[str, ...]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    repeated: list[Rejected] = field(default_factory=list)
    """Links to folders that are listed under another name."""
    skipped: Counter[str] = field(default_factory=Counter)
    """"hidden" and "not named as a picture" with their counts."""
    outputs: list[tuple[str, ...]] = field(default_factory=list)
    """Folders that deeper itself wrote: datasets, runs, audits, and `datasets/`, `runs/`, `audits/` of nothing else."""


def clean(name: str) -> str:
    """A file name as it stands in ids: NFC, undecodable bytes as `\\xNN`. Always encodable as UTF-8."""
    if name.isascii():
        return name
    characters = []
    for character in name:
        code = ord(character)
        if 0xDC80 <= code <= 0xDCFF:  # os.fsdecode keeps a byte that is no UTF-8 as such a surrogate
            characters.append(f"\\x{code - 0xDC00:02x}")
        elif 0xD800 <= code <= 0xDFFF:
            characters.append(f"\\u{code:04x}")
        else:
            characters.append(character)
    return unicodedata.normalize("NFC", "".join(characters))


def special(mode: int) -> str | None:
    """What a file is that is neither regular nor a folder; reading one could wait for ever."""
    if stat.S_ISFIFO(mode):
        return "a FIFO (named pipe), no picture file"
    if stat.S_ISSOCK(mode):
        return "a socket, no picture file"
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "a device, no picture file"
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "no regular file"


def walk(root: Path) -> Walk:
    """List everything below `root` in natural order. Follows links; lists each real folder once.

    Raises: SourceError, when `root` itself cannot be listed.
    """
    result = Walk()
    top = root.stat()
    seen: dict[tuple[int, int], tuple[str, ...] | None] = {(top.st_dev, top.st_ino): ()}
    for above in root.resolve().parents:
        # a link that leads above the root would list the root within itself
        status = above.stat()
        seen.setdefault((status.st_dev, status.st_ino), None)
    # Real folders before linked ones: where a folder can be reached both ways, its own name counts.
    waiting: list[tuple[Path, tuple[str, ...]]] = [(root, ())]
    linked: list[tuple[Path, tuple[str, ...]]] = []
    while waiting or linked:
        from_link = not waiting
        folder, parts = waiting.pop() if waiting else linked.pop(0)
        if from_link and not _is_new(folder, parts, seen, result):
            continue
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if not parts:
                raise SourceError(f"{printable(root)!r} cannot be listed: {error.strerror}") from None
            result.rejected.append(Rejected("/".join(parts), f"the folder cannot be listed: {error.strerror}"))
            continue
        if parts and _is_output({entry.name for entry in listed}):
            result.outputs.append(parts)
            continue
        if parts:
            result.folders.append(parts)
        for entry in listed:
            _place(entry, parts, result, seen, waiting, linked)
    result.files.sort(key=lambda found: tuple(natural_key(part) for part in found.parts))
    result.rejected.sort(key=lambda rejected: natural_key(rejected.id))
    _join_outputs(result)
    return result


def _is_output(names: set[str]) -> bool:
    """Whether a folder with entries of these names is a dataset, a run or an audit. By several names together: a class
    of pictures may well have a dataset.json of somebody else beside them."""
    dataset = "dataset.json" in names and any(_SHARD.fullmatch(name) for name in names)
    run = "config.toml" in names and not names.isdisjoint({"metrics.jsonl", "bundle"})
    return dataset or run or {"policy.toml", "audit.json"} <= names


def _join_outputs(result: Walk) -> None:
    """Make one output of a folder `datasets`, `runs` or `audits` with outputs in it and no file beside them but figures
    of ours; with pictures it is a class of that name."""
    places = {output[:depth] for output in result.outputs for depth in range(1, len(output))}
    for place in sorted(place for place in places if place[-1] in _PLACES):
        depth = len(place)
        if not any(output[:depth] == place for output in result.outputs):
            continue  # it lies in one that is joined already
        if any(found.parts[:depth] == place and found.parts[-1] not in _FIGURES for found in result.files):
            continue
        within = "/".join(place) + "/"
        result.files = [found for found in result.files if found.parts[:depth] != place]
        result.folders = [parts for parts in result.folders if parts[:depth] != place]
        result.rejected = [rejected for rejected in result.rejected if not rejected.id.startswith(within)]
        result.repeated = [repeated for repeated in result.repeated if not repeated.id.startswith(within)]
        result.outputs = [output for output in result.outputs if output[:depth] != place] + [place]
    result.outputs.sort(key=lambda output: tuple(natural_key(part) for part in output))


def _place(
    entry: os.DirEntry[str],
    parents: tuple[str, ...],
    result: Walk,
    seen: dict[tuple[int, int], tuple[str, ...] | None],
    waiting: list[tuple[Path, tuple[str, ...]]],
    linked: list[tuple[Path, tuple[str, ...]]],
) -> None:
    parts = (*parents, clean(entry.name))
    lower = entry.name.lower()
    if lower.startswith(".") or lower in _HIDDEN_FOLDERS:
        result.skipped["hidden"] += 1
        return
    try:
        status = entry.stat()
    except OSError as error:
        reason = error.strerror or "cannot be read"
        if entry.is_symlink():
            reason = "a link to nothing" if isinstance(error, FileNotFoundError) else f"a link that fails: {reason}"
        result.rejected.append(Rejected("/".join(parts), reason))
        return
    if stat.S_ISDIR(status.st_mode):
        folder = Path(entry.path)
        if entry.is_symlink():
            linked.append((folder, parts))
        elif _is_new(folder, parts, seen, result):
            waiting.append((folder, parts))
        return
    kind = special(status.st_mode)
    if kind is not None:
        result.rejected.append(Rejected("/".join(parts), kind))
    elif lower in _NO_PICTURE_NAMES or os.path.splitext(lower)[1] in _NO_PICTURE_SUFFIXES:
        result.skipped["not named as a picture"] += 1
    else:
        result.files.append(Found(parts, entry.path, status.st_size, status.st_mtime_ns))


def _is_new(
    folder: Path, parts: tuple[str, ...], seen: dict[tuple[int, int], tuple[str, ...] | None], result: Walk
) -> bool:
    """Remember a folder; refuse it where the same one was listed before, or where it leads upwards."""
    try:
        status = folder.stat()
    except OSError as error:
        result.rejected.append(Rejected("/".join(parts), f"the folder cannot be read: {error.strerror}"))
        return False
    key = (status.st_dev, status.st_ino)
    if key not in seen:
        seen[key] = parts
        return True
    first = seen[key]
    if first is None or parts[: len(first)] == first:
        result.rejected.append(Rejected("/".join(parts), "a symlink loop: it leads to a folder that it lies in"))
    else:
        reason = f"the same folder as {printable('/'.join(first))!r}, which is listed already"
        result.repeated.append(Rejected("/".join(parts), reason))
    return False


def reject_equal_ids(result: Walk) -> None:
    """Where ids must tell files apart: of two files whose names are written alike, the second is rejected."""
    taken: set[str] = set()
    kept: list[Found] = []
    for found in result.files:
        if found.id in taken:
            reason = "another file has this name in another Unicode form; rename one of them"
            result.rejected.append(Rejected(found.id, reason))
        else:
            taken.add(found.id)
            kept.append(found)
    result.files = kept
