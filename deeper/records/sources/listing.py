"""What every source becomes: the list of its pictures, its classes, and what was refused or understood on the way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from deeper.errors import SourceError, printable
from deeper.records.sources.item import Item, Rejected
from deeper.records.sources.options import SourceOptions

#: How people write the names of the three splits. MNIST's file names bring "t10k".
_SPELLINGS: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "t10k": "test",
}


@dataclass
class Listing:
    """A source whose kind no longer matters: the one class behind every `open_source`.

    `list_items` and `identify` are called once, and only when wanted: a set that has to be drawn first
    costs nothing when its fingerprint says that it was built before.
    """

    name: str
    """Short name for folders and titles, for example `mnist`."""
    description: str
    """One line without an absolute path; it goes into `dataset.json`."""
    classes: tuple[str, ...]
    """Class names in the order of their indices."""
    list_items: Callable[[], Sequence[Item]]
    """Yields the pictures in a stable order."""
    identify: Callable[[], str]
    """Yields the SHA-256 (hexadecimal) of what identifies the content."""
    rejected: Sequence[Rejected] = ()
    """What the listing itself refused, with reasons."""
    notices: Sequence[str] = ()
    """What was understood, skipped or left out: one line each, for the user to read."""
    skipped: int = 0
    """Files that were passed over by their names (hidden ones, `Thumbs.db`, `labels.txt`); neither items nor rejected."""
    options: SourceOptions | None = None
    """What `open_source` was told; `None` for a listing that was made otherwise."""

    @cached_property
    def items(self) -> Sequence[Item]:
        return self.list_items()

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) over what identifies the content cheaply. Changes when the pictures change."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return self.identify()


def digest(parts: Iterable[str | bytes | memoryview]) -> str:
    """SHA-256 over `parts`, each with its length before it so that no two lists of parts run together."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()


def file_bytes(path: Path) -> bytes:
    """All bytes of a file that the user named. Raises: SourceError, when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> SourceError:
    """What is said of a file that is there and cannot be read."""
    return SourceError(
        f"{printable(path)!r} cannot be read ({error.strerror or printable(error, 60)}); wanted a file that you may read: "
        "look at its permissions"
    )


def split_of(word: str) -> str | None:
    """`"train"`, `"validation"` or `"test"` for the usual spellings ("val", "Training", "t10k" …), else `None`."""
    return _SPELLINGS.get(word.strip().casefold())


def split_spellings() -> str:
    """The accepted spellings, for messages."""
    return ", ".join(_SPELLINGS)


_NUMBERS = re.compile(r"([0-9]+)")


# A folder's name is a part of the name of each picture in it.
@lru_cache(1024)
def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key under which "2" comes before "10" and upper case beside lower case."""
    pieces = _NUMBERS.split(name)
    # A number by its length and digits: Python makes no int of more than 4,300 of them.
    numbers = (piece.lstrip("0") if piece.isdecimal() else None for piece in pieces)
    folded = tuple(
        (1, 0, piece.casefold()) if number is None else (0, len(number), number)
        for piece, number in zip(pieces, numbers)
        if piece
    )
    # The name itself last: "a" and "A", or "1" and "01", need one order that never changes.
    return (*folded, (2, 0, name))


def in_natural_order(names: Iterable[str]) -> tuple[str, ...]:
    """The distinct `names`, "2" before "10"."""
    return tuple(sorted(set(names), key=natural_key))


def enumerated(names: Sequence[str], limit: int = 8) -> str:
    """Names for a message: all of a short list, the first few of a long one and the number of the others."""
    shown = ", ".join(repr(printable(name, 60)) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
