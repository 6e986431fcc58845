"""Where a run lies: a folder of its own, reserved at once, and held by one process for as long as that trains in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deeper import files
from deeper.errors import RunError, printable, typed
from deeper.records.lock import locked
from deeper.runs.folder import is_run


def refuse_taken(out: Path) -> None:
    """Raises: RunError, when `out` holds a run, or files that are none of a run."""
    with files.storage(out):
        taken = is_run(out)
        files.remove_leftovers(out)
        first = next(out.iterdir(), None) if out.is_dir() else None
    if taken:
        raise RunError(
            f"{printable(out)} already holds a run; go on with it by `deeper train --resume {typed(out)}`, "
            "or give another --out"
        )
    if first is not None:
        raise RunError(
            f"{printable(out)} is no run and not empty ({printable(first.name, 60)} lies in it); give another --out, "
            "or empty it"
        )


@contextmanager
def reserved(out: Path | None, stem: str) -> Iterator[Path]:
    """The folder of a new run, held for the block: `out`, or where that is None the first of runs/STEM, runs/STEM-2, …
    that is free. Where no run was begun in it, a folder that was made for it goes again.

    Raises: RunError, as `refuse_taken` and `held`; StorageError.
    """
    place, made = _made(out, stem)
    try:
        with held(place):
            refuse_taken(place)  # as it is now: another process may have been quicker
            yield place
    finally:
        if made:
            with contextlib.suppress(OSError):
                place.rmdir()  # which only an empty folder suffers


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Within the block no other process trains in `run`. Raises: RunError, when one does."""
    busy = f"{printable(run)} is being trained by another process; wait until that has ended, or interrupt it"
    with locked(run, RunError(busy)):
        yield


def _made(out: Path | None, stem: str) -> tuple[Path, bool]:
    """The folder, there in any case, and whether it was not there before."""
    for place in files.numbered(out or Path("runs") / stem):
        with files.storage(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                place.mkdir()
                return place, True
            except FileExistsError:
                if out is not None:
                    if place.is_dir():
                        return place, False
                    raise
    raise AssertionError("there is a number for every folder")
