"""What a review knows: the suspects, their pictures and neighbours, and what was decided. No torch, no network."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from deeper import images
from deeper.errors import DatasetError, UsageError, printable, readable, typed
from deeper.inspection.suspects import Suspect
from deeper.records import Dataset
from deeper.records.corrections import FILE, KINDS, Corrections, Decision

# Pixels of a side beyond which a picture is reduced before it is sent: more than a screen shows of it.
LARGEST = 1024
# Up to this side PNG is small enough, and exact.
_EXACT = 256
# Of a page that does not say which decision it shows.
_UNSAID: Any = object()


@dataclass(frozen=True)
class Place:
    """Where a picture stands in the dataset."""

    split: str
    position: int


class Session:
    """One review: suspects of a dataset, in their order, and the file that decisions go to.

    Safe to use from several threads. Raises: DatasetError, when no suspect is in the dataset; SourceError, for a
    corrections file that is none.
    """

    def __init__(self, dataset: Dataset, suspects: Sequence[Suspect], corrections: str | Path | None = None) -> None:
        self.dataset = dataset
        self._lock = threading.Lock()
        places = {
            identifier: Place(name, position)
            for name, info in dataset.info.splits.items()
            if info.count
            for position, identifier in enumerate(dataset.split(name).ids)
        }
        # Once each, whatever a table of somebody's own says.
        named: dict[str, Suspect] = {}
        for one in suspects:
            named.setdefault(one.id, one)
        suspects = list(named.values())
        self.suspects = [one for one in suspects if one.id in places]
        if not self.suspects:
            first = f" (first: {printable(suspects[0].id, 60)})" if suspects else ""
            raise DatasetError(
                f"none of the {len(suspects):,} suspects{first} is in {printable(dataset.path)}: there is nothing to "
                "review; find them with `deeper labels`, or name the dataset that they are of"
            )
        self.missing = len(suspects) - len(self.suspects)
        self._numbers = {one.id: number for number, one in enumerate(self.suspects)}
        # Only what is shown can be asked for, by its number.
        shown = list(self._numbers)
        shown += [near.id for one in self.suspects for near in one.neighbours if near.id in places]
        self._pictures = {identifier: number for number, identifier in enumerate(dict.fromkeys(shown))}
        self._places = [places[identifier] for identifier in self._pictures]
        self.corrections = Corrections(corrections or dataset.path / FILE)

    @property
    def decided(self) -> int:
        """Suspects about which something is decided."""
        return sum(one.id in self.corrections for one in self.suspects)

    def describe(self) -> dict[str, Any]:
        """Everything that the page shows, as plain data."""
        with self._lock:
            latest = self._latest()
            return {
                "name": printable(self.dataset.path.name or self.dataset.info.name, 80),
                "file": printable(self.corrections.path),
                "typed": typed(self.corrections.path),
                "corrected": self.dataset.info.corrections is not None,
                "classes": [readable(name) for name in self.dataset.classes],
                "suspects": [self._plain(one, latest.get(one.id)) for one in self.suspects],
            }

    def decide(self, number: int, kind: str, to: int | None, *, seen: Any = _UNSAID) -> dict[str, Any]:
        """Write a decision about a suspect. `to`: index of a class, for `relabel` alone. `seen`: the decision that is
        shown where this one is taken; where another holds by now, nothing is written, and `elsewhere` says so.

        Raises: UsageError, for a number, decision or class that is none; StorageError.
        """
        if not 0 <= number < len(self.suspects):
            raise UsageError(f"no suspect {number}; there are {len(self.suspects)}")
        if kind not in KINDS or (kind == "relabel") != (to is not None):
            raise UsageError(f"no decision {printable(kind, 40)!r}, or its class is missing")
        classes = self.dataset.classes
        if to is not None and not 0 <= to < len(classes):
            raise UsageError(f"no class {to}; there are {len(classes)}")
        suspect = self.suspects[number]
        label = self._given(suspect)
        with self._lock:
            if self._is_other(number, seen):
                return {**self._state(number), "elsewhere": True}
            # Giving a picture the class that it has means keeping it.
            keeps = to is not None and classes[to] == label
            self.corrections.decide(
                Decision(
                    id=suspect.id,
                    kind="keep" if keeps else kind,  # type: ignore[arg-type]  # checked above
                    given=label,
                    to="" if to is None or keeps else classes[to],
                )
            )
            return self._state(number)

    def undo(self, number: int | None = None, *, seen: Any = _UNSAID) -> dict[str, Any]:
        """Take back the latest decision about a suspect, without a `number` the latest of all. `seen`: as in `decide`.

        Raises: UsageError, when there is none.
        """
        with self._lock:
            if number is None:
                made = [identifier for identifier in self.corrections.made if identifier in self._numbers]
                if not made:
                    raise UsageError("nothing was decided yet: there is nothing to take back")
                number = self._numbers[made[-1]]
            elif not 0 <= number < len(self.suspects):
                raise UsageError(f"no suspect {number}; there are {len(self.suspects)}")
            if self._is_other(number, seen):
                return {**self._state(number), "elsewhere": True}
            self.corrections.undo(self.suspects[number].id)
            return self._state(number)

    def _is_other(self, number: int, seen: Any) -> bool:
        """Whether somebody else, in another window, decided meanwhile."""
        return seen is not _UNSAID and seen != self._decision(self._latest().get(self.suspects[number].id))

    def picture(self, number: int) -> tuple[bytes, str]:
        """A picture for the page, and its media type. Pixels only: no EXIF, no place, none of the file's own bytes.

        Raises: UsageError, for a number that is none; DatasetError, for a damaged record.
        """
        if not 0 <= number < len(self._places):
            raise UsageError(f"no picture {number}")
        place = self._places[number]
        pixels = self.dataset.split(place.split).picture(place.position, at_least=(LARGEST, LARGEST))
        if max(pixels.shape[:2]) <= _EXACT:
            return images.encode_png(pixels), "image/png"
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=92)
        return data.getvalue(), "image/jpeg"

    def _given(self, suspect: Suspect) -> str:
        """The class in the dataset, whatever the suspects' file says."""
        place = self._places[self._pictures[suspect.id]]
        name: str = self.dataset.classes[self.dataset.split(place.split).labels[place.position]]
        return name

    def _state(self, number: int) -> dict[str, Any]:
        decision = self._latest().get(self.suspects[number].id)
        return {"number": number, "decision": self._decision(decision), "decided": self.decided}

    def _latest(self) -> dict[str, Decision]:
        """What was said last of each picture, which the page shows and undo takes back; a build asks what it comes to."""
        return {identifier: made[-1] for identifier, made in self.corrections.made.items()}

    def _decision(self, decision: Decision | None) -> dict[str, Any] | None:
        return None if decision is None else {"kind": decision.kind, "to": self._index(decision.to)}

    def _index(self, name: str) -> int | None:
        return self.dataset.classes.index(name) if name in self.dataset.classes else None

    def _plain(self, suspect: Suspect, decision: Decision | None) -> dict[str, Any]:
        place = self._places[self._pictures[suspect.id]]
        split = self.dataset.split(place.split)
        return {
            "id": readable(suspect.id),
            "picture": self._pictures[suspect.id],
            "size": [int(split.widths[place.position]), int(split.heights[place.position])],
            "split": place.split,
            "given": int(split.labels[place.position]),
            "suggested": self._index(suspect.suggested),
            "confidence": suspect.confidence,
            "reasons": list(suspect.reasons),
            "detail": readable(suspect.detail),
            "neighbours": [
                {
                    "picture": self._pictures[near.id],
                    "id": readable(near.id),
                    "split": self._places[self._pictures[near.id]].split,
                    "label": self._label(near.id),
                }
                for near in suspect.neighbours
                if near.id in self._pictures
            ],
            "decision": self._decision(decision),
        }

    def _label(self, identifier: str) -> int:
        place = self._places[self._pictures[identifier]]
        return int(self.dataset.split(place.split).labels[place.position])


def open_session(
    place: str | Path, *, suspects: str | Path | None = None, corrections: str | Path | None = None
) -> Session:
    """A review of a dataset, or of a run's mistakes on its dataset.

    `suspects`: a file that `deeper labels` wrote, `labels/suspects.csv` in the dataset's (or run's) folder when None.
    `corrections`: where decisions go, `corrections.csv` in the dataset's folder when None.

    Raises: SourceError, when there is no such file; DatasetError; RunError.
    """
    from deeper.inspection.suspects import SUSPECTS, read_suspects

    path = Path(place)
    file = Path(suspects) if suspects else path / "labels" / SUSPECTS
    return Session(_dataset(path), read_suspects(file), corrections)


def _dataset(path: Path) -> Dataset:
    from deeper.runs.folder import Run, is_run

    return Run(path).dataset() if is_run(path) else Dataset(path)
