"""What a run will take of time, memory and disk, said before it starts."""

from __future__ import annotations

import resource
import sys
from collections.abc import Sequence

from deeper.batches import steps_per_epoch
from deeper.monitor.position import clock
from deeper.training.course import Sized
from deeper.training.state import State


def estimate(
    state: State, stages: Sequence[Sized], counts: Sequence[int], *, pictures: int, seconds: float | None
) -> str:
    """One line. `counts`: steps of each stage; `seconds`: of the whole training, where it is known.

    To be called after steps were timed: they have taken the memory that all will.
    """
    parameters = sum(weight.numel() for weight in state.model.parameters())
    held = sum(tensor.numel() * tensor.element_size() for tensor in state.tensors().values())
    # Weights, averages and two moments are in a checkpoint; the last few and the best are kept, and the bundle. The
    # moments of the steps that were timed are forgotten again.
    if not state.optimizer.state:
        held += 2 * parameters * 4
    disk = held * (state.options.keep + 1) + parameters * 4
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    epochs = sum(count / steps_per_epoch(pictures, stage.batch) for count, stage in zip(counts, stages, strict=True))
    about = f"about {clock(seconds)} of training, " if seconds else ""
    return (
        f"{parameters:,} parameters, {sum(counts):,} steps ({epochs:.3g} epochs): {about}"
        f"{memory / 1e9:.1f} GB of memory, up to {disk / 1e6:,.0f} MB on disk"
    )
