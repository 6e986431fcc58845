"""What a search for doubtful labels found, as frozen values, and the files that it leaves: `suspects.csv` and others."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from deeper import files
from deeper.errors import SourceError, printable, typed

Reason: TypeAlias = Literal["label", "duplicate", "leak", "outlier", "mistake"]
REASONS: tuple[str, ...] = get_args(Reason)
SUSPECTS, NEIGHBOURS = "suspects.csv", "neighbours.csv"
_CODING = ("utf-8", "surrogatepass")
_COLUMNS = ("id", "split", "given", "suggested", "confidence", "reason", "detail")
_NEIGHBOUR_COLUMNS = ("id", "rank", "neighbour", "split", "label", "distance")


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A picture that looks like the suspect. `distance`: between features, in the mean distance of two pictures."""

    id: str
    split: str
    label: str
    distance: float


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """One picture that somebody should look at."""

    id: str
    split: str
    given: str
    """The class that it has."""
    suggested: str = ""
    """The class that it should perhaps have; empty where none is suggested."""
    confidence: float
    """0..1, comparable among suspects of one reason. `label`, `mistake`: (1 + p(suggested) − p(given)) / 2; `duplicate`,
    `leak`: correlation of the two pictures' pixels; `outlier`: z / (z + 4), where z is how many deviations it
    lies beyond the usual distance to its neighbours."""
    reasons: tuple[Reason, ...]
    """The one that decided its rank first; none where a list of somebody else's gives none."""
    detail: str = ""
    """In words."""
    neighbours: tuple[Neighbour, ...] = ()
    """The nearest first."""

    def to_plain(self) -> dict[str, Any]:
        """For JSON; keys are described in docs/json.md."""
        return {
            "id": self.id,
            "split": self.split,
            "given": self.given,
            "suggested": self.suggested or None,
            "confidence": round(self.confidence, 6),
            "reason": list(self.reasons),
            "detail": self.detail,
        }


@dataclass(frozen=True, kw_only=True)
class Doubts:
    """The suspects of a dataset, those that deserve a look most first, and how they were found."""

    source: str
    """Dataset or run that was looked through."""
    dataset_hash: str
    pictures: int
    judge: str
    """Who judged, in words."""
    judge_accuracy: float
    weak: bool
    suspects: tuple[Suspect, ...]
    """Those that are listed: the most urgent ones where there are more than were asked for."""
    found: Mapping[str, int] | None = None
    """Suspects by reason, listed or not; None: all are listed."""
    suspected: int | None = None
    """Their number, listed or not; None: all are listed."""
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock per part of the work."""

    def counts(self) -> dict[str, int]:
        """Suspects by reason, listed or not; one with two reasons counts twice."""
        if self.found is not None:
            return dict(self.found)
        return {reason: sum(reason in one.reasons for one in self.suspects) for reason in REASONS}

    def to_plain(self) -> dict[str, Any]:
        """For --json; keys are described in docs/json.md."""
        return {
            "source": self.source,
            "dataset_hash": self.dataset_hash,
            "pictures": self.pictures,
            "judge": {"description": self.judge, "accuracy": self.judge_accuracy, "weak": self.weak},
            "counts": self.counts(),
            "suspects": [one.to_plain() for one in self.suspects],
            "notes": list(self.notes),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }

    def write(self, folder: Path) -> None:
        """Put `suspects.csv` and `neighbours.csv` into a folder, replacing those of an earlier search.

        Raises: StorageError.
        """
        _write(folder / NEIGHBOURS, _NEIGHBOUR_COLUMNS, self._neighbour_rows())
        _write(
            folder / SUSPECTS,
            _COLUMNS,
            (
                (
                    one.id,
                    one.split,
                    one.given,
                    one.suggested,
                    f"{one.confidence:.6f}",
                    "+".join(one.reasons),
                    one.detail,
                )
                for one in self.suspects
            ),
        )

    def _neighbour_rows(self) -> Iterable[Sequence[str]]:
        for one in self.suspects:
            for rank, near in enumerate(one.neighbours, 1):
                yield one.id, str(rank), near.id, near.split, near.label, f"{near.distance:.6f}"


def read_suspects(path: str | Path) -> list[Suspect]:
    """The suspects in a file, in its order, with the neighbours in `neighbours.csv` beside it where that is there.

    `id` is the only column that must be there. Raises: SourceError, for a missing file or another kind of file.
    """
    place = Path(path)
    rows = _read(place, "id")
    beside = place.parent / NEIGHBOURS
    near: dict[str, list[Neighbour]] = {}
    for row in _read(beside, "neighbour") if beside.is_file() else []:
        found = Neighbour(
            id=row["neighbour"], split=row["split"], label=row["label"], distance=_number(row["distance"])
        )
        near.setdefault(row["id"], []).append(found)
    suspects = []
    for row in rows:
        reasons = tuple(word for word in row["reason"].split("+") if word in REASONS)
        suspects.append(
            Suspect(
                id=row["id"],
                split=row["split"],
                given=row["given"],
                suggested=row["suggested"],
                confidence=_number(row["confidence"]),
                reasons=reasons,  # type: ignore[arg-type]  # just looked up
                detail=row["detail"],
                neighbours=tuple(near.get(row["id"], ())),
            )
        )
    return suspects


def leak_warning(dataset: Path, split: str) -> str | None:
    """What an earlier `deeper labels` says about a result on `split` ("all": any); None where there is nothing to say."""
    try:
        suspects = read_suspects(dataset / "labels" / SUSPECTS)
    except SourceError:
        return None
    count = sum("leak" in one.reasons and split in (one.split, "all") for one in suspects)
    if not count:
        return None
    return (
        f"{count:,} of these pictures lie in another split too, as `deeper labels` found: what was learned by heart counts "
        f"here as known; look at them with `deeper review {typed(dataset)}`"
    )


class _Row(dict[str, str]):
    """A column that the file does not have is empty."""

    def __missing__(self, key: str) -> str:
        return ""


def _read(path: Path, needed: str) -> list[_Row]:
    try:
        text = path.read_bytes().decode(*_CODING).removeprefix("\ufeff")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except FileNotFoundError:
        raise SourceError(f"there is no file {printable(path)}; make one with `deeper labels DATASET`") from None
    except OSError as error:
        raise SourceError(f"{printable(path)} cannot be read ({error.strerror}); wanted {SUSPECTS}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{printable(path)} is no CSV in UTF-8 ({printable(error, 80)}); wanted {SUSPECTS}") from None
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if needed not in header:
        raise SourceError(
            f"{printable(path)} begins with {printable(','.join(header), 60)!r}; wanted the columns "
            f"{','.join(_COLUMNS)}, of which id is needed"
        )
    return [_Row(zip(header, row)) for row in rows[1:] if any(row)]


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = "".join(files.csv_line(row) for row in (columns, *rows))
    files.write_bytes(path, text.encode(*_CODING))
