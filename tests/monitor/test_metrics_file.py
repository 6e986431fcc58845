"""metrics.jsonl: one finite JSON object per line, the same after a resume as without an interruption."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from deeper.errors import StorageError
from deeper.monitor.metrics_file import WALL_CLOCK_FIELDS, MetricsFile, read
from deeper.training.events import Event, Notice
from tests.monitor.sample_events import epoch_done, finished, run, step_done


def write(path: Path, events: list[Event], first_step: int = 0) -> None:
    file = MetricsFile(path, first_step=first_step)
    for event in events:
        file.handle(event)
    file.close()


def without_clock(path: Path) -> list[dict[str, Any]]:
    return [{key: value for key, value in plain.items() if key not in WALL_CLOCK_FIELDS} for plain in read(path)]


def test_lines_hold_what_the_events_said(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, [*run(0, 20), Notice(text="not a number"), finished(20, "done")])
    plain = [json.loads(line) for line in path.read_text().splitlines()]
    assert [item["event"] for item in plain] == [
        "started",
        "step",
        "step",
        "epoch",
        "step",
        "step",
        "epoch",
        "finished",
    ]
    assert plain[1] == {
        "event": "step",
        "step": 5,
        "epoch": 0,
        "images": 640,
        "loss": 0.45,
        "cross_entropy": 0.2,
        "auxiliary": 0.0,
        "regularisation": 0.25,
        "accuracy": 0.5,
        "learning_rate": 0.01,
        "size": [4, 4],
        "images_per_second": 1000.0,
        "seconds": 5.0,
    }
    assert plain[3]["validation"]["accuracy"] == 0.98 and plain[3]["best"] is True


def test_what_is_not_finite_becomes_null(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, [step_done(5, clock=math.inf), epoch_done(10)])
    assert "NaN" not in path.read_text() and "Infinity" not in path.read_text()
    step, epoch = read(path)
    assert step["seconds"] is None and epoch["validation"]["ece"] is None


def test_each_line_is_on_disk_at_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    file = MetricsFile(path)
    for count, event in enumerate(run(0, 20), start=1):
        file.handle(event)
        assert len(path.read_bytes().splitlines()) == count
    file.close()
    file.close()


@pytest.mark.parametrize("killed_at", [10, 12, 15, 20])
def test_a_resumed_run_leaves_the_same_file(tmp_path: Path, killed_at: int) -> None:
    whole, resumed = tmp_path / "whole.jsonl", tmp_path / "resumed.jsonl"
    write(whole, [*run(0, 20), finished(20, "done")])
    write(resumed, run(0, killed_at, clock=3.0))  # killed after the checkpoint of step 10
    write(resumed, [*run(10, 20, clock=7.0), finished(20, "done")], first_step=10)
    assert without_clock(resumed) == without_clock(whole)
    assert resumed.read_bytes() != whole.read_bytes()  # the clocks did differ


def test_an_interrupted_run_leaves_the_same_file(tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole.jsonl", tmp_path / "resumed.jsonl"
    write(whole, [*run(0, 20), finished(20, "done")])
    write(resumed, [*run(0, 13), finished(13, "interrupted")])
    write(resumed, [*run(13, 20), finished(20, "done")], first_step=13)
    assert without_clock(resumed) == without_clock(whole)


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_a_torn_last_line_is_dropped(tmp_path: Path, cut: int) -> None:
    whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
    write(whole, run(0, 10))
    torn.write_bytes(whole.read_bytes()[:-cut])
    write(torn, [epoch_done(10)], first_step=10)
    assert without_clock(torn) == without_clock(whole)


def test_a_fresh_run_begins_a_fresh_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, run(0, 20))
    write(path, run(0, 5))
    assert [plain["step"] for plain in read(path)] == [0, 5]


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(StorageError, match="file"):
        MetricsFile(in_the_way / "metrics.jsonl")
