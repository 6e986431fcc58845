"""Where a training is: the live line, its estimate of the steps between two reports, and the time left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from deeper.training.course import Course
    from deeper.training.events import StepDone

_BAR_WIDTH = 24


def clock(seconds: float) -> str:
    """`0:42`, `12:05`, `3:07:12`: a duration for a person."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def in_words(size: tuple[int, int]) -> str:
    """A picture size for a person."""
    return f"{size[0]} px" if size[0] == size[1] else f"{size[0]}×{size[1]} px"


class Position:
    """A rich renderable that knows the last report and, in between, moves on at the speed seen so far.

    Reports come every `report_every` steps, which on a slow machine are minutes apart: a bar that stands still looks
    like a training that hangs. The estimate never passes the step at which the next report is due. Where a `course`
    changes the picture size, time goes with pixels rather than with steps.
    """

    def __init__(self, first_step: int, steps: int, steps_per_epoch: int, course: Course | None = None) -> None:
        self.first_step, self.steps, self.steps_per_epoch = first_step, steps, max(1, steps_per_epoch)
        self._course = course
        self.epochs = self._passed(steps) + 1
        self._step = first_step
        self._interval = 0
        self._began = self._reported = time.monotonic()
        self._report: StepDone | None = None

    def moved(self, report: StepDone) -> None:
        """Take in a report."""
        self._interval = max(1, report.step - self._step)
        self._step, self._report, self._reported = report.step, report, time.monotonic()

    def _work(self, step: int) -> int:
        """What the steps before `step` cost, in steps where all cost the same."""
        return step if self._course is None else self._course.pixels(step)

    def speed(self) -> float:
        """Mean work a second since the start, validations and checkpoints included, which is what the time left depends
        on."""
        elapsed = self._reported - self._began
        return (self._work(self._step) - self._work(self.first_step)) / elapsed if elapsed > 0 else 0.0

    def estimated(self) -> int:
        """The step that is probably under way."""
        each = max(1, self._work(self._step + 1) - self._work(self._step))
        ahead = int(self.speed() / each * (time.monotonic() - self._reported))
        return min(self._step + min(ahead, max(0, self._interval - 1)), self.steps)

    def left(self) -> str:
        """Time left, or nothing before the first report."""
        speed = self.speed()
        if speed <= 0:
            return ""
        remaining = (self._work(self.steps) - self._work(self._step)) / speed - (time.monotonic() - self._reported)
        return f"{clock(remaining)} left"

    def _facts(self, step: int) -> list[str]:
        facts = [f"step {step:,}/{self.steps:,}"]
        if self._course is not None and self._course.staged:
            facts.append(in_words(self._course.leg(max(0, step - 1)).size))
        if self._report is not None:
            facts += [
                f"loss {self._report.loss:.4f}",
                f"accuracy {self._report.accuracy:.2%}",
                f"{self._report.images_per_second:,.0f} images/s",
            ]
        left = self.left()
        return [*facts, left] if left else facts

    def _passed(self, done: int) -> int:
        """Whole epochs before the step that made `done`."""
        last = max(0, done - 1)
        return last // self.steps_per_epoch if self._course is None else self._course.passed(last)

    def _epoch(self, step: int) -> str:
        return f"epoch {min(self.epochs, self._passed(step) + 1)}/{self.epochs}"

    def plain(self) -> str:
        """The same as one line of text, at the last report."""
        return "  ".join([self._epoch(self._step), *self._facts(self._step)])

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        step = self.estimated()
        row = Table.grid(padding=(0, 2, 0, 0))
        facts = self._facts(step)
        epoch = self._epoch(step)
        needed = len(epoch) + sum(len(fact) + 2 for fact in facts) + 4
        bar_width = min(_BAR_WIDTH, options.max_width - needed)
        cells: list[Text | ProgressBar] = [Text(epoch, style="bold")]
        row.add_column(no_wrap=True)
        if bar_width >= 6:
            row.add_column(width=bar_width)
            cells.append(ProgressBar(total=self.steps, completed=step, width=bar_width))
        row.add_column(no_wrap=True, overflow="ellipsis")
        cells.append(Text("  ".join(facts)))
        row.add_row(*cells)
        yield row
