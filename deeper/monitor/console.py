"""Training on the screen: a live line in a terminal, plain lines in a pipe or a log file.

    epoch 3/6  ━━━━━━━━━━━━━━━━────────  step 1,290/2,580  loss 0.0412  98.71 %  9,310 images/s  0:21 left
    epoch  3/6   step  1,290   loss 0.0412   train 98.71 %   validation 99.22 %   best

Everything goes to standard error: standard output belongs to results. The screen never stops a training: when the
terminal goes away, the console falls silent.
"""

from __future__ import annotations

import atexit
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Literal, TextIO

from rich.console import Console as RichConsole
from rich.live import Live
from rich.text import Text

from deeper.errors import printable
from deeper.monitor.position import Position, clock, in_words
from deeper.training.events import EpochDone, Event, Finished, Notice, Started, StepDone

# How often the live line is drawn. Drawing takes about 1 ms of one core, so this costs 0.2 % of it.
REFRESHES_PER_SECOND = 2.0
# Without a terminal: at most one line of progress in this many seconds; epochs and notices are always written.
SECONDS_BETWEEN_LINES = 10.0
# Between two drawings of the bar of a long preparation (decoding, building).
SECONDS_BETWEEN_PROGRESS = 0.25


def is_terminal(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that understands control sequences."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


class Console:
    """Shows events. `quiet` shows nothing at all, and "progress" no progress but notices; `stream` is standard error when
    not given."""

    def __init__(
        self,
        *,
        quiet: bool | Literal["progress"] = False,
        stream: TextIO | None = None,
        seconds_between_lines: float = SECONDS_BETWEEN_LINES,
    ) -> None:
        self._stream = stream or sys.stderr
        self._silent = quiet is True
        self._notices_only = quiet == "progress"
        self._live_wanted = not quiet and is_terminal(self._stream)
        self._rich: RichConsole | None = None
        if self._live_wanted:
            self._rich = RichConsole(file=self._stream, force_terminal=True, highlight=False)
        self._live: Live | None = None
        self._between = seconds_between_lines
        self._last_line = -math.inf
        self._position: Position | None = None
        self._sized = False
        self._last_step: StepDone | None = None
        self._keeps_best = False

    def handle(self, event: Event) -> None:
        """Show one event. Never raises for a stream that cannot be written."""
        if self._silent or (self._notices_only and not isinstance(event, Notice)):
            return
        try:
            self._show(event)
        except (OSError, ValueError):
            # The terminal was closed (EIO, EPIPE, or a closed file): the training is worth more than its picture.
            self._silent, self._live = True, None

    def _show(self, event: Event) -> None:
        match event:
            case Started():
                self._position = Position(event.first_step, event.steps, event.steps_per_epoch, event.course)
                self._sized = event.course is not None and event.course.staged
                self._keeps_best = event.options.keep_best
                self._show_live(self._position)
            case StepDone():
                self._last_step = event
                if self._position is None:
                    return
                self._position.moved(event)
                now = time.monotonic()
                if self._rich is None and now - self._last_line >= self._between:
                    self._last_line = now
                    self._line(self._position.plain())
            case EpochDone():
                self._line(self._epoch_line(event), style="bold" if event.best else "")
            case Notice():
                self._line(f"note: {printable(event.text, 2000)}", style="dim")
            case Finished():
                self.close()
                self._line(self._finished_line(event), style="bold")

    def _epoch_line(self, event: EpochDone) -> str:
        epochs = self._position.epochs if self._position else event.epoch + 1
        width = len(str(epochs))
        parts = [f"epoch {event.epoch + 1:>{width}}/{epochs}", f"step {event.step:>7,}"]
        if self._last_step is not None:
            parts += [f"loss {self._last_step.loss:.4f}", f"train {self._last_step.accuracy:7.2%}"]
        if event.evaluation is not None:
            accuracy = float(event.evaluation.accuracy)
            parts.append(f"validation {accuracy:7.2%}" + (f" at {in_words(event.size)}" if self._sized else ""))
        parts.append(clock(event.seconds))
        if event.best:
            parts.append("best so far")
        return "  ".join(parts)

    def _finished_line(self, event: Finished) -> str:
        best = self._kept(event)
        took = f"step {event.step:,} after {clock(event.seconds)}"
        match event.reason:
            case "done":
                return f"finished at {took}{best}"
            case "early":
                return f"stopped early at {took}: validation no longer improves{best}"
            case _:
                return f"interrupted at {took}; the work is saved{best}"

    def _kept(self, event: Finished) -> str:
        """Which weights the bundle holds; of an interrupted run that is not settled."""
        if event.best_step is None:
            return ""
        if event.reason == "interrupted":
            return f"; best validation so far at step {event.best_step:,}"
        if self._keeps_best:
            return f"; weights of step {event.best_step:,} are kept"
        return f"; best validation at step {event.best_step:,}, the last weights are kept"

    def progress(self, label: str) -> Callable[[int, int], None]:
        """A callback `(done, total)` that shows how far a long preparation is; cheap enough for every picture."""
        last = -math.inf
        pause = SECONDS_BETWEEN_PROGRESS if self._rich else self._between
        began = time.monotonic()

        def report(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            complete = done >= total
            if self._silent or self._notices_only:
                return
            if now - last < pause and not (complete and self._live is not None):
                return
            if self._rich is None and last == -math.inf and now - began < pause:
                return  # what is over quickly needs no line in a log
            last = now
            try:
                self._progress(label, done, total, now - began)
            except (OSError, ValueError):
                self._silent, self._live = True, None

        return report

    def _progress(self, label: str, done: int, total: int, seconds: float) -> None:
        if self._rich is None:
            self._line(f"{label}: {done:,} of {total:,} after {clock(seconds)}")
            return
        if done >= total:
            self.close()
            return
        bar = Text(f"{label} {done:,}/{total:,}  {done / max(1, total):.0%}")
        self._show_live(bar, transient=True)

    def _line(self, text: str, style: str = "") -> None:
        """One permanent line."""
        if self._rich is not None:
            self._rich.print(Text(text, style=style, overflow="fold"))
            return
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self._stream.flush()

    def _show_live(self, shown: Position | Text, *, transient: bool = True) -> None:
        if self._rich is None:
            return
        if self._live is None:
            self._live = Live(
                shown,
                console=self._rich,
                refresh_per_second=REFRESHES_PER_SECOND,
                transient=transient,
                # What others print meanwhile goes above the live line, but standard output stays standard output.
                redirect_stdout=sys.stdout.isatty(),
            )
            self._live.start()
            # An error in the middle of a preparation must not leave the terminal without its cursor.
            atexit.register(self.close)
        else:
            self._live.update(shown, refresh=isinstance(shown, Text))

    def close(self) -> None:
        """Take the live line away and give the cursor back; closing again does nothing."""
        live, self._live = self._live, None
        if live is not None:
            atexit.unregister(self.close)
            try:
                live.stop()
            except (OSError, ValueError):
                self._silent = True
