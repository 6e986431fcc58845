"""Resume is bit-identical: real processes are killed at random points and the end compared with an uninterrupted run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deeper import checkpoint
from deeper.monitor import WALL_CLOCK_FIELDS
from deeper.records import Dataset
from tests.patience import patient

EPOCHS = 4
# A checkpoint every eighth of an epoch: kills land before, within and after one.
SETTINGS = ["checkpoint_every=0.3", "report_every=3", "detail_every=10", "keep=2", "precision=fp32"]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "deeper", "train", *words]


def start(dataset: Dataset, out: Path, workers: int = 1, epochs: float = EPOCHS) -> list[str]:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    flags = ["--epochs", str(epochs), "--batch", "25", "--workers", str(workers), "--seed", "7"]
    return command(str(dataset.path), "--model", "nielsen", "--out", str(out), *flags, *settings)


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def finish(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=patient(300))
    assert done.returncode == 0, done.stderr


def lines(run: Path) -> list[dict]:
    """metrics.jsonl without its wall-clock fields."""
    read = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in WALL_CLOCK_FIELDS} for line in read]


def assert_same_end(run: Path, reference: Path) -> None:
    last = checkpoint.steps(reference / "checkpoints")[-1]
    assert checkpoint.steps(run / "checkpoints")[-1] == last
    names = (f"checkpoints/step-{last:08d}/tensors.safetensors", "bundle/weights.safetensors")
    for name in names:
        assert (run / name).read_bytes() == (reference / name).read_bytes(), name
    assert lines(run) == lines(reference)


@pytest.fixture(scope="module")
def reference(small_dataset, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("reference") / "run"
    finish(start(small_dataset, run))
    return run


def kill_and_resume(dataset: Dataset, run: Path, chance: random.Random, most: int) -> int:
    """Kill the training at random moments, at most so often, and let it end; returns how many kills landed while it
    trained."""
    kills = 0
    words = start(dataset, run)
    while True:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment())
        # Wait until it trains: the kill shall land in the loop, not in the interpreter's start.
        metrics = run / "metrics.jsonl"
        before = metrics.stat().st_size if metrics.exists() else 0
        deadline = time.monotonic() + patient(120)
        while process.poll() is None and time.monotonic() < deadline:
            if metrics.exists() and metrics.stat().st_size != before:
                break
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.5))
        if process.poll() is not None:
            errors = process.communicate()[1].decode()
            assert process.returncode == 0, errors
            return kills
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
        words = command("--resume", str(run), "--workers", str(chance.choice([1, 2, 3])))
        if kills == most:
            finish(words)
            return kills


def killed_so_often(kills: int, dataset: Dataset, reference: Path, folder: Path, seed: int) -> None:
    """So many kills in all, at most three to a run; every run ends as the one that was left alone."""
    landed = runs = 0
    while landed < kills:
        assert runs < 2 * kills, f"only {landed} kills landed in {runs} runs"
        run = folder / f"run-{runs}"
        landed += kill_and_resume(dataset, run, random.Random(seed + runs), min(3, kills - landed))
        assert_same_end(run, reference)
        runs += 1
    assert landed == kills


def test_killed_at_five_random_points(small_dataset, reference, tmp_path):
    killed_so_often(5, small_dataset, reference, tmp_path, seed=0)


@pytest.mark.long
@pytest.mark.timeout(5000)
def test_killed_at_fifty_random_points(small_dataset, reference, tmp_path):
    killed_so_often(50, small_dataset, reference, tmp_path, seed=100)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_and_says_how_to_go_on(small_dataset, reference, run_folder, number):
    process = subprocess.Popen(
        start(small_dataset, run_folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
    )
    metrics = run_folder / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size) and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(number)
    output, errors = process.communicate(timeout=patient(60))
    assert process.returncode == 128 + number, errors
    assert f"--resume {run_folder}" in output
    assert "Traceback" not in errors
    finish(command("--resume", str(run_folder)))
    assert_same_end(run_folder, reference)


def test_a_damaged_newest_checkpoint_costs_only_its_steps(small_dataset, reference, run_folder):
    finish(start(small_dataset, run_folder))
    newest = run_folder / "checkpoints" / f"step-{checkpoint.steps(run_folder / 'checkpoints')[-1]:08d}"
    data = (newest / "tensors.safetensors").read_bytes()
    (newest / "tensors.safetensors").write_bytes(data[: len(data) // 2])
    done = subprocess.run(command("--resume", str(run_folder)), capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    assert "damaged" in done.stdout + done.stderr
    assert_same_end(run_folder, reference)
