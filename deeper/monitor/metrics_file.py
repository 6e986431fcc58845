"""`metrics.jsonl`: every number that was shown, one JSON object per line.

    {"event": "started",  "step": 0, "steps": 2580, "steps_per_epoch": 430, "precision": "bf16", "device": "cpu"}
    {"event": "step",     "step": 50, "epoch": 0, "images": 6400, "loss": …, "cross_entropy": …, …}
    {"event": "detail",   "step": 501, "sparsity": {"conv1/relu": 0.43, …}}
    {"event": "epoch",    "step": 430, "epoch": 0, "averaged": true, "best": true, "validation": {"accuracy": …, …}}
    {"event": "finished", "step": 2580, "reason": "done", "best_step": 2150, "seconds": …}

`step` counts the steps done, `epoch` counts from 0. `sparsity`: the share of zeros behind each rectifier, in the step
that makes the number full. No number is NaN or infinite: such a one is null. A resumed run
leaves the same file as an uninterrupted one, except for the fields in `WALL_CLOCK_FIELDS`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeper import files
from deeper.training.events import BatchNormChecked, DetailDone, EpochDone, Event, Finished, Started, StepDone

if TYPE_CHECKING:
    from io import FileIO

# What a clock says differs from run to run; everything else in the file is a function of the run's config.
WALL_CLOCK_FIELDS = ("seconds", "images_per_second")
# What a run says when it ends; one that goes on says it again.
_AT_THE_END = ("batch_norm", "finished")


def _finite(value: Any) -> Any:
    """Plain data without NaN and infinity (JSON has neither): null stands for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def line_of(event: Event) -> dict[str, Any] | None:
    """The object that an event leaves in the file, or None for an event that holds no numbers."""
    match event:
        case Started():
            return {
                "event": "started",
                "step": 0,
                "steps": event.steps,
                "steps_per_epoch": event.steps_per_epoch,
                "precision": event.precision,
                "device": event.device,
            }
        case StepDone():
            return {
                "event": "step",
                "step": event.step,
                "epoch": event.epoch,
                "images": event.images,
                "loss": event.loss,
                **event.parts,
                "accuracy": event.accuracy,
                "learning_rate": event.learning_rate,
                "size": list(event.size),
                "images_per_second": event.images_per_second,
                "seconds": event.seconds,
            }
        case DetailDone():
            return {"event": "detail", "step": event.step + 1, "sparsity": _sparsity(event)}
        case EpochDone():
            return {
                "event": "epoch",
                "step": event.step,
                "epoch": event.epoch,
                "averaged": event.averaged,
                "best": event.best,
                "size": list(event.size),
                "validation": None if event.evaluation is None else event.evaluation.summary(),
                "seconds": event.seconds,
            }
        case BatchNormChecked():
            return {"event": "batch_norm", "step": event.step, **event.found}
        case Finished():
            return {
                "event": "finished",
                "step": event.step,
                "reason": event.reason,
                "best_step": event.best_step,
                "seconds": event.seconds,
            }
    return None


def _sparsity(event: DetailDone) -> dict[str, float] | None:
    """By layer; None where the network cannot be watched, which must not end its training."""
    from deeper.monitor.activations import watched

    try:
        _, shares = watched(event)
    except Exception:
        return None
    return {tag.removeprefix("sparsity/"): share for tag, share in shares.items()}


def read(path: Path) -> list[dict[str, Any]]:
    """The objects of a metrics file in order; lines that are torn or damaged are left out."""
    return [plain for _, plain in _lines(path)]


def _lines(path: Path) -> list[tuple[bytes, dict[str, Any]]]:
    if not path.exists():
        return []
    sound = []
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            plain = json.loads(line)
        except ValueError:
            continue
        # A line without its newline was cut off, even where what is left happens to parse.
        if line.endswith(b"\n") and isinstance(plain, dict) and isinstance(plain.get("step"), int):
            sound.append((line, plain))
    return sound


class MetricsFile:
    """Appends a line per event, each handed to the operating system at once.

    `first_step`: the step that the run goes on from. Lines of later steps (written after the last checkpoint of a run
    that was killed), what the end of the run before wrote and torn lines are dropped first; 0 begins anew.

    Raises: StorageError, when the file cannot be written.
    """

    def __init__(self, path: str | Path, *, first_step: int = 0) -> None:
        self.path = Path(path)
        kept = [
            (line, plain)
            for line, plain in (_lines(self.path) if first_step > 0 else [])
            if plain["step"] <= first_step and plain.get("event") not in _AT_THE_END
        ]
        self._started = any(plain.get("event") == "started" for _, plain in kept)
        with files.storage(self.path):
            files.write_bytes(self.path, b"".join(line for line, _ in kept))
            # Unbuffered: a line is written by one call, so that a killed run leaves whole lines.
            self._file: FileIO | None = open(self.path, "ab", buffering=0)

    def handle(self, event: Event) -> None:
        """Write the event's line, if it has one. Raises: StorageError."""
        if self._file is None or (isinstance(event, Started) and self._started):
            return
        plain = line_of(event)
        if plain is None:
            return
        rest = (json.dumps(_finite(plain), ensure_ascii=False, allow_nan=False) + "\n").encode()
        with files.storage(self.path):
            while rest:  # an almost full disk takes a part
                rest = rest[self._file.write(rest) :]

    def close(self) -> None:
        """Close the file; closing again does nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None
