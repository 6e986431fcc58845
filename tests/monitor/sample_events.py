"""Events as a training of 20 steps in 2 epochs would send them, for the tests of this room."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeper.training.events import EpochDone, Event, Finished, Started, StepDone
from deeper.training.options import Options


@dataclass
class Judged:
    """What the file takes from an evaluation."""

    accuracy: float = 0.98

    def summary(self) -> dict[str, Any]:
        return {"accuracy": self.accuracy, "correct": 49, "total": 50, "ece": math.nan}


def started(first_step: int = 0, *, keep_best: bool = False) -> Started:
    return Started(
        model=None,  # type: ignore[arg-type]
        options=Options(keep_best=keep_best),
        steps=20,
        first_step=first_step,
        steps_per_epoch=10,
        precision="fp32",
        device="cpu",
        sample=None,  # type: ignore[arg-type]
    )


def step_done(step: int, clock: float = 1.0) -> StepDone:
    return StepDone(
        step=step,
        epoch=(step - 1) // 10,
        images=640,
        loss=1 / step + 0.25,
        parts={"cross_entropy": 1 / step, "auxiliary": 0.0, "regularisation": 0.25},
        accuracy=0.5,
        learning_rate=0.01,
        images_per_second=1000 * clock,
        seconds=step * clock,
        size=(4, 4),
    )


def epoch_done(step: int, clock: float = 1.0) -> EpochDone:
    return EpochDone(
        epoch=step // 10 - 1,
        step=step,
        seconds=step * clock,
        evaluation=Judged(),
        averaged=True,
        best=step == 10,
        pictures=lambda positions: np.zeros((len(positions), 4, 4, 1), np.uint8),
        size=(4, 4),
    )


def run(first: int, last: int, clock: float = 1.0) -> list[Event]:
    """The events of steps first+1 … last, reports every 5 steps, epochs every 10."""
    events: list[Event] = [started(first)]
    for step in range(first + 1, last + 1):
        if step % 5 == 0:
            events.append(step_done(step, clock))
        if step % 10 == 0:
            events.append(epoch_done(step, clock))
    return events


def finished(step: int, reason: str, clock: float = 1.0) -> Finished:
    return Finished(step=step, seconds=step * clock, reason=reason, best_step=10)  # type: ignore[arg-type]
