"""`rejected.csv`: the pictures that a build could not use, with reasons."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from deeper import files
from deeper.errors import DatasetError, printable, typed
from deeper.records.sources import Rejected

FILE = "rejected.csv"


def write_rejected(folder: Path, rejected: Sequence[Rejected]) -> None:
    """`rejected.csv`: a header, then id and reason; quoted where needed, so an id may hold anything."""
    rows = [("id", "reason"), *((item.id, " ".join(item.reason.split())) for item in rejected)]
    text = "".join(files.csv_line(row) for row in rows)
    files.write_bytes(folder / FILE, text.encode("utf-8", "backslashreplace"))


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


def damage(folder: Path) -> str:
    """What keeps `rejected.csv` from being read, in words; empty where nothing does."""
    try:
        read_rejected(folder)
    except DatasetError as error:
        return str(error)
    return ""
