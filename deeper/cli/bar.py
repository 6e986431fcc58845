"""Progress of long work on standard error: bars with the time left in a terminal, now and then a line in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import TaskID

# Without a terminal, at most one line in so many seconds: what is over sooner says nothing.
SECONDS_BETWEEN_LINES = 30.0


class Progress(Protocol):
    """Told what is being done, how much of it is done, and how much there is, or None where nobody knows."""

    def __call__(self, what: str, done: int, total: int | None) -> None: ...


@contextmanager
def bars(show: bool = True) -> Iterator[Progress]:
    """A bar for each kind of work, as they begin."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not show or not console.is_terminal:
        yield _lines(SECONDS_BETWEEN_LINES if show else float("inf"))
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    # Results printed meanwhile go to standard output, not into the bars' stream.
    with Bars(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield report


@contextmanager
def bar(what: str, show: bool = True) -> Iterator[Callable[[int, int | None], None]]:
    """`bars` where there is one kind of work: yields a callback for (done, total)."""
    with bars(show) as progress:
        yield lambda done, total: progress(what, done, total)


def _lines(between: float) -> Progress:
    began = last = time.monotonic()

    def report(what: str, done: int, total: int | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < between:
            return
        last = now
        of = "" if total is None else f" of {total:,}"
        print(f"{what}: {done:,}{of} after {now - began:.0f} s", file=sys.stderr, flush=True)

    return report
