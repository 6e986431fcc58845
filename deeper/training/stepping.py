"""One optimisation step after another on a state, from the pictures that feed it.

A step: batch → distort → normalise → model → loss → backward → optimizer → average. Every choice of a step is a function
of (seed, step), so that any step can be the next one.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deeper import draws
from deeper.batches import Batch, Pictures, shuffled
from deeper.distortions.apply import Distorter, distort
from deeper.models import set_noise
from deeper.models.untouched import untouched
from deeper.training.arithmetic import arithmetic, differentiating, seeded
from deeper.training.course import Course, Leg, Sized
from deeper.training.difficulty import hardest, judged
from deeper.training.loss import class_weights, classification_loss
from deeper.training.resident import Resident
from deeper.training.state import State


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What the loop consumes.

    `normalise`: float N × C × H × W in 0..1 → what the model takes. `sample`: one picture as the model takes it.
    `course`: which step is at which picture size; None: all at the distorter's, in the options' batches.
    """

    pictures: Pictures
    distorter: Distorter
    normalise: Callable[[Tensor], Tensor]
    sample: Tensor
    classes: int
    precision: str
    course: Course | None = None
    resident: Resident | None = None
    """The same pictures on the device, where they lie there."""
    notice: Callable[[str], None] = lambda _: None
    """Told what takes a while."""

    def course_of(self, state: State) -> Course:
        """The course, also where none was given."""
        if self.course is not None:
            return self.course
        height, width = self.distorter.size
        whole = Sized(height=height, width=width, batch=state.options.batch, share=1.0)
        return Course([whole], [state.steps], pictures=len(self.pictures))

    def images(self, positions: NDArray[np.int64], device: str) -> Tensor:
        """Training pictures by position, as they are kept, on the device. uint8 N × H × W × C."""
        if self.resident is not None:
            return self.resident.tensor(positions)
        return torch.from_numpy(self.pictures.take(positions)).to(device, non_blocking=True)

    def batches(self, state: State, first: int, last: int, stop: Callable[[], bool] = lambda: False) -> Iterator[Batch]:
        """The batches of steps `first` … `last` − 1. Where a leg shows the hardest pictures, all are judged before the first
        such leg by the weights that the state holds then. `stop`: asked meanwhile; where it says so, no batch follows."""
        course = self.course_of(state)
        while first < last:
            leg = course.leg(first)
            end = last if leg is course.legs[-1] else min(last, leg.last)
            among = None
            if leg.hardest is not None:
                if state.costs is None:
                    state.costs = self._costs(state, leg, leg.hardest, stop)
                if state.costs is None:
                    return
                among = hardest(state.costs, leg.hardest)
            yield from shuffled(
                self.resident or self.pictures,
                leg.batch,
                seed=state.options.seed,
                first_step=first - leg.origin,
                steps=end - leg.origin,
                first_epoch=leg.epoch,
                among=among,
            )
            first = end

    def _costs(self, state: State, leg: Leg, count: int, stop: Callable[[], bool]) -> Tensor | None:
        """What the training pictures cost before `leg`, which shows the hardest `count`; None where it was stopped."""
        course = self.course_of(state)
        before = course.leg(leg.first - 1)
        # Not more than were shown: judging takes a third of the time that showing took.
        most = max(count, min(len(self.pictures), round(course.shown(leg.first) * len(self.pictures))))
        self.notice(
            f"judging {most:,} training pictures at {before.height}×{before.width}: from here on the hardest "
            f"{count:,} are shown"
        )

        def shown(positions: NDArray[np.int64]) -> Tensor:
            images = self.images(positions, state.device)
            return self.normalise(distort(images, (), before.size, self.distorter.fill))

        with (
            state.averaged.applied(state.model) if state.averaged else contextlib.nullcontext(),
            arithmetic(state.device, self.precision),
        ):
            return judged(
                state.model,
                self.pictures,
                shown,
                seed=state.options.seed,
                most=most,
                batch=before.batch,
                stop=stop,
                say=self.notice,
            )


def compiled(model: nn.Module, device: str) -> Callable[..., Any]:
    """`model` by torch.compile, anew for each picture size; on a GPU replayed as CUDA graphs, which spare the processor
    its several hundred launches a step. Not yet measured on a GPU."""
    how: dict[str, Any] = {"mode": "reduce-overhead"} if device.startswith("cuda") else {}
    run: Callable[..., Any] = torch.compile(model, dynamic=False, **how)
    return run


class Stepper:
    """One optimisation step after another on a state."""

    def __init__(self, state: State, feed: Feed) -> None:
        self.state, self.feed = state, feed
        options = state.options
        self.course = feed.course_of(state)
        self.per_epoch = self.course.per_epoch
        self.head_only_steps = state.freezing.frozen_steps(self.course)
        # Evaluations, exports and checkpoints see the plain model.
        self.run = compiled(state.model, state.device) if options.compile else state.model
        self.weights: Tensor | None = None
        if options.class_weights == "balanced":
            self.weights = class_weights(feed.pictures.labels, feed.classes).to(state.device)

    def rate(self) -> float:
        state, options = self.state, self.state.options
        position, epochs = self.course.position(state.step), self.course.shown(state.step)
        return options.optimizer.rate * options.schedule.factor(position, state.steps, epochs)

    def inputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The batch's pictures, distorted, at the size of this step (0..1), and its labels."""
        step, device = self.state.step, self.state.device
        lying = self.feed.resident
        images = (
            torch.from_numpy(batch.images).to(device, non_blocking=True)
            if lying is None
            else lying.tensor(batch.positions)
        )
        labels = torch.from_numpy(batch.labels).to(device, non_blocking=True)
        epoch, size = self.course.epoch(step), self.course.leg(step).size
        return self.feed.distorter(images, batch.keys, batch.labels, epoch, size), labels

    def forward_backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Distort, run and differentiate one batch; returns the distorted pictures (0..1) and the labels."""
        state, options = self.state, self.state.options
        state.freezing.begin(head_only=state.step < self.head_only_steps)
        distorted, labels = self.inputs(batch)
        # Before the forward pass: memory, and where a CUDA graph is replayed it writes over what the last one gave.
        state.optimizer.zero_grad(set_to_none=True)
        if options.compile:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        noise = draws.derive(options.seed, state.step, "noise")
        set_noise(state.model, options.seed, state.step)
        with seeded(state.device, noise):
            with arithmetic(state.device, self.feed.precision):
                output = self.run(self.feed.normalise(distorted))
            main, auxiliary = classification_loss(
                output,
                labels,
                label_smoothing=options.label_smoothing,
                auxiliary_weight=options.auxiliary_weight,
                weights=self.weights,
            )
            loss = main + auxiliary
            with differentiating(state.device, self.feed.precision):
                loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            correct = (output.logits.argmax(1) == labels).sum()
            count = torch.full_like(main, len(batch.labels))
            sums = torch.stack([count, loss * count, main * count, auxiliary * count, correct.to(main.dtype)])
            state.meter += sums.double()
        return distorted, labels

    @torch.no_grad()
    def forward_again(self, distorted: Tensor) -> None:
        """The forward pass of this step once more, for hooks to watch. All that it changes is put back, torch's generators
        too."""
        state = self.state
        noise = draws.derive(state.options.seed, state.step, "noise")
        with untouched(state.model), seeded(state.device, noise), arithmetic(state.device, self.feed.precision):
            set_noise(state.model, state.options.seed, state.step)
            state.model(self.feed.normalise(distorted))

    def move(self) -> None:
        """Clip, step the optimizer at the schedule's rate, average."""
        state, options = self.state, self.state.options
        if options.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(state.model.parameters(), options.clip_norm)
        rate = self.rate()
        for group in state.optimizer.param_groups:
            group["lr"] = rate * group.get("scale", 1.0)
        state.optimizer.step()
        state.step += 1
        if state.averaged:
            judged = state.step == state.steps or self.course.due(state.step, options.validate_every)
            state.averaged.update(state.model, state.step, wanted=judged)


@contextlib.contextmanager
def unchanged(state: State) -> Iterator[None]:
    """What is done to the state inside the block is undone after it."""
    facts = state.facts()
    tensors = {name: tensor.clone() for name, tensor in state.tensors().items()}
    try:
        yield
    finally:
        state.optimizer.state.clear()
        state.load(facts, tensors)


def seconds_per_step(
    state: State,
    feed: Feed,
    stage: Sized,
    steps: int = 24,
    ignored: int = 8,
    limit: float = math.inf,
    head_only: bool = False,
) -> float:
    """Time `steps` real steps of a stage after `ignored` first ones, and leave the state as it was.

    `head_only`: steps in which only the head trains. `limit`: seconds after which no further step is begun, once one was ignored and two were timed; after a third of them
    no further one is ignored.
    """
    feed = replace(feed, course=Course([stage], [ignored + steps], pictures=len(feed.pictures)))
    stepper = Stepper(state, feed)
    stepper.head_only_steps = ignored + steps if head_only else 0
    with unchanged(state):
        state.step = 0
        started = began = time.perf_counter()
        done = 0
        for batch in feed.batches(state, 0, ignored + steps):
            stepper.forward_backward(batch)
            stepper.move()
            done += 1
            spent = time.perf_counter() - started
            if began == started and (done == ignored or spent > limit / 3):
                float(state.meter[0])  # waits for a GPU
                ignored, began = done, time.perf_counter()
            elif spent > limit and done >= ignored + 2:
                break
        float(state.meter[0])
        elapsed = time.perf_counter() - began
    return elapsed / max(1, done - ignored)
