"""`corrections.csv`: what a person decided about doubtful pictures, one decision per line, in the order they were made.

    id,decision,from,to,who,when
    train/04812.png,relabel,4,9,,2026-11-23T10:04:11+00:00
    train/00017.png,exclude,daisy,,,2026-11-23T10:04:15+00:00
    train/00017.png,undo,,,,2026-11-23T10:04:19+00:00

The file only ever grows: each line is written at once and synced, so what was decided survives a crash, and a line that
a crash cut short is cut off before the next one. Of several decisions about one picture the last holds; `undo` takes
back the last one that was not taken back yet. A corrected dataset may be reviewed again, into the same file or another:
`from` of such a line is the class that an earlier line gave. A person may edit the file or write it by hand.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from deeper import files
from deeper.errors import SourceError, UsageError, nearest, printable

FILE = "corrections.csv"
Kind: TypeAlias = Literal["keep", "relabel", "exclude", "unsure"]
KINDS: tuple[str, ...] = get_args(Kind)
UNDO = "undo"
_COLUMNS = ("id", "decision", "from", "to", "who", "when")
# A lone surrogate stands for a byte of a file name that is no UTF-8, and must come back as it was.
_CODING = ("utf-8", "surrogatepass")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided about one picture.

    `given`: the class it had (column `from`), empty when not known; `to`: the class it gets, for `relabel` alone;
    `when`: ISO 8601, or empty. Raises: UsageError, for a decision that cannot be meant.
    """

    id: str
    kind: Kind
    given: str = ""
    to: str = ""
    who: str = ""
    when: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"no decision {printable(self.kind, 40)!r}{nearest(self.kind, KINDS)}")
        if not self.id:
            raise UsageError("a decision without the id of its picture; wanted: id,decision,from,to")
        if (self.kind == "relabel") != bool(self.to):
            wanted = "needs the class it gets" if self.kind == "relabel" else "has no class that it gets"
            raise UsageError(f"{printable(self.id, 60)}: {self.kind} {wanted} (column `to`)")


def holding(made: Sequence[Decision]) -> Decision:
    """What decisions about one picture, in their order, come to: the last, with the class it had before the first.

    To keep the class that an earlier decision gave it, as a second review does, means that earlier decision. A class that
    none of them gave it is the source's own, which was changed in between.
    """
    source, became = "", set[str]()
    for one in made:
        if one.given and one.given not in became and one.given != source:
            source, became = one.given, set()
        became.add(one.to)
    last = made[-1]
    if last.kind in ("keep", "unsure") and last.given and last.given != source:
        last = next((one for one in reversed(made) if one.to == last.given), last)
    return replace(last, given=source)


class Corrections:
    """The decisions in one file, and the way to add to them; the file need not exist yet.

    Lines that another process adds meanwhile are taken in at the next decision. Not for several threads at once.
    Raises: SourceError, for a file that is no `corrections.csv`; StorageError, when it cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._columns: tuple[str, ...] = _COLUMNS
        self._stacks: dict[str, list[Decision]] = {}
        # Ids of the decisions that hold, the latest last.
        self._order: list[str] = []
        # How much of the file is taken in, and what its last line lacks.
        self._end, self._lacks = 0, b""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise SourceError(f"{printable(path)} cannot be read ({error.strerror}); wanted {FILE}") from None
        self._absorb(data)

    @property
    def decisions(self) -> dict[str, Decision]:
        """What holds now, by id, in the order in which it was decided."""
        return {identifier: holding(made) for identifier, made in self.made.items()}

    @property
    def made(self) -> dict[str, tuple[Decision, ...]]:
        """What was decided about each picture and not taken back, by id; ids in the order of their latest decision."""
        latest = {identifier: number for number, identifier in enumerate(self._order)}
        known = [identifier for identifier, stack in self._stacks.items() if stack]
        return {identifier: tuple(self._stacks[identifier]) for identifier in sorted(known, key=latest.__getitem__)}

    def __contains__(self, identifier: object) -> bool:
        return isinstance(identifier, str) and bool(self._stacks.get(identifier))

    def decide(self, decision: Decision) -> Decision:
        """Write a decision; it is on the disk when this returns. Returns it with its time filled in."""
        stamped = replace(decision, when=decision.when or _now())
        self._append((stamped.id, stamped.kind, stamped.given, stamped.to, stamped.who, stamped.when))
        self._push(stamped)
        return stamped

    def undo(self, identifier: str, who: str = "") -> Decision | None:
        """Take back the last decision about a picture; returns what holds for it now.

        Raises: UsageError, when there is none, or another process took it back meanwhile.
        """
        self._refuse_nothing(identifier)
        self._append((identifier, UNDO, "", "", who, _now()), check=lambda: self._refuse_nothing(identifier))
        return self._pop(identifier)

    def _refuse_nothing(self, identifier: str) -> None:
        if identifier not in self:
            raise UsageError(f"nothing was decided about {printable(identifier, 60)}: there is nothing to take back")

    def _absorb(self, data: bytes) -> None:
        """Take in what the file holds from `_end` on."""
        rows, length, lacks = _parsed(self.path, data, None if self._end == 0 else self._columns)
        columns = self._columns
        if self._end == 0 and rows:
            columns = tuple(name.strip().lower() for name in rows.pop(0))
        # All are read before one is taken: what is refused for a bad line may be tried again once that is mended.
        try:
            taken = [_read(dict(zip(columns, row))) for row in rows]
        except UsageError as error:
            raise SourceError(f"{printable(self.path)}: {error}; mend or remove the line") from None
        for one in taken:
            if isinstance(one, Decision):
                self._push(one)
            elif one in self:
                self._pop(one)
        self._end += length
        self._columns, self._lacks = columns, lacks

    def _push(self, decision: Decision) -> None:
        self._stacks.setdefault(decision.id, []).append(decision)
        self._order.append(decision.id)

    def _pop(self, identifier: str) -> Decision | None:
        stack = self._stacks[identifier]
        stack.pop()
        del self._order[len(self._order) - 1 - self._order[::-1].index(identifier)]
        return holding(stack) if stack else None

    def _append(self, fields: Sequence[str], check: Callable[[], None] = lambda: None) -> None:
        """Add a line. `check`: called with the file locked and all that others added taken in; may refuse."""
        values = dict(zip(_COLUMNS, fields))
        with files.storage(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                with contextlib.suppress(OSError):  # a disk without locks: nobody can be kept waiting
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                size = os.fstat(descriptor).st_size
                if size < self._end:
                    raise SourceError(f"{printable(self.path)} was shortened meanwhile; start the review again")
                if size > self._end:
                    self._absorb(os.pread(descriptor, size - self._end, self._end))
                check()
                line = self._lacks + (b"" if self._end else _line(self._columns))
                line += _line(values.get(name, "") for name in self._columns)
                os.ftruncate(descriptor, self._end)
                _write_all(descriptor, line, self._end)
                os.fsync(descriptor)
                self._end, self._lacks = self._end + len(line), b""
            finally:
                os.close(descriptor)
            files.fsync_folder(self.path.parent)


def read_corrections(*paths: str | Path) -> dict[str, Decision]:
    """The decisions that hold, by id; those of a later file were made after those of an earlier one.

    Raises: SourceError, when a file is missing or is none of ours.
    """
    made: dict[str, list[Decision]] = {}
    for path in paths:
        if not Path(path).is_file():
            raise SourceError(
                f"there is no file {printable(path)}; make one with `deeper review DATASET`, or by hand with the columns "
                "id,decision,from,to"
            )
        for identifier, some in Corrections(path).made.items():
            made.setdefault(identifier, []).extend(some)
    return {identifier: holding(some) for identifier, some in made.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _line(fields: Iterable[str]) -> bytes:
    return files.csv_line(fields).encode(*_CODING)


def _write_all(descriptor: int, data: bytes, place: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, place)
        data, place = data[written:], place + written


def _whole(data: bytes) -> int:
    """Length of the whole lines at the beginning of `data`: a line ends at a newline outside of quotes."""
    end = start = 0
    quoted = False
    while (found := data.find(b"\n", start)) >= 0:
        quoted ^= data.count(b'"', start, found) % 2 == 1
        start = found + 1
        if not quoted:
            end = start
    return end


def _read(row: Mapping[str, str]) -> Decision | str:
    """A decision, or the id of the picture of which the last one is taken back. Raises: UsageError."""
    identifier, kind = row.get("id", ""), row.get("decision", "").strip().lower()
    if kind == UNDO:
        return identifier
    return Decision(
        id=identifier,
        kind=kind,  # type: ignore[arg-type]  # it checks what it is given
        given=row.get("from", ""),
        to=row.get("to", ""),
        who=row.get("who", ""),
        when=row.get("when", ""),
    )


def _parsed(path: Path, data: bytes, columns: Sequence[str] | None) -> tuple[list[list[str]], int, bytes]:
    """Rows (the header is the first when `columns` is None), how many bytes they take, what the last line lacks.

    A last line without its newline counts where it has all columns, for a person's editor may have left the newline
    out; else a crash cut it short.
    """
    end = _whole(data)
    text = _decoded(path, data[:end]).removeprefix("\ufeff")
    try:
        rest = data[end:].decode(*_CODING)
    except UnicodeDecodeError:
        rest = ""  # cut within a letter
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
        header = columns or rows[0] if columns or rows else None
        last = _row(rest)
    except csv.Error as error:
        raise SourceError(f"{printable(path)} is no sound CSV ({error}); mend it") from None
    if header is None:
        # Not even the header is whole: ours, cut short by a crash, or another file that must not be harmed.
        if _line(_COLUMNS).startswith(data):
            return [], 0, b""
        header = [name.removeprefix("\ufeff") for name in last or []]
    names = [name.strip().lower() for name in header]
    if "id" not in names or "decision" not in names:
        raise SourceError(
            f"{printable(path)} begins with {printable(','.join(names), 60)!r}; wanted the columns id,decision,from,to"
        )
    if last is not None and len(last) == len(names):
        return [*rows, last], len(data), b"\n"
    return rows, end, b""


def _decoded(path: Path, data: bytes) -> str:
    try:
        return data.decode(*_CODING)
    except UnicodeDecodeError:
        raise SourceError(f"{printable(path)} is no UTF-8 text; save it as CSV in UTF-8") from None


def _row(line: str) -> list[str] | None:
    """One line's fields; None for nothing, or an open quote."""
    try:
        return next(csv.reader([line], strict=True), None) if line else None
    except csv.Error:
        return None
