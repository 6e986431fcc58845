"""The training loop: a generator of events that writes no file and no screen.

    for event in train(state, feed, evaluate=…, stop=…): …

One step: batch → distort → normalise → model → loss → backward → optimizer → average. Every choice of a step is a
function of (seed, step), so the loop can start at any step that a state was saved at.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deeper import draws
from deeper.batches import Batch, Pictures, shuffled, steps_per_epoch
from deeper.distortions.apply import Distorter
from deeper.errors import DivergedError
from deeper.models import set_noise
from deeper.training.events import (
    CheckpointDue,
    DetailDone,
    DetailStarting,
    EpochDone,
    Event,
    Finished,
    Started,
    StepDone,
)
from deeper.training.loss import class_weights, classification_loss
from deeper.training.optimization import regularisation
from deeper.training.state import State

# A mean loss this many times the loss of guessing, ln(classes), is taken for divergence even while it is finite.
DIVERGED_FACTOR = 100.0


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What the loop consumes.

    `normalise`: float N × C × H × W in 0..1 → what the model takes. `sample`: one picture as the model takes it.
    """

    pictures: Pictures
    distorter: Distorter
    normalise: Callable[[Tensor], Tensor]
    sample: Tensor
    classes: int
    precision: str

    def batches(self, state: State, first: int, last: int) -> Iterator[Batch]:
        options = state.options
        return shuffled(self.pictures, options.batch, seed=options.seed, first_step=first, steps=last)


@contextlib.contextmanager
def arithmetic(device: str, precision: str) -> Iterator[None]:
    """Autocast to bf16 where `precision` says so."""
    with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=precision == "bf16"):
        yield


@contextlib.contextmanager
def seeded(device: str, seed: int) -> Iterator[None]:
    """Torch's own generators seeded inside the block (a user's `nn.Dropout` draws from them) and restored after."""
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


class Stepper:
    """One optimisation step after another on a state."""

    def __init__(self, state: State, feed: Feed) -> None:
        self.state, self.feed = state, feed
        options = state.options
        self.per_epoch = steps_per_epoch(len(feed.pictures), options.batch)
        self.weights: Tensor | None = None
        if options.class_weights == "balanced":
            self.weights = class_weights(feed.pictures.labels, feed.classes).to(state.device)

    def rate(self) -> float:
        options = self.state.options
        factor = options.schedule.factor(self.state.step, self.state.steps, self.per_epoch)
        return options.optimizer.rate * factor

    def forward_backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Distort, run and differentiate one batch; returns the distorted pictures (0..1) and the labels."""
        state, options = self.state, self.state.options
        state.model.train()
        epoch = state.step // self.per_epoch
        images = torch.from_numpy(batch.images).to(state.device, non_blocking=True)
        labels = torch.from_numpy(batch.labels).to(state.device, non_blocking=True)
        distorted = self.feed.distorter(images, batch.keys, batch.labels, epoch)
        noise = draws.derive(options.seed, state.step, "noise")
        set_noise(state.model, options.seed, state.step)
        with seeded(state.device, noise):
            with arithmetic(state.device, self.feed.precision):
                output = state.model(self.feed.normalise(distorted))
            main, auxiliary = classification_loss(
                output,
                labels,
                label_smoothing=options.label_smoothing,
                auxiliary_weight=options.auxiliary_weight,
                weights=self.weights,
            )
            loss = main + auxiliary
            state.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            correct = (output.logits.argmax(1) == labels).sum()
            count = torch.full_like(main, len(batch.labels))
            sums = torch.stack([count, loss * count, main * count, auxiliary * count, correct.to(main.dtype)])
            state.meter += sums.double()
        return distorted, labels

    def move(self) -> None:
        """Clip, step the optimizer at the schedule's rate, average."""
        state, options = self.state, self.state.options
        if options.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(state.model.parameters(), options.clip_norm)
        rate = self.rate()
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.step()
        state.step += 1
        if state.averaged:
            state.averaged.update(state.model, state.step)


def seconds_per_step(state: State, feed: Feed, steps: int = 24, ignored: int = 8) -> float:
    """Time `steps` real steps after `ignored` first ones, and leave the state as it was."""
    stepper = Stepper(state, feed)
    facts = state.facts()
    tensors = {name: tensor.clone() for name, tensor in state.tensors().items()}
    began = 0.0
    for number, batch in enumerate(feed.batches(state, 0, ignored + steps)):
        if number == ignored:
            began = time.perf_counter()
        stepper.forward_backward(batch)
        stepper.move()
    float(state.meter[0])  # waits for a GPU
    elapsed = time.perf_counter() - began
    state.optimizer.state.clear()
    state.load(facts, tensors)
    return elapsed / steps


def _every(epochs: float, per_epoch: int) -> int:
    return max(1, round(epochs * per_epoch))


def _check(state: State, classes: int, means: dict[str, float]) -> None:
    loss = means["loss"]
    limit = DIVERGED_FACTOR * math.log(max(2, classes))
    if math.isfinite(loss) and loss <= limit:
        return
    rate = state.options.optimizer.rate
    raise DivergedError(
        f"training diverged by step {state.step:,}: the mean loss is {loss:.4g} (guessing costs {math.log(max(2, classes)):.3g}); "
        f"lower the rate (it was {rate:g}; try --rate {rate / 5:.2g}) or clip gradients (--clip-norm 1); "
        "the last good checkpoint stays"
    )


def train(
    state: State,
    feed: Feed,
    *,
    evaluate: Callable[[nn.Module], Any] | None,
    pictures: Callable[[Sequence[int]], NDArray[np.uint8]],
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Run from `state.step` to `state.steps`, yielding events.

    `evaluate`: the model in evaluation mode → an Evaluation with `accuracy` and `score`, called on the averaged
    weights where there are any. `stop`: asked after every step; when true, a checkpoint is asked for and the loop
    ends.

    Raises: DivergedError, when the loss is not finite or absurdly high.
    """
    options = state.options
    stepper = Stepper(state, feed)
    per_epoch = stepper.per_epoch
    validate_every = _every(options.validate_every, per_epoch)
    checkpoint_every = _every(options.checkpoint_every, per_epoch)
    yield Started(
        model=state.model,
        options=options,
        steps=state.steps,
        first_step=state.step,
        steps_per_epoch=per_epoch,
        precision=feed.precision,
        device=state.device,
        sample=feed.sample,
    )
    began = reported = time.perf_counter()
    reported_images = float(state.meter[0])
    reason: Literal["done", "early", "interrupted"] = "done"
    early = options.early_stopping is not None and state.validations_without_better >= options.early_stopping

    for batch in feed.batches(state, state.steps if early else state.step, state.steps):
        detail = state.step % options.detail_every == 0
        if detail:
            yield DetailStarting(step=state.step)
        distorted, labels = stepper.forward_backward(batch)
        if detail:
            yield DetailDone(step=state.step, model=state.model, images=distorted, labels=labels, ids=batch.ids)
        rate = stepper.rate()
        stepper.move()

        last = state.step == state.steps
        validating = last or state.step % validate_every == 0
        saving = last or state.step % checkpoint_every == 0
        reporting = last or state.step % options.report_every == 0
        if reporting or validating or saving or state.device == "cpu":
            means = state.read_meter()
            _check(state, feed.classes, means)
        if reporting:
            now = time.perf_counter()
            extra = regularisation(state.model, options.optimizer)
            yield StepDone(
                step=state.step,
                epoch=(state.step - 1) // per_epoch,
                images=int(means["images"]),
                loss=means["loss"] + extra,
                parts={
                    "cross_entropy": means["cross_entropy"],
                    "auxiliary": means["auxiliary"],
                    "regularisation": extra,
                },
                accuracy=means["correct"],
                learning_rate=rate,
                images_per_second=(means["images"] - reported_images) / max(now - reported, 1e-9),
                seconds=now - began,
            )
            state.meter.zero_()
            reported, reported_images = time.perf_counter(), 0.0
        if validating:
            validated = _validate(state, evaluate, pictures, began, per_epoch)
            yield validated
            saving = saving or validated.best
            early = options.early_stopping is not None and state.validations_without_better >= options.early_stopping
            reported = time.perf_counter()
            reported_images = float(state.meter[0])
        stopping = not last and (early or stop())
        if saving or stopping:
            yield CheckpointDue(step=state.step, state=state, best=state.best_step == state.step)
            reported, reported_images = time.perf_counter(), float(state.meter[0])
        if stopping:
            reason = "early" if early else "interrupted"
            break
    yield Finished(step=state.step, seconds=time.perf_counter() - began, reason=reason, best_step=state.best_step)


def _validate(
    state: State,
    evaluate: Callable[[nn.Module], Any] | None,
    pictures: Callable[[Sequence[int]], NDArray[np.uint8]],
    began: float,
    per_epoch: int,
) -> EpochDone:
    evaluation = None
    better = False
    if evaluate is not None:
        with state.averaged.applied(state.model) if state.averaged else contextlib.nullcontext():
            evaluation = evaluate(state.model)
        score = float(evaluation.accuracy)
        better = state.best_score is None or score > state.best_score
        if better:
            state.best_score, state.best_step = score, state.step
            state.validations_without_better = 0
        else:
            state.validations_without_better += 1
    return EpochDone(
        epoch=(state.step - 1) // per_epoch,
        step=state.step,
        seconds=time.perf_counter() - began,
        evaluation=evaluation,
        averaged=state.averaged is not None,
        best=better,
        pictures=pictures,
    )
