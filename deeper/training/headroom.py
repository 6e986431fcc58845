"""What a training step needs of time and memory, and the batch that would fit where it was too much."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from deeper.errors import MemoryShortageError, UsageError, printable
from deeper.inference.shortage import in_words, is_shortage, kept_bytes, room
from deeper.training.arithmetic import arithmetic, seeded
from deeper.training.course import Course, Sized
from deeper.training.state import State
from deeper.training.stepping import Feed, Stepper, seconds_per_step, unchanged

Made = TypeVar("Made")

# A step's peak over what the forward pass keeps: gradients on their way back and the workspaces of convolutions. Measured
# on Inception v3 at 151 pixels: 1.3 to 1.6.
OVER_KEPT, LEAST_OVER_KEPT = 1.6, 1.3
# Of the memory that is left, how much a proposal may count on.
USABLE = 0.9
# Batches whose forward pass is measured: batch norm needs more than one picture.
PROBED = (2, 4)
# The thread that prepared pictures for the failed step may hold some for a moment longer.
_TRIES, _PAUSE = 3, 0.5


def timed_step(state: State, feed: Feed, stage: Sized, *how: Any, **more: Any) -> float:
    """`seconds_per_step`, with its failures in the user's words. Raises: as `tried`."""
    return tried(state, feed, stage, lambda: seconds_per_step(state, feed, stage, *how, **more))


def tried(state: State, feed: Feed, stage: Sized, steps: Callable[[], Made]) -> Made:
    """What `steps` gives: the first steps of a training, which may be too much.

    Raises: MemoryShortageError, where a step does not fit into memory; UsageError, where the network cannot be trained
    on pictures of this size or so few of them.
    """
    if surely_too_much(state, feed, stage):
        raise shortage(state, feed, stage, begun=False)
    try:
        return steps()
    except (MemoryError, RuntimeError, ValueError) as error:
        problem = error
    # Outside the handler: what the failed step held is freed.
    if is_shortage(problem):
        problem.__traceback__ = None
        raise shortage(state, feed, stage, begun=False)
    if "more than 1 value per channel" in str(problem):
        raise UsageError(
            f"a batch of {stage.batch} at {stage.describe()} pixels leaves batch norm a single value per channel; "
            "take larger batches (--batch) or larger pictures"
        )
    height, width = feed.distorter.size
    if stage.size != (height, width) and isinstance(problem, RuntimeError):
        raise UsageError(
            f"the network was built for {height}×{width} pixels and fails at {stage.describe()}: "
            f"{printable(str(problem).splitlines()[0], 150)}; let it end in a pooling over all positions, or leave the "
            "sizes out (--sizes off)"
        )
    raise problem


def surely_too_much(state: State, feed: Feed, stage: Sized) -> bool:
    """Whether a step certainly needs more memory than is left. Asked before the first one: Linux grants more than there
    is, and ends a process that uses it without a word. A GPU says when it has no more."""
    stage = _occurring(feed, stage)
    if state.device != "cpu" or stage.batch <= PROBED[-1]:
        return False
    try:
        always, each = needed(state, feed, stage)
    except (MemoryError, RuntimeError, ValueError):
        return False  # the step itself will say what is wrong
    return always + each * stage.batch * LEAST_OVER_KEPT / OVER_KEPT > room(state.device)


def _occurring(feed: Feed, stage: Sized) -> Sized:
    """With the batch that a step really has: no more pictures than there are."""
    return replace(stage, batch=min(stage.batch, len(feed.pictures)))


def needed(state: State, feed: Feed, stage: Sized) -> tuple[float, float]:
    """Bytes that a step of a stage takes whatever its batch, and for each picture: from two small forward passes."""
    kept = []
    for count in PROBED:
        one = replace(stage, batch=min(count, len(feed.pictures)))
        small = replace(feed, course=Course([one], [1], pictures=len(feed.pictures)))
        stepper = Stepper(state, small)
        batch = next(iter(small.batches(state, 0, 1)))
        with unchanged(state), seeded(state.device, 0), arithmetic(state.device, feed.precision):
            state.step = 0
            state.freezing.begin(head_only=False)  # what is frozen for good keeps nothing, and gets no gradients
            images = stepper.inputs(batch)[0]
            kept.append(kept_bytes(lambda shown=images: state.model(feed.normalise(shown))))  # type: ignore[misc]
    each = max(1.0, (kept[1] - kept[0]) / (PROBED[1] - PROBED[0]))
    return max(0.0, kept[0] - PROBED[0] * each) + _unmade(state), each * OVER_KEPT


def _unmade(state: State) -> int:
    """Bytes of gradients and of the optimizer's two moments that the first step makes."""
    weights = [weight for weight in state.model.parameters() if weight.requires_grad]
    gradients = sum(weight.nbytes for weight in weights if weight.grad is None)
    moments = 0 if state.optimizer.state else 2 * sum(weight.nbytes for weight in weights)
    return gradients + moments


def fitting_batch(state: State, feed: Feed, stage: Sized) -> tuple[int, float]:
    """The largest batch of a stage that fits into the memory that is left, as measured and, where the process still can,
    tried; 0 for none. And the bytes that a step of the batch that was asked for needs."""
    stage = _occurring(feed, stage)
    gc.collect()  # the step that failed may still be held by the frames of its error
    always, each = needed(state, feed, stage)
    batch = min(stage.batch - 1, int((room(state.device) * USABLE - always) / each))
    while batch >= PROBED[0]:
        try:
            seconds_per_step(state, feed, replace(stage, batch=batch), 1, 1)
            return batch, always + each * stage.batch
        except (MemoryError, RuntimeError) as error:
            batch //= 2
            # After it once ran out of memory oneDNN may refuse any primitive in this process, whatever its size. There
            # is nothing more to try then, and half of what was measured to fit is named untried.
            if not is_shortage(error):
                return (batch if batch >= PROBED[0] else 0), always + each * stage.batch
        gc.collect()
    return 0, always + each * stage.batch


def shortage(state: State, feed: Feed, stage: Sized, *, begun: bool) -> MemoryShortageError:
    """The line for a step that did not fit. `begun`: whether the run has taken steps before and cannot change its
    batch."""
    stage = _occurring(feed, stage)
    asked = f"{stage.batch} pictures of {stage.describe()} pixels"
    batch, bytes_needed = 0, 0.0
    for _ in range(_TRIES):
        try:
            batch, bytes_needed = fitting_batch(state, feed, stage)
            break
        except (MemoryError, RuntimeError):
            time.sleep(_PAUSE)
    left = in_words(room(state.device))
    needs = f"needs about {in_words(bytes_needed)} and {left} are free" if bytes_needed else f"{left} are free"
    later = " (the last checkpoint stays: with more memory free, --resume goes on)" if begun else ""
    if batch == 0:
        return MemoryShortageError(
            f"out of memory: a step on {asked} {needs}, and not even {PROBED[0]} pictures fit; "
            f"free memory, or choose smaller pictures (--size){later}"
        )
    return MemoryShortageError(
        f"out of memory: a step on {asked} {needs}; batches of {batch} would fit (--batch {batch}){later}"
    )
