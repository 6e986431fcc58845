"""The training loop: a generator of events that writes no file and no screen.

    for event in train(state, feed, evaluate=…, stop=…): …

Every choice of a step is a function of (seed, step), so the loop can start at any step that a state was saved at.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deeper.errors import DivergedError
from deeper.training.course import Course
from deeper.training.events import (
    CheckpointDue,
    DetailDone,
    EpochDone,
    Event,
    Finished,
    Started,
    StepDone,
)
from deeper.training.optimization import regularisation
from deeper.training.state import State
from deeper.training.stepping import Feed, Stepper

# A mean loss this many times the loss of guessing, ln(classes), is taken for divergence even while it is finite.
DIVERGED_FACTOR = 100.0
# Seconds of steps that a killed training may lose, however long an epoch takes; fewer right before a validation, which
# may itself take minutes and would be lost with them, or before the training pictures are judged, which may too.
LOST_AT_MOST, LOST_BEFORE_VALIDATING = 600.0, 60.0
# Of a training's time, what checkpoints by the epoch may take. An Inception's is 400 MB, and epochs of few pictures are
# seconds: after one that took longer than `QUICK` seconds, the next waits until it is so small a share.
CHECKPOINT_SHARE, QUICK = 0.02, 0.5

Judge: TypeAlias = Callable[[nn.Module, tuple[int, int]], Any]
"""A model in evaluation mode and the (height, width) in pixels to evaluate it at → its Evaluation."""


def _check(state: State, classes: int, means: dict[str, float], kept: bool) -> None:
    loss = means["loss"]
    limit = DIVERGED_FACTOR * math.log(max(2, classes))
    if math.isfinite(loss) and loss <= limit:
        return
    raise _diverged(state, f"the mean loss is {loss:.4g} (guessing costs {math.log(max(2, classes)):.3g})", kept)


def _check_weights(state: State, kept: bool) -> None:
    """A step can end in infinite weights while its own loss was finite; they must not become the newest checkpoint."""
    if not state.is_finite(state.tensors()):
        raise _diverged(state, "weights are no longer finite", kept)


def _diverged(state: State, what: str, kept: bool) -> DivergedError:
    """`kept`: whether there is a checkpoint."""
    rate = state.options.optimizer.rate
    return DivergedError(
        f"training diverged by step {state.step:,}: {what}; lower the rate (it was {rate:g}; try --rate {rate / 5:.2g}) or "
        f"clip gradients (--clip-norm 1); {'the last good checkpoint stays' if kept else 'no checkpoint was written yet'}"
    )


def train(
    state: State,
    feed: Feed,
    *,
    evaluate: Judge | None,
    pictures: Callable[[Sequence[int]], NDArray[np.uint8]],
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Run from `state.step` to `state.steps`, yielding events.

    `evaluate`: called on the averaged weights where there are any, at the picture size that is trained at. Only at the
    last one are results compared for the best and for early stopping. `stop`: asked after every step, and
    while pictures are judged; when true, a checkpoint is asked for and the loop ends.

    Raises: DivergedError, when the loss is not finite or absurdly high, or weights are not finite that should be judged
    or saved.
    """
    options = state.options
    stepper = Stepper(state, feed)
    course = stepper.course
    yield Started(
        model=state.model,
        options=options,
        steps=state.steps,
        first_step=state.step,
        steps_per_epoch=stepper.per_epoch,
        precision=feed.precision,
        device=state.device,
        sample=feed.sample,
        course=course,
    )
    began = reported = saved = time.perf_counter()
    saving_took = 0.0
    kept = state.step > 0
    reported_images = float(state.meter[0])
    early = state.stops_early
    reason: Literal["done", "early", "interrupted"] = "early" if early and state.step < state.steps else "done"

    for batch in feed.batches(state, state.steps if early else state.step, state.steps, stop):
        distorted, labels = stepper.forward_backward(batch)
        if state.step % options.detail_every == 0:
            yield DetailDone(
                step=state.step,
                model=state.model,
                images=distorted,
                labels=labels,
                ids=batch.ids,
                again=partial(stepper.forward_again, distorted),
            )
        rate = stepper.rate()
        stepper.move()

        last = state.step == state.steps
        validating = last or course.due(state.step, options.validate_every)
        soon = state.step + 1 == state.steps or course.due(state.step + 1, options.validate_every)
        choosing = not last and state.costs is None and course.leg(state.step).hardest is not None
        most = LOST_BEFORE_VALIDATING if choosing or (soon and evaluate is not None) else LOST_AT_MOST
        saving = last or time.perf_counter() - saved > most
        due = saving or course.due(state.step, options.checkpoint_every)
        reporting = last or validating or state.step % options.report_every == 0
        if reporting or validating or due or state.device == "cpu":
            means = state.read_meter()
            _check(state, feed.classes, means, kept)
        if validating or due:
            _check_weights(state, kept)
        if reporting:
            now = time.perf_counter()
            extra = regularisation(state.model, options.optimizer)
            yield StepDone(
                step=state.step,
                epoch=course.passed(state.step - 1),
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
                size=course.leg(state.step - 1).size,
            )
            state.meter.zero_()
            reported, reported_images = time.perf_counter(), 0.0
        if validating:
            validated = _validate(state, evaluate, pictures, began, course)
            yield validated
            saving = saving or validated.best
            early = state.stops_early
            reported = time.perf_counter()
            reported_images = float(state.meter[0])
        waiting = saving_took > QUICK and time.perf_counter() - saved < saving_took / CHECKPOINT_SHARE
        saving = saving or (due and not waiting)
        stopping = not last and (early or stop())
        if saving or stopping:
            _check_weights(state, kept)
            asked = time.perf_counter()
            yield CheckpointDue(step=state.step, state=state, best=state.best_step == state.step)
            kept = True
            reported = saved = time.perf_counter()
            saving_took = saved - asked
            reported_images = float(state.meter[0])
        if stopping:
            reason = "early" if early else "interrupted"
            break
    if reason == "done" and state.step < state.steps:  # stopped while pictures were judged
        reason = "interrupted"
        yield CheckpointDue(step=state.step, state=state, best=state.best_step == state.step)
    yield Finished(step=state.step, seconds=time.perf_counter() - began, reason=reason, best_step=state.best_step)


def _validate(
    state: State,
    evaluate: Judge | None,
    pictures: Callable[[Sequence[int]], NDArray[np.uint8]],
    began: float,
    course: Course,
) -> EpochDone:
    evaluation = None
    better = False
    size = course.leg(state.step - 1).size
    if evaluate is not None:
        with state.averaged.applied(state.model) if state.averaged else contextlib.nullcontext():
            evaluation = evaluate(state.model, size)
        score = float(evaluation.accuracy)
        compared = size == course.legs[-1].size
        better = compared and (state.best_score is None or score > state.best_score)
        if better:
            state.best_score, state.best_step = score, state.step
            state.validations_without_better = 0
        elif compared:
            state.validations_without_better += 1
    return EpochDone(
        epoch=course.passed(state.step - 1),
        step=state.step,
        seconds=time.perf_counter() - began,
        evaluation=evaluation,
        averaged=state.averaged is not None,
        best=better,
        pictures=pictures,
        size=size,
    )
