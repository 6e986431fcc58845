"""A disk that fills, or a folder that closes, while a network trains: one line, and the run goes on when there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deeper import checkpoint
from deeper.cli import main
from deeper.errors import StorageError
from deeper.runs import resume, train
from tests.nobody import as_nobody, open_folder

QUICK = {
    "batch": 50,
    "precision": "fp32",
    "report_every": 1,
    "checkpoint_every": 0.5,
    "arguments.first_filters": 4,
    "arguments.second_filters": 8,
    "arguments.hidden": 32,
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 16 MB; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True).returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> None:
    with open(disk / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


# When the disk is filled, and what it is then too small for: lines fit until a page of their file is full.
MOMENTS = {
    "metrics": (("StepDone", 2), {"checkpoint_every": 9, "validate_every": 9}),
    "checkpoint": (("StepDone", 8), {"validate_every": 9, "report_every": 4}),
    "bundle": (("StepDone", 12), {"report_every": 4, "validate_every": 1}),
}


@pytest.mark.parametrize("what", MOMENTS)
def test_a_disk_that_fills_while_training(what: str, small_dataset, disk: Path, tmp_path: Path, capsys) -> None:
    (kind, step), more = MOMENTS[what]
    options = {**QUICK, **more}

    def filling(event) -> None:
        if type(event).__name__ == kind and event.step == step:
            fill(disk)

    run = disk / "run"
    with pytest.raises(StorageError, match="the disk is full; free some space") as caught:
        train(small_dataset, epochs=2, out=run, quiet=True, options=options, handlers=[filling])
    wanted = {"metrics": "metrics.jsonl", "checkpoint": "step-", "bundle": "bundle"}[what]
    assert wanted in str(caught.value) and "\n" not in str(caught.value)
    kept = {"metrics": [], "checkpoint": [6], "bundle": [6]}[what]
    assert checkpoint.steps(run / "checkpoints") == kept
    if kept:
        checkpoint.read(run / "checkpoints", kept[-1])
    with pytest.raises(SystemExit) as left:
        main(["train", "--resume", str(run), "--json"])
    assert left.value.code == StorageError.exit_code
    printed = capsys.readouterr().err.splitlines()
    assert [line.startswith("note: ") for line in printed] == [True] * (len(printed) - 1) + [False]
    (disk / "filler").unlink()
    assert resume(run, quiet=True).step == 24
    train(small_dataset, epochs=2, out=tmp_path / "whole", quiet=True, options=options)
    name = "bundle/weights.safetensors"
    assert (run / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not list(run.rglob(".*"))


def test_a_folder_that_closes_while_training(small_dataset) -> None:
    with open_folder() as folder:
        run = folder / "run"
        with ExitStack() as stack:

            def closing(event) -> None:
                if type(event).__name__ == "StepDone" and event.step == 8:
                    (run / "checkpoints").chmod(0o555)
                    stack.enter_context(as_nobody())

            with pytest.raises(StorageError, match="no permission to write there"):
                train(small_dataset, epochs=1, out=run, quiet=True, options=QUICK, handlers=[closing])
        (run / "checkpoints").chmod(0o755)
        assert checkpoint.steps(run / "checkpoints") == [6]
        assert resume(run, quiet=True).step == 12


def test_a_folder_that_is_closed_from_the_beginning(small_dataset) -> None:
    with open_folder() as folder:
        closed = folder / "closed"
        closed.mkdir(mode=0o555)
        with as_nobody(), pytest.raises(StorageError, match="closed/run: no permission to write there"):
            train(small_dataset, epochs=1, out=closed / "run", quiet=True, options=QUICK)
        assert list(closed.iterdir()) == []
