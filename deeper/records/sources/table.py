"""Tables of pictures: path,label[,split][,group] as CSV or TSV.

The header may be missing: then the first column is the path and the second the label, and that is said. Paths are
relative to the table. Every row becomes an item or a named refusal.
"""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deeper.errors import SourceError, UsageError, nearest, printable
from deeper.records.sources.groups import groups_of
from deeper.records.sources.item import Item, Rejected
from deeper.records.sources.listing import (
    Listing,
    digest,
    enumerated,
    in_natural_order,
    split_of,
    split_spellings,
)
from deeper.records.sources.options import NO_OPTIONS, SourceOptions
from deeper.records.sources.table_text import Table, read_table
from deeper.records.sources.walk import clean, special


@dataclass(frozen=True, slots=True)
class _Row:
    """One row that can become an item."""

    line: int
    id: str
    path: Path
    label: str
    split: str | None
    group: str | None
    size: int
    modified: int


def open_table(path: Path, *, options: SourceOptions = NO_OPTIONS) -> Listing:
    """A source from a CSV or TSV file (`,` `;` or tab; UTF-8 or UTF-16; quoted fields).

    Ids are the paths relative to the table, "/" between folders, `..` where a path leads out of its folder.
    A row is refused, by name, where its file is missing or special, its label empty, its split unknown, or its
    picture listed before. Raises: SourceError, where the table as a whole cannot be read; UsageError, for a
    `group_by` that is no column and no pattern.
    """
    table = read_table(path)
    shown = printable(path)
    columns = table.columns
    group_column = _group_column(table, options.group_by)
    used = {*columns.values(), group_column}
    ignored = [name for index, name in enumerate(table.header) if index not in used]
    notices = [f"columns not used: {enumerated(ignored)}"] if ignored else []
    notices += table.notices
    rows: list[_Row] = []
    rejected: list[Rejected] = []
    for line, cells in table.rows:
        result = _row(path.parent, line, cells, table, group_column)
        if isinstance(result, _Row):
            rows.append(result)
        else:
            rejected.append(result)
    rows, repeated = _without_repeated(rows)
    if not rows:
        refusals = rejected + repeated
        first = f"; first: {printable(refusals[0].id, 80)}: {refusals[0].reason}" if refusals else ""
        raise SourceError(f"{shown!r} lists no usable picture ({len(refusals)} rows){first}")
    unsplit = sum(row.split is None for row in rows)
    if "split" in columns and 0 < unsplit < len(rows):
        notices.append(f"{unsplit} of {len(rows)} rows leave the split empty")
    identifiers = [row.id for row in rows]
    if group_column is not None:
        groups: list[str | None] = [row.group for row in rows]
        alone = groups.count(None)
        if group_column == columns.get("group") and options.group_by is None and unsplit:
            notices.append(f"pictures with the same {printable(table.header[group_column])!r} stay in one split")
        if alone:
            notices.append(f"{alone} rows leave the group empty: each of those pictures is on its own")
    else:
        groups, group_notices = groups_of(identifiers, options.group_by)
        notices += group_notices
    items = [Item(row.id, row.label, row.split, group, row.path, None, row.size) for row, group in zip(rows, groups)]
    classes = in_natural_order(row.label for row in rows)
    label_column = columns["label"]
    listed = {clean(cells[label_column].strip()) for _, cells in table.rows if len(cells) > label_column}
    if lost := in_natural_order(listed - {*classes, ""}):
        notices.append(f"no usable picture of {enumerated(lost)}: left out of the classes")
    name = clean(path.stem) or "table"
    return Listing(
        name=name,
        description=f"{printable(name, 60)}: a table of {len(items):,} files in {len(classes)} classes",
        classes=classes,
        list_items=lambda: items,
        identify=lambda: digest(
            [
                "table",
                *(
                    "\0".join(map(str, (row.id, row.label, row.split, group, row.size, row.modified)))
                    for row, group in zip(rows, groups)
                ),
            ]
        ),
        rejected=rejected + repeated,
        notices=notices,
    )


def _group_column(table: Table, group_by: str | None) -> int | None:
    """The column that groups, or `None` where `group_by` is about ids (or nothing groups)."""
    if group_by is None:
        return table.columns.get("group")
    folded = [name.strip().casefold() for name in table.header]
    if group_by.strip().casefold() in folded:
        return folded.index(group_by.strip().casefold())
    if group_by == "folder" or "(" in group_by:
        return None
    raise UsageError(
        f"--group-by {printable(group_by)!r}: the table has no such column{nearest(group_by, table.header)}"
    )


def _row(folder: Path, line: int, cells: Sequence[str], table: Table, group_column: int | None) -> _Row | Rejected:
    def cell(column: int | None) -> str:
        return cells[column].strip() if column is not None and column < len(cells) else ""

    written = cell(table.columns["path"])
    if not written:
        return Rejected(f"line {line}", "no path")
    identifier, path = _resolve(folder, written)
    if any(one.strip() for one in cells[len(table.header) :]):
        # A comma inside a label that stands without quotes: cut off there, two classes would become one.
        reason = (
            f"{len(cells)} cells where the table has {len(table.header)} columns; put text with commas in double quotes"
        )
        return Rejected(identifier, f"line {line}: {reason}")
    label, split_word = clean(cell(table.columns["label"])), cell(table.columns.get("split"))
    if not label:
        return Rejected(identifier, f"line {line}: no label")
    split = split_of(split_word) if split_word else None
    if split_word and split is None:
        known = split_spellings()
        return Rejected(identifier, f"line {line}: {printable(split_word, 40)!r} is no split; known: {known}")
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "a name that no file can have"
        return Rejected(identifier, f"line {line}: {reason}")
    kind = special(status.st_mode)
    if kind is None and path.is_dir():
        kind = "a folder, no picture file"
    if kind is not None:
        return Rejected(identifier, f"line {line}: {kind}")
    group = clean(cell(group_column)) or None
    return _Row(line, identifier, path, label, split, group, status.st_size, status.st_mtime_ns)


def _resolve(folder: Path, written: str) -> tuple[str, Path]:
    """Id and place of a path as it stands in the table."""
    # Tables written on Windows have backslashes; on other systems a backslash may be part of a name.
    if "\\" in written and not os.path.lexists(os.path.join(folder, written)):
        written = written.replace("\\", "/")
    # An é is one sign or two, and not the same one in a table and on a disk that came from a Mac.
    if not written.isascii() and not os.path.lexists(os.path.join(folder, written)):
        forms = (unicodedata.normalize(form, written) for form in ("NFC", "NFD"))
        written = next((one for one in forms if os.path.lexists(os.path.join(folder, one))), written)
    if PurePosixPath(written).is_absolute() or Path(written).is_absolute():
        # Relative to the table, so that table and pictures can move together.
        relative = os.path.relpath(written, os.path.abspath(folder)).replace(os.sep, "/")
        return clean(relative), Path(written)
    return clean(posixpath.normpath(written)), folder / written


def _without_repeated(rows: Sequence[_Row]) -> tuple[list[_Row], list[Rejected]]:
    """Each picture once. Listed with several labels, splits or groups, nobody can know which is meant: all are refused."""
    by_id: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        by_id[row.id].append(row)
    kept: list[_Row] = []
    rejected: list[Rejected] = []
    for same in by_id.values():
        first = same[0]
        lines = ", ".join(str(row.line) for row in same)
        labels = in_natural_order(row.label for row in same)
        splits = sorted({row.split or "" for row in same})
        groups = {row.group for row in same}
        if len(labels) > 1:
            reason = f"listed with several labels, {enumerated(labels)} (lines {lines})"
            rejected += [Rejected(row.id, reason) for row in same]
        elif len(splits) > 1:
            reason = f"listed in several splits, {enumerated(splits)} (lines {lines})"
            rejected += [Rejected(row.id, reason) for row in same]
        elif len(groups) > 1:
            reason = f"listed in several groups (lines {lines})"
            rejected += [Rejected(row.id, reason) for row in same]
        else:
            kept.append(first)
            rejected += [Rejected(row.id, f"line {row.line}: listed before in line {first.line}") for row in same[1:]]
    return kept, rejected
