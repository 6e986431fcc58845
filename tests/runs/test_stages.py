"""Progressive resizing in a run: sizes in order, exact resume within and between them, budgets, what the folder says."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import tomllib

import pytest

from deeper import bundle, checkpoint
from deeper.errors import UsageError
from deeper.monitor import WALL_CLOCK_FIELDS
from deeper.runs import Run, evaluate_run, resume, train
from deeper.runs.work import Work
from deeper.training.events import DetailDone, EpochDone, StepDone
from tests.patience import patient, slowness

# A network that takes any size, with everything that a resume could lose: batch norm, dropout, averaged weights.
NETWORK = """
from torch import nn

class Small(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, 2), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Dropout(0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, classes))

    def forward(self, images):
        return self.body(images)
"""
STAGES = [
    {"size": 14, "share": 0.4, "batch": 60},
    {"size": 20, "share": 0.3, "hardest": 0.5},
    {"size": 28, "hardest": 0.2},
]
OPTIONS = {
    "stages": STAGES,
    "batch": 30,
    "precision": "fp32",
    "report_every": 2,
    "detail_every": 5,
    "validate_every": 0.5,
    "checkpoint_every": 0.2,
}


@pytest.fixture(autouse=True)
def _network(tmp_path, monkeypatch):
    folder = tmp_path / "network"
    folder.mkdir()
    (folder / "staged_net.py").write_text(NETWORK)
    monkeypatch.chdir(folder)


def run(dataset, out, **changes):
    given = {"model": "staged_net:Small", "epochs": 2, "quiet": True, "seed": 3, **changes}
    return train(dataset, out=out, **{"options": OPTIONS, **given})


def test_sizes_follow_each_other_and_only_the_last_is_judged(small_dataset, run_folder):
    seen: list[tuple[int, tuple[int, ...]]] = []
    events = []

    def note(event):
        events.append(event)
        if isinstance(event, DetailDone):
            seen.append((event.step, tuple(event.images.shape)))

    result = run(small_dataset, run_folder, handlers=[note])
    # 600 pictures twice: 0.4 of them in batches of 60, then 0.3 and 0.3 in batches of 30.
    config = Run(run_folder).config
    assert config.stage_steps == (8, 12, 12) and config.steps == 32 == result.step
    shapes = dict(seen)
    assert shapes[0] == (60, 1, 14, 14) and shapes[10] == (30, 1, 20, 20) and shapes[25] == (30, 1, 28, 28)
    reports = [event for event in events if isinstance(event, StepDone)]
    assert {event.step: event.size for event in reports}[8] == (14, 14)
    assert sorted({event.size for event in reports}) == [(14, 14), (20, 20), (28, 28)]
    validations = [event for event in events if isinstance(event, EpochDone)]
    assert {event.size for event in validations} == {(14, 14), (20, 20), (28, 28)}
    assert not any(event.best for event in validations if event.size != (28, 28))
    assert any(event.best for event in validations)


def test_the_folder_says_what_was_trained(small_dataset, run_folder):
    run(small_dataset, run_folder)
    written = tomllib.loads((run_folder / "config.toml").read_text())
    assert written["stage_steps"] == [8, 12, 12] and written["options"]["stages"] == STAGES
    info = bundle.load(run_folder / "bundle", model="staged_net:Small").info
    assert (info.preprocess.height, info.architecture.width) == (28, 28)
    assert info.training["stages"][0] == {"height": 14, "width": 14, "batch": 60, "steps": 8}
    assert [stage["height"] for stage in info.training["stages"]] == [14, 20, 28]
    assert [stage.get("hardest") for stage in info.training["stages"]] == [None, 300, 120]
    lines = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    assert {tuple(line["size"]) for line in lines if line["event"] == "step"} == {(14, 14), (20, 20), (28, 28)}
    assert evaluate_run(run_folder, split="test").total == 150


def lines_of(path):
    read = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in WALL_CLOCK_FIELDS} for line in read]


def assert_same(path, reference):
    last = checkpoint.steps(reference / "checkpoints")[-1]
    for name in (f"checkpoints/step-{last:08d}/tensors.safetensors", "bundle/weights.safetensors"):
        assert (path / name).read_bytes() == (reference / name).read_bytes(), name
    assert lines_of(path) == lines_of(reference)


def test_interrupts_within_and_between_stages_change_nothing(small_dataset, tmp_path):
    """Real signals to this process, which the run takes as an interrupt: within a stage, at its end, right after it."""
    reference, out = tmp_path / "reference", tmp_path / "run"
    options = {**OPTIONS, "report_every": 1}
    run(small_dataset, reference, options=options)
    stops = [3, 8, 9, 20, 25]

    def interrupt(event):
        if isinstance(event, StepDone) and event.step in stops:
            stops.remove(event.step)
            os.kill(os.getpid(), signal.SIGINT)

    reasons = [run(small_dataset, out, options=options, handlers=[interrupt]).reason]
    while reasons[-1] == "interrupted":
        reasons.append(resume(out, quiet=True, handlers=[interrupt]).reason)
    assert reasons == ["interrupted"] * 5 + ["done"]
    assert_same(out, reference)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))])
def test_kills_at_random_points_change_nothing(small_dataset, tmp_path, seed):
    reference, out = tmp_path / "reference", tmp_path / "run"
    sizes = ["--sizes", "14:0.4:60,20:0.3::0.5,28:::0.2"]
    settings = ["batch=30", "precision=fp32", "report_every=2", "checkpoint_every=0.2", "validate_every=0.5"]
    words = [sys.executable, "-m", "deeper", "train"]
    begin = [*words, str(small_dataset.path), "--model", "staged_net:Small", "--epochs", "4", *sizes]
    begin += [word for setting in settings for word in ("--set", setting)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def finished(command):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=patient(240))
        assert done.returncode == 0, done.stderr

    finished([*begin, "--out", str(reference)])
    chance = random.Random(seed)
    command = [*begin, "--out", str(out)]
    metrics = out / "metrics.jsonl"
    for _ in range(3):
        before = metrics.stat().st_size if metrics.exists() else 0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        while process.poll() is None and (not metrics.exists() or metrics.stat().st_size == before):
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.4))
        process.kill()
        process.wait()
        command = [*words, "--resume", str(out)]
    finished(command)
    assert_same(out, reference)


def test_a_budget_knows_what_each_size_costs(small_dataset, run_folder, capsys):
    result = run(small_dataset, run_folder, minutes=0.1, epochs=None, quiet=False)
    config = Run(run_folder).config
    assert len(config.stage_steps) == 3 and sum(config.stage_steps) == config.steps == result.step
    assert result.seconds < 30 * slowness()
    said = capsys.readouterr().err
    assert "sizes: 14 pixels for" in said and "of the time" in said


def test_a_network_of_one_size_says_so(small_dataset, run_folder):
    with pytest.raises(UsageError, match="nielsen takes only the size it was built for"):
        train(small_dataset, model="nielsen", out=run_folder, quiet=True, options={"stages": STAGES})
    assert not run_folder.exists()


def test_a_stage_below_the_smallest_input_says_which_size_works(small_dataset, run_folder):
    stages = [{"size": 40, "share": 0.5}, {"size": 96}]
    with pytest.raises(UsageError, match="40×40 pixels is too small: inception_v3 takes 75×75 or more"):
        train(small_dataset, model="inception_v3", out=run_folder, quiet=True, options={"stages": stages})
    assert not run_folder.exists()


def test_the_run_ends_at_the_last_stages_size(small_dataset, run_folder):
    assert run(small_dataset, run_folder).run.config.height == 28
    with pytest.raises(UsageError, match="end with 32, or leave --size out"):
        run(small_dataset, run_folder.parent / "other", options={**OPTIONS, "height": 32, "width": 32})


def test_sizes_that_come_again_are_timed_once_and_told_together(small_dataset, run_folder, monkeypatch):
    timed, said = [], []

    def noted(state, feed, stage, *steps, **options):
        timed.append((stage.size, stage.batch))
        return 0.01

    monkeypatch.setattr("deeper.runs.estimate.timed_step", noted)
    monkeypatch.setattr(Work, "say", lambda self, text: said.append(text))
    up_and_down = [{"size": 14, "share": 0.2, "batch": 60}, {"size": 28, "share": 0.1}] * 3 + [{"size": 28}]
    run(small_dataset, run_folder, options={**OPTIONS, "stages": up_and_down}, epochs=4)
    assert sorted(timed) == [((14, 14), 60), ((28, 28), 30)]
    (line,) = [text for text in said if text.startswith("sizes:")]
    # Of 2,400 pictures 60 % in batches of 60, 40 % in batches of 30.
    assert line == (
        "sizes: 14 pixels for 24 steps of 60 in 3 stages of 0.01 s: 43% of the time; "
        "28 pixels for 32 steps of 30 in 3 stages of 0.01 s: 57% of the time"
    )
