"""`rejected.csv`: the pictures that a build could not use, with reasons."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from deeper import files
from deeper.errors import DatasetError, printable, typed
from deeper.records.sources import Rejected

FILE = "rejected.csv"


def write_rejected(folder: Path, rejected: Sequence[Rejected]) -> None:
    """`rejected.csv`: a header, then id and reason; quoted where needed, so an id may hold anything."""
    rows = [("id", "reason"), *((item.id, item.reason) for item in map(_as_written, rejected))]
    text = "".join(files.csv_line(row) for row in rows)
    files.write_bytes(folder / FILE, text.encode("utf-8"))


def read_rejected(folder: Path) -> list[Rejected]:
    """The lines of `rejected.csv`; none where it is missing. Raises: DatasetError, for a damaged one."""
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as text:
            return [Rejected(row[0], row[1]) for row in list(csv.reader(text))[1:] if len(row) == 2]
    except csv.Error as error:
        raise DatasetError(
            f"{printable(path)} is damaged ({error}): deeper verify {typed(folder)} --repair puts it aside"
        ) from None


def joined(listed: Sequence[Rejected], new: Sequence[Rejected], accepted: Iterable[str]) -> list[Rejected]:
    """The lines after another build: those of the `new` ones, in the place of older lines about their ids or at the end,
    and of the others those whose ids were not `accepted` meanwhile."""
    gone = {_written(identifier) for identifier in accepted}
    anew: dict[str, list[Rejected]] = {}
    for one in map(_as_written, new):
        anew.setdefault(one.id, []).append(one)
    lines: list[Rejected] = []
    replaced = set(anew)
    for one in listed:
        if one.id in replaced:
            lines += anew.pop(one.id, [])
        elif one.id not in gone:
            lines.append(one)
    return lines + [one for some in anew.values() for one in some]


def is_damaged(folder: Path) -> bool:
    """Whether there is a `rejected.csv` that cannot be read."""
    try:
        read_rejected(folder)
    except DatasetError:
        return True
    return False


def _as_written(one: Rejected) -> Rejected:
    return Rejected(_written(one.id), _written(" ".join(one.reason.split())))


def _written(text: str) -> str:
    """As it comes back from the file: what is no UTF-8 in a file's name stands there as `\\udcff`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
