"""Whoever watches a training: its files and the console, opened together and closed together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deeper.monitor import Console, MetricsFile, TensorBoard
from deeper.runs.result import Monitor


@contextmanager
def watching(
    run: Path, classes: Sequence[str], console: Console, first_step: int, say: Callable[[str], None]
) -> Iterator[list[Monitor]]:
    """`metrics.jsonl` and TensorBoard of the run folder, from `first_step` on, and the console; closed after the block,
    also those that were open when one could not be."""
    with ExitStack() as stack:
        opened: list[Monitor] = []
        for monitor in (
            lambda: MetricsFile(run / "metrics.jsonl", first_step=first_step),
            lambda: TensorBoard(run / "tensorboard", tuple(classes), first_step=first_step, notice=say),
            lambda: console,
        ):
            opened.append(monitor())
            stack.callback(opened[-1].close)
        yield opened
