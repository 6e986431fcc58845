"""Copying classified pictures into a folder per class. Nothing that is there is ever overwritten."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from deeper import files
from deeper.errors import DeeperError, UsageError, printable
from deeper.images import encode_png
from deeper.prediction.answers import Failed, Named, Pause, Prediction

# Where pictures go whose answer is not to be trusted.
UNSURE = "_unsure"


class Sorter:
    """Copies pictures into `folder/CLASS/`, and unsure ones into `folder/_unsure/CLASS/`.

    A class may be called anything, also `../x` or `a/b`: its folder has the nearest name that any system allows, and no
    two share one, also where `Rose` and `rose` are one name. Raises: UsageError, where `folder` is no folder.
    """

    def __init__(self, folder: str | Path, classes: Sequence[str]) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(f"{printable(self.folder)} is no folder; give one, or a name that is free, to sort into")
        self.names: dict[str, str] = {}
        self._numbered: dict[Path, _Numbered] = {}
        taken = {_same(UNSURE)}
        for label in classes:
            wanted = files.sanitize_name(label)
            tried = (wanted + f"-{number}" * (number > 1) for number in itertools.count(1))
            free = next(name for name in tried if _same(name) not in taken)
            taken.add(_same(free))
            self.names[label] = free

    def place(self, one: Prediction, frame: bytes | None = None) -> Path:
        """Copy the picture that `one.source` names; → where it is now. `frame`: its PNG, where it lies in no file of its
        own. Raises: StorageError; OSError, where the picture cannot be read."""
        label = self.names[one.label]
        parent = self.folder / UNSURE / label if one.unsure else self.folder / label
        source = Path(one.source)
        with files.storage(self.folder):
            parent.mkdir(parents=True, exist_ok=True)
            if frame is not None:
                return self._copied(parent / f"{source.name}.png", frame)
            return self._copied(parent / source.name, source.read_bytes())

    def _copied(self, first: Path, data: bytes) -> Path:
        """What has these bytes already, from sorting before, or a copy under the first name that is free."""
        if not os.path.lexists(first) and _written(first, data):
            return first
        if first.is_file() and first.stat().st_size == len(data) and first.read_bytes() == data:
            return first
        numbered = self._numbered.setdefault(first, _Numbered(first))
        digest = files.sha256(data)
        while (found := numbered.find(len(data), digest)) is None:
            number, target = numbered.following()
            if not os.path.lexists(target) and _written(target, data):
                numbered.digests[digest] = number
                return target
            numbered.was_there(number)
        return found


@dataclass
class _Numbered:
    """The files `x-2.jpg`, `x-3.jpg`, … that stand beside `first`, `x.jpg`. Thousands of pictures may have one name: each
    file is looked at once."""

    first: Path
    highest: int = 1
    digests: dict[str, int] = field(default_factory=dict)
    unread: dict[int, list[int]] = field(default_factory=dict)
    """Size → numbers of files that were there before."""

    def path(self, number: int) -> Path:
        return self.first.with_name(f"{self.first.stem}-{number}{self.first.suffix}")

    def following(self) -> tuple[int, Path]:
        self.highest += 1
        return self.highest, self.path(self.highest)

    def was_there(self, number: int) -> None:
        if self.path(number).is_file():
            self.unread.setdefault(self.path(number).stat().st_size, []).append(number)

    def find(self, size: int, digest: str) -> Path | None:
        """The file of these bytes."""
        for number in self.unread.pop(size, ()):
            self.digests.setdefault(files.sha256(self.path(number)), number)
        return self.path(self.digests[digest]) if digest in self.digests else None


class Frames:
    """The frames of videos on their way through a classifier, until they are placed: as PNG, in files without a name in
    `folder`. In memory they would be many, and large."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[int, IO[bytes] | Exception] = {}

    def held(self, pictures: Iterator[str | Named | Failed | Pause]) -> Iterator[str | Named | Failed | Pause]:
        """`pictures` as they come."""
        number = 0
        for one in pictures:
            if isinstance(one, Named):
                try:
                    self._held[number] = self._written(encode_png(one.picture))
                except (DeeperError, MemoryError) as error:
                    self._held[number] = error
            number += not isinstance(one, Pause)
            yield one

    def take(self, number: int) -> bytes | None:
        """The frame that was the picture `number`, from 0, and is not held any more; None for what is no frame.

        Raises: StorageError or MemoryError, where it could not be held.
        """
        one = self._held.pop(number, None)
        if one is None:
            return None
        if isinstance(one, Exception):
            raise one
        with files.storage(self._folder), one:
            one.seek(0)
            return one.read()

    def _written(self, data: bytes) -> IO[bytes]:
        with files.storage(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            file = tempfile.TemporaryFile(dir=self._folder)
            try:
                file.write(data)
            except OSError:
                file.close()
                raise
            return file


def _same(name: str) -> str:
    """Equal for names that some system takes for one."""
    return unicodedata.normalize("NFC", name).casefold()


def _written(path: Path, data: bytes) -> bool:
    """Whole or not at all; not waiting for the disk, which would take longer than all else: the picture is there twice.
    False where another process has taken the name meanwhile, which keeps it."""
    aside = path.with_name(f".{os.urandom(8).hex()}.partial")
    try:
        with open(aside, "xb") as file:
            file.write(data)
        try:
            os.link(aside, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            os.replace(aside, path)
        return True
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()
