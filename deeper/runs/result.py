"""What a run amounts to, and what may listen to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from deeper.evaluation import Evaluation
from deeper.runs.folder import Run
from deeper.training.events import Event


@dataclass(frozen=True)
class Result:
    """What a finished (or interrupted) run amounts to. `validation`: the evaluation of the weights that were kept, on the
    validation pictures, with batch norm's statistics measured anew where they were; where the run was interrupted, of
    the last validation. `batch_norm`: `recalibration.Settled` as plain data; None where the network has no batch norm
    that trained."""

    run: Run
    reason: str
    step: int
    seconds: float
    validation: Evaluation | None
    batch_norm: dict[str, Any] | None = None


Handler: TypeAlias = Callable[[Event], None]


class Monitor(Protocol):
    """What consumes events for as long as a run lasts."""

    def handle(self, event: Event) -> None: ...

    def close(self) -> None: ...
