"""The console in a real pseudo-terminal, in a pipe, and on a stream that goes away."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deeper.monitor.console import Console
from deeper.monitor.position import Position, clock
from deeper.training.events import Notice
from tests.monitor.sample_events import epoch_done, finished, run, started, step_done
from tests.patience import slowness

# A training of 20 steps as a program of its own, so that it can be given a terminal or a pipe.
PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
from sample_events import *
from deeper.monitor.console import Console
from deeper.training.events import Notice
console = Console()
decode = console.progress("decoding")
for done in range(2001):
    decode(done, 2000)
    if done % 500 == 0:
        time.sleep(0.26 if sys.stderr.isatty() else 0)
for event in [*run(0, 20), Notice(text="a choice was made\\x1b[31m"), finished(20, sys.argv[2])]:
    console.handle(event)
    time.sleep(0.15 if sys.stderr.isatty() else 0)
console.close()
print("result on standard output")
"""
HERE = Path(__file__).parent
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


# A preparation that fails half-way, as the command line reports it.
FAILS = """
import sys, time
from deeper.monitor.console import Console
Console().progress("decoding")(1, 2)
time.sleep(0.1)
print("deeper train: one clear line", file=sys.stderr)
"""


def in_terminal(columns: int = 120, reason: str = "done", term: str = "xterm-256color", program: str = PROGRAM) -> str:
    """What a terminal of that width receives."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": term, "COLUMNS": str(columns), "LINES": "30"}
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(HERE), reason], stdout=slave, stderr=slave, stdin=slave, env=environment
    )
    os.close(slave)
    received = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # the other end is closed: the program has ended
            break
        if not data:
            break
        received += data
    os.close(master)
    assert process.wait() == 0
    return received.decode()


def test_terminal_shows_a_live_line_and_lasting_ones() -> None:
    received = in_terminal()
    assert "\x1b[" in received
    text = ESCAPE.sub("", received)
    assert "decoding 5" in text
    assert re.search(
        r"epoch [12]/2\s+[━╸╺ ]+\s+step [\d,]+/20\s+loss 0\.\d{4}\s+accuracy 50\.00%\s+1,000 images/s\s+\d+:\d\d left",
        text,
    )
    assert re.search(r"epoch 1/2  step +10  loss 0\.3500  train  50\.00%  validation  98\.00%  0:10  best so far", text)
    assert re.search(r"epoch 2/2  step +20 .*validation  98\.00%  0:20\s*\r?\n", text)
    assert "note: a choice was made\\x1b[31m" in text, "control characters of a message must not reach the terminal"
    assert "finished at step 20 after 0:20; best validation at step 10, the last weights are kept" in text
    # The cursor that was hidden is shown again, and after the last hiding.
    assert received.rfind("\x1b[?25h") > received.rfind("\x1b[?25l") >= 0


def test_an_error_in_a_preparation_leaves_the_terminal_as_it_was() -> None:
    received = in_terminal(program=FAILS)
    assert "deeper train: one clear line\r\n" in ESCAPE.sub("", received)
    assert received.rfind("\x1b[?25h") > received.rfind("\x1b[?25l") >= 0


@pytest.mark.parametrize("columns", [20, 60])
def test_a_narrow_terminal_gets_no_line_that_wraps(columns: int) -> None:
    text = ESCAPE.sub("", in_terminal(columns))
    live = [line for line in re.split(r"[\r\n]+", text) if "step" in line and "/20" in line]
    assert live and max(map(len, live)) <= columns


def test_a_dumb_terminal_gets_plain_lines() -> None:
    assert "\x1b" not in in_terminal(term="dumb")


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("done", "finished at step 20"),
        ("early", "stopped early at step 20 after 0:20: validation no longer improves"),
        ("interrupted", "interrupted at step 20 after 0:20; the work is saved"),
    ],
)
def test_a_pipe_gets_plain_lines(reason: str, wanted: str) -> None:
    # PYTHONIOENCODING: a log that knows no Unicode must not stop a training.
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "TERM": "xterm-256color", "FORCE_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(HERE), reason], capture_output=True, env=environment, check=True
    )
    assert done.stdout == b"result on standard output\n"
    text = done.stderr.decode("ascii")
    assert all(line.isprintable() for line in text.splitlines())
    lines = text.splitlines()
    assert [line[:5] for line in lines] == ["epoch", "epoch", "epoch", "note:", lines[-1][:5]]
    assert lines[0].startswith("epoch 1/2  step 5/20  loss 0.4500  accuracy 50.00%  1,000 images/s")
    assert wanted in lines[-1]


def test_plain_lines_are_rate_limited() -> None:
    def lines(pause: float) -> int:
        stream = io.StringIO()
        console = Console(stream=stream, seconds_between_lines=pause)
        console.handle(started())
        for step in range(5, 2005, 5):
            console.handle(step_done(step))
        return len(stream.getvalue().splitlines())

    assert lines(3600) == 1
    assert lines(0) == 400


def test_progress_in_a_log_is_rate_limited_and_silent_when_quick() -> None:
    stream = io.StringIO()
    report = Console(stream=stream).progress("decoding")
    began = time.perf_counter()
    for done in range(100_001):
        report(done, 100_000)
    assert time.perf_counter() - began < 1.0 * slowness(), "a call for every picture must cost nothing"
    assert stream.getvalue() == ""
    report = Console(stream=stream, seconds_between_lines=0).progress("decoding")
    report(500, 1000)
    assert stream.getvalue() == "decoding: 500 of 1,000 after 0:00\n"


def test_quiet_is_silent() -> None:
    stream = io.StringIO()
    console = Console(quiet=True, stream=stream)
    console.progress("building")(1, 2)
    for event in [*run(0, 20), Notice(text="nothing"), finished(20, "done")]:
        console.handle(event)
    console.close()
    assert stream.getvalue() == ""


def test_a_terminal_that_went_away_does_not_stop_the_training() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    stream = open(write_end, "w", buffering=1)
    console = Console(stream=stream, seconds_between_lines=0)
    for event in [*run(0, 20), finished(20, "done")]:
        console.handle(event)
    console.close()
    with pytest.raises(BrokenPipeError):  # what the console met and survived
        stream.close()


def test_position_goes_on_between_reports_but_never_past_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    position = Position(first_step=0, steps=200, steps_per_epoch=100)
    assert position.estimated() == 0 and position.left() == ""
    now = 150.0
    position.moved(step_done(50))
    assert position.estimated() == 50 and position.left() == "2:30 left"
    now = 160.0
    assert position.estimated() == 60 and position.left() == "2:20 left"
    now = 1000.0
    assert position.estimated() == 99


def test_a_resumed_run_counts_its_own_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    position = Position(first_step=150, steps=200, steps_per_epoch=100)
    now = 10.0
    position.moved(step_done(160))
    assert position.left() == "0:40 left"
    assert position.plain().startswith("epoch 2/2  step 160/200")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3599, "59:59"), (11232, "3:07:12"), (-3, "0:00")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_an_epoch_without_validation_has_its_line() -> None:
    stream = io.StringIO()
    console = Console(stream=stream, seconds_between_lines=3600)
    event = epoch_done(10)
    object.__setattr__(event, "evaluation", None)
    console.handle(event)
    assert "epoch 1/1" in stream.getvalue() and "validation" not in stream.getvalue()


@pytest.mark.parametrize(
    ("keep_best", "reason", "wanted"),
    [
        (False, "done", "finished at step 20 after 0:20; best validation at step 10, the last weights are kept"),
        (True, "done", "finished at step 20 after 0:20; weights of step 10 are kept"),
        (True, "early", "validation no longer improves; weights of step 10 are kept"),
        (True, "interrupted", "the work is saved; best validation so far at step 10"),
    ],
)
def test_the_last_line_says_which_weights_are_kept(keep_best: bool, reason: str, wanted: str) -> None:
    stream = io.StringIO()
    console = Console(stream=stream)
    for event in (started(keep_best=keep_best), finished(20, reason)):
        console.handle(event)
    assert stream.getvalue().rstrip().endswith(wanted)


@pytest.mark.parametrize(("quiet", "wanted"), [("progress", "note: a warning\n"), (True, "")])
def test_quiet_shows_notices_alone_or_nothing(quiet, wanted: str) -> None:
    stream = io.StringIO()
    console = Console(quiet=quiet, stream=stream, seconds_between_lines=0)
    console.progress("decoding")(2, 2)
    for event in [*run(0, 20), Notice(text="a warning"), finished(20, "done")]:
        console.handle(event)
    console.close()
    assert stream.getvalue() == wanted
