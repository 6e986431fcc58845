"""The text of a table: encoding, delimiter and header, told safely or refused."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deeper.errors import SourceError, printable
from deeper.records.sources.listing import enumerated, file_bytes

_NAMES = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "picture"),
    "label": ("label", "class", "class_name", "label_name", "category", "species"),
    "split": ("split", "set", "subset", "partition"),
    "group": ("group", "group_id"),
}
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}


@dataclass(frozen=True)
class Table:
    """The rows of a table and which column is what."""

    header: tuple[str, ...]
    columns: dict[str, int]
    """`path` and `label`, and `split` and `group` where there are such columns."""
    rows: Sequence[tuple[int, list[str]]]
    """(line number in the file, cells); empty lines are left out."""
    notices: tuple[str, ...]


def read_table(path: Path) -> Table:
    """Read a CSV or TSV. The delimiter is the one under which the columns make sense, not the most frequent one.

    Raises: SourceError, for a file that cannot be read, text in an unknown encoding, columns that are neither named nor
    plainly a path and a label, a broken quote, an empty file.
    """
    shown = printable(path)
    text, notices = _decode(file_bytes(path), shown)
    if not text.strip():
        raise SourceError(f"{shown!r} is empty; wanted lines of path,label")
    order = ["\t", ",", ";"] if path.suffix.lower() == ".tsv" else [",", ";", "\t"]
    first_rows = {delimiter: _first_row(text, delimiter) for delimiter in order}
    for delimiter, row in first_rows.items():
        columns = _named_columns(row, shown)
        if "path" in columns and "label" in columns:
            if delimiter != order[0]:
                notices.append(f"read with {_DELIMITERS[delimiter]} as delimiter")
            return Table(tuple(row), columns, _rows(text, delimiter, shown)[1:], tuple(notices))
    for delimiter, row in first_rows.items():
        # Without a header only a first cell that is a file tells that the first column is the path.
        if len(row) >= 2 and _is_file(path.parent, row[0].strip()) and row[1].strip():
            header = ("path", "label", "split", "group")[: min(len(row), 4)]
            notices.append(
                f"no header: columns read as {', '.join(header)}"
                + (f", with {_DELIMITERS[delimiter]} as delimiter" if delimiter != order[0] else "")
            )
            columns = {name: index for index, name in enumerate(header)}
            return Table(header, columns, _rows(text, delimiter, shown), tuple(notices))
    widest = max(first_rows.values(), key=len)
    raise SourceError(
        f"{shown!r} begins with {enumerated(widest)}; wanted a header with path and label (and split, group), or no "
        "header and a first line with the path of an existing picture, relative to the table, and its label"
    )


def _decode(data: bytes, shown: str) -> tuple[str, list[str]]:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # what Excel calls "Unicode text"
        try:
            return data.decode("utf-16"), ["read as UTF-16"]
        except UnicodeDecodeError:
            raise SourceError(f"{shown!r} begins like UTF-16 and is not; save it as UTF-8") from None
    if b"\0" in data:
        raise SourceError(f"{shown!r} holds zero bytes, so it is no text; wanted a CSV or TSV file in UTF-8")
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        # File names may be any bytes on Linux: kept as Python keeps them, so that the files are found.
        notice = f"line {line} is not UTF-8: if names or labels look wrong, save the table as UTF-8"
        return data.decode("utf-8-sig", "surrogateescape"), [notice]


def _first_row(text: str, delimiter: str) -> list[str]:
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
        return next((row for row in reader if any(cell.strip() for cell in row)), [])
    except csv.Error:
        return []


def _rows(text: str, delimiter: str, shown: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    rows = []
    line = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append((line, row))
            line = reader.line_num + 1  # a quoted cell may span lines: a row is named by its first
    except csv.Error as error:
        raise SourceError(f"{shown!r}, line {line}: {error}; wanted each cell plain or in double quotes") from None
    return rows


def _named_columns(row: Sequence[str], shown: str) -> dict[str, int]:
    columns: dict[str, int] = {}
    for index, cell in enumerate(row):
        word = cell.strip().casefold().replace(" ", "_")
        for meaning, words in _NAMES.items():
            if word not in words:
                continue
            if meaning in columns and word != meaning:
                continue  # `path` beside `file`: the plain name counts, then the first
            if meaning in columns and row[columns[meaning]].strip().casefold() == meaning:
                raise SourceError(f"{shown!r} has two columns {meaning!r}; wanted one")
            columns[meaning] = index
    return columns


def _is_file(folder: Path, written: str) -> bool:
    candidates = (written, written.replace("\\", "/"))
    try:
        return any(os.path.isfile(os.path.join(folder, candidate)) for candidate in candidates if candidate)
    except ValueError:
        return False
