"""What a run will take of time, memory and disk, said before it starts; and what of it came otherwise."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Sequence
from typing import Any

from deeper.batches import steps_per_epoch
from deeper.monitor.position import clock, in_words
from deeper.runs.folder import Config
from deeper.training.course import Course, Sized
from deeper.training.headroom import timed_step
from deeper.training.pace import Pace
from deeper.training.state import State
from deeper.training.stepping import Feed

# Of an Inception: fewer steps than this hardly move it from its random weights.
FEW_STEPS = 200
# A run that takes more than so many times the minutes given says so.
LATE = 1.25


def estimate(
    state: State, stages: Sequence[Sized], counts: Sequence[int], *, pictures: int, seconds: float | None
) -> str:
    """One line. `counts`: steps of each stage; `seconds`: of the whole training, where it is known.

    To be called after steps were timed: they have taken the memory that all will.
    """
    parameters = sum(weight.numel() for weight in state.model.parameters())
    held = sum(tensor.numel() * tensor.element_size() for tensor in state.tensors().values())
    # Weights, averages and two moments are in a checkpoint; the last few and the best are kept, and the bundle, and of each
    # one more while it is replaced. The moments of the steps that were timed are forgotten again.
    if not state.optimizer.state:
        held += 2 * parameters * 4
    disk = held * (state.options.keep + 2) + 2 * parameters * 4
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    epochs = sum(count / steps_per_epoch(pictures, stage.batch) for count, stage in zip(counts, stages, strict=True))
    about = f"about {clock(seconds)} of training, " if seconds else ""
    frozen = state.freezing.frozen_steps(Course(stages, counts, pictures=pictures))
    only = ", all of them of the head alone" if frozen >= sum(counts) else ""
    return (
        f"{parameters:,} parameters, {sum(counts):,} steps ({epochs:.3g} epochs){only}: {about}"
        f"{memory / 1e9:.1f} GB of memory, up to {disk / 1e6:,.0f} MB on disk"
    )


def few_steps(minutes: float | None, steps: int) -> str | None:
    """Of an Inception for which a user gave minutes: what to do where they hardly move it from its random weights."""
    if minutes is None or steps >= FEW_STEPS:
        return None
    return (
        f"only {steps:,} steps fit into {minutes:g} minutes: so few teach a network of this size little; a smaller one "
        "learns more from them (--model nielsen --size 64, say)"
    )


def late(config: Config, seconds: float) -> str | None:
    """Why a finished training took longer than the minutes given. The number of steps is what a resume goes by, so it
    stays as it was fixed when first ones were timed, of this run or of the first of a series."""
    minutes = config.options.minutes
    if minutes is None or seconds <= minutes * 60 * LATE:
        return None
    if config.steps <= max(1, len(config.stage_steps)):
        return (
            f"training took {clock(seconds)} where --minutes {minutes:g} was asked: too few for the first steps alone"
        )
    return (
        f"training took {clock(seconds)} where --minutes {minutes:g} was asked: the machine has become busier since the "
        "number of steps was fixed, and once fixed it stays"
    )


def timing(stages: Sequence[Sized]) -> str:
    """Said before the first steps are timed, of an Inception: that is silent, and on a slow machine takes a minute."""
    sizes = ", ".join(dict.fromkeys(in_words(stage.size) for stage in stages))
    return f"timing the first steps at {sizes}: on a slow machine this takes a while"


def measured_once(measure: Callable[[Sized], float], stages: Sequence[Sized]) -> list[float]:
    """What `measure` says of each stage; asked once where stages go up and down between the same sizes."""
    found: dict[tuple[tuple[int, int], int], float] = {}
    for stage in stages:
        kind = (stage.size, stage.batch)
        if kind not in found:
            found[kind] = measure(stage)
    return [found[stage.size, stage.batch] for stage in stages]


def seconds_of_choosing(stages: Sequence[Sized], each: Sequence[float], pictures: int) -> float:
    """What judging the training pictures takes before the first stage of the hardest. `each`: seconds of a step."""
    for before, seconds, stage in zip(stages, each, stages[1:], strict=False):
        if stage.hardest is not None:
            return pictures * seconds / before.batch / 3  # forward, not backward, which is twice that
    return 0.0


def measured_pace(state: State, feed: Feed, stages: Sequence[Sized], *how: Any, **more: Any) -> Pace:
    """From the first steps of each stage; `how`, `more`: as `timed_step` takes them. Leaves the state as it was.

    Steps in which only the head trains are timed at the first stage alone: at others they take the same share of a whole
    step.
    """
    each = measured_once(lambda one: timed_step(state, feed, one, *how, **more), stages)
    if not state.freezing.thaws:
        return Pace(each=each)
    head = timed_step(state, feed, stages[0], *how, **more, head_only=True)
    return Pace(each=each, head_only=min(1.0, head / each[0]), frozen=state.freezing.frozen_steps)


def seconds_of_training(stages: Sequence[Sized], counts: Sequence[int], pace: Pace, pictures: int) -> float:
    """Of all steps and of choosing; validations not counted. `counts`: steps of each stage."""
    course = Course(stages, counts, pictures=pictures)
    return pace.seconds(course) + seconds_of_choosing(stages, pace.each, pictures)


def cramped(minutes: float, share: float, steps: int) -> str:
    """Where less than half of the minutes given is left for steps."""
    return (
        f"only {share:.0%} of the {minutes:g} minutes are left for the {steps:,} steps; starting, validation and checks "
        "take the rest: give more --minutes, or a smaller --size"
    )


def going_on(state: State) -> str:
    """What a resume from this state has before it."""
    if state.stops_early or state.step >= state.steps:
        early = " (stopped early)" if state.step < state.steps else ""
        return f"finished already, at step {state.step:,}{early}: nothing is left to train"
    return f"going on from step {state.step:,} of {state.steps:,}"
