"""`rejected.csv`: the pictures that a build could not use, with reasons."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from deeper import files
from deeper.records.sources import Rejected

FILE = "rejected.csv"


def write_rejected(folder: Path, rejected: Sequence[Rejected]) -> None:
    """`rejected.csv`: a header, then id and reason; quoted where needed, so an id may hold anything."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "reason"))
    writer.writerows((item.id, " ".join(item.reason.split())) for item in rejected)
    files.write_bytes(folder / FILE, text.getvalue().encode("utf-8", "backslashreplace"))


def read_rejected(folder: Path) -> list[Rejected]:
    """The lines of `rejected.csv`; none where it is missing."""
    path = folder / FILE
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as text:
        return [Rejected(row[0], row[1]) for row in list(csv.reader(text))[1:] if len(row) == 2]
