"""The same training several times: with other seeds, or on other folds; mean and deviation of what came out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deeper import files
from deeper.errors import RunError, UsageError, printable
from deeper.records import Dataset
from deeper.runs.folder import Fold, is_run
from deeper.runs.interrupts import Interrupts
from deeper.runs.pictures import has_validation
from deeper.runs.result import Result

SUMMARY = "summary.json"
_UNJUDGED = "a series needs validation pictures to compare by; build the dataset with --validation 0.1"


@dataclass(frozen=True)
class Summary:
    """Accuracies of the repeats, each judged on its own validation pictures. `deviation` is the sample's (n − 1)."""

    names: tuple[str, ...]
    accuracies: tuple[float, ...]
    complete: bool

    @property
    def mean(self) -> float:
        """NaN where no repeat has ended yet."""
        return statistics.fmean(self.accuracies) if self.accuracies else math.nan

    @property
    def deviation(self) -> float:
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else math.nan

    def to_plain(self) -> dict[str, Any]:
        """For `summary.json` and --json."""
        mean, deviation = self.mean, self.deviation
        return {
            "runs": [{"run": name, "accuracy": value} for name, value in zip(self.names, self.accuracies, strict=True)],
            "mean": None if math.isnan(mean) else mean,
            "deviation": None if math.isnan(deviation) else deviation,
            "complete": self.complete,
        }


def repeat(out: Path, names: Sequence[str], train_one: Callable[[Path, int], Result]) -> Summary:
    """Train `out/NAME` for each name, go on with what is there unfinished, keep what is done; write `summary.json`.

    `train_one(path, number)` does the work, and goes on with a run that is there (`train(…, existing="resume")`). An
    interrupted repeat ends the series, even the first; calling again goes on where it stopped.

    Raises: RunError, when `out` itself is a run, or holds a `summary.json` and none of these runs.
    """
    if is_run(out):
        raise RunError(f"{printable(out)} is a single run; give another --out for a series")
    if (out / SUMMARY).exists() and not any(is_run(out / name) for name in names):
        raise RunError(f"the {SUMMARY} in {printable(out)} is not this series'; give another --out")
    done: dict[int, float] = {}
    complete = True
    # Those that are there first: what is of another training is found before hours are spent beside it.
    for number in sorted(range(len(names)), key=lambda number: not is_run(out / names[number])):
        result = train_one(out / names[number], number)
        if result.reason == "interrupted":
            complete = False
            break
        if result.validation is None:
            raise RunError(_UNJUDGED)
        done[number] = float(result.validation.accuracy)
        summary = _summary(names, done)
        files.write_json(out / SUMMARY, summary.to_plain())
        if Interrupts.received is not None and not summary.complete:
            complete = False  # the signal came too late for this run to stop
            break
    return replace(_summary(names, done), complete=complete)


def _summary(names: Sequence[str], done: Mapping[int, float]) -> Summary:
    """Of those that are done, in the order of the names."""
    numbers = sorted(done)
    return Summary(
        tuple(names[number] for number in numbers),
        tuple(done[number] for number in numbers),
        complete=len(done) == len(names),
    )


def refuse_unjudged(dataset: Dataset) -> None:
    """To be asked before the first of several trainings with other seeds; folds find pictures to validate on.

    Raises: RunError, for a dataset without validation pictures.
    """
    if not has_validation(dataset):
        raise RunError(_UNJUDGED)


def seed_names(first: int, count: int) -> list[str]:
    if count < 2:
        raise UsageError(f"--seeds: wanted at least 2, got {count}")
    return [f"seed-{first + number}" for number in range(count)]


def folds(count: int) -> list[Fold]:
    if count < 2:
        raise UsageError(f"--folds: wanted at least 2, got {count}")
    return [Fold(index=index, count=count) for index in range(count)]
