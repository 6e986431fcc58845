"""What the training loop tells the world: it writes no file and no screen itself.

The loop is a generator of these events. Whoever consumes them (a run folder, a test, a notebook) runs *between*
the loop's statements: when `DetailDone` arrives the gradients are in place, when `EpochDone` arrives the weights
that were evaluated are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from deeper.training.course import Course
    from deeper.training.options import Options
    from deeper.training.state import State


@dataclass(frozen=True, kw_only=True)
class Started:
    """Once, before the first step. `sample` is one normalised picture (1 × C × H × W), for drawing the graph. `course`:
    which step is at which picture size, where that changes."""

    model: nn.Module
    options: Options
    steps: int
    first_step: int
    steps_per_epoch: int
    precision: str
    device: str
    sample: Tensor
    course: Course | None = None


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """Means over the steps since the last report. `images` counts them; `loss` is the total and `parts` its summands
    (cross_entropy, auxiliary, regularisation). `images_per_second` and `seconds` are wall-clock. `size`: (height,
    width) of the last step's pictures in pixels."""

    step: int
    epoch: int
    images: int
    loss: float
    parts: Mapping[str, float]
    accuracy: float
    learning_rate: float
    images_per_second: float
    seconds: float
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class DetailDone:
    """After the backward pass of a step whose details are wanted, and before the optimizer moves: gradients are there.

    `images`: float32 N × C × H × W in 0..1, as distorted, before `normalise`. `labels`: int64 N. `again` runs the step's
    forward pass once more, on the same pictures with the same draws, for hooks to watch, and leaves no trace. Hooks
    belong there and not in the training: a watched Inception computes without its kernels, and rounds differently.
    """

    step: int
    model: nn.Module
    images: Tensor
    labels: Tensor
    ids: Sequence[str]
    again: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """After an epoch and its validation (`evaluation` is None where there is no validation split).

    `pictures` fetches uint8 N × H × W × C pictures by their position in the evaluation. `averaged` says whether the
    averaged weights were evaluated; `best` whether this is the best validation result so far. `size`: (height, width)
    in pixels that was evaluated at. Only results at the last size of a training are compared for the best.
    """

    epoch: int
    step: int
    seconds: float
    evaluation: Any
    averaged: bool
    best: bool
    pictures: Callable[[Sequence[int]], NDArray[np.uint8]]
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class CheckpointDue:
    """The state is complete and should be saved now; `best` says whether its weights validated best so far."""

    step: int
    state: State
    best: bool


@dataclass(frozen=True, kw_only=True)
class BatchNormChecked:
    """Before `Finished`, of networks with batch norm: whether evaluation answers as training did, and what was done
    about it. `found`: plain data, `deeper.runs.recalibration.Settled`. From a run, not from the loop."""

    step: int
    found: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One line that the user should see: a choice made for them, or a warning."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The last event. `step` is the number of steps done; `best_step` the one whose weights validated best."""

    step: int
    seconds: float
    reason: Literal["done", "early", "interrupted"]
    best_step: int | None


Event: TypeAlias = Started | StepDone | DetailDone | EpochDone | CheckpointDue | BatchNormChecked | Notice | Finished
