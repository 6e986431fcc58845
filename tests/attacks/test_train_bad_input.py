"""What a user gets wrong when training: one clear line, the documented exit code, and nothing harmed."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deeper import checkpoint
from deeper.cli import main
from deeper.errors import RunError
from deeper.records import info as dataset_info
from deeper.runs import Run, train
from tests.patience import patient


def deeper(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "deeper", *map(str, words)],
        capture_output=True, text=True, cwd=cwd, env=environment, timeout=patient(120),
    )  # fmt: skip


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    assert done.returncode == code, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    # Notes may come before it, about choices that were made; the error is the one last line.
    *notes, error = done.stderr.strip().splitlines()
    assert all(line.startswith("note: ") for line in notes), done.stderr
    assert error.startswith("deeper train: ")
    for part in parts:
        assert part in error, error


@pytest.fixture(scope="module")
def finished(small_dataset, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("finished") / "run"
    train(small_dataset, model="nielsen", epochs=1, out=run, quiet=True, options={"batch": 50})
    return run


CASES = {
    "a source that is not there": (["no-such-folder"], 3, ["no-such-folder"]),
    "a recipe with a typo": (["DATASET", "--recipe", "fats"], 2, ["fats", "'fast'"]),
    "a model with a typo": (["DATASET", "--model", "nielson"], 2, ["nielson", "'nielsen'"]),
    "a distortion with a typo": (
        ["DATASET", "--distort", "horizontal_flop"],
        2,
        ["horizontal_flop", "horizontal_flip"],
    ),
    "a distortion that is not in the recipe": (["DATASET", "--no-distort", "vertical_flip"], 2, ["vertical_flip"]),
    "an option that does not exist": (["DATASET", "--set", "optimiser.rate=1"], 2, ["optimiser", "'optimizer'"]),
    "an option without a value": (["DATASET", "--set", "batch"], 2, ["NAME=VALUE"]),
    "a value of the wrong kind": (["DATASET", "--set", "batch=many"], 2, ["batch", "int"]),
    "an impossible value": (["DATASET", "--batch", "0"], 2, ["batch must be at least 1"]),
    "epochs and minutes": (["DATASET", "--epochs", "1", "--minutes", "1"], 2, ["epochs", "minutes"]),
    "nothing to train on": ([], 2, ["--resume"]),
    "resume of no run": (["--resume", "nowhere"], 5, ["nowhere", "no run"]),
    "too small an input": (["DATASET", "--size", "4"], 2, ["4", "size"]),
    "a network of one's own that does not exist": (["DATASET", "--model", "nowhere.nets:MyNet"], 2, ["nowhere"]),
    "a policy that is not there": (["DATASET", "--policy", "none.toml"], 2, ["none.toml"]),
}


@pytest.mark.parametrize("case", CASES)
def test_one_clear_line(case, small_dataset, tmp_path, monkeypatch, capsys):
    words, code, parts = CASES[case]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["train", *[str(small_dataset.path) if word == "DATASET" else word for word in words]])
    said = capsys.readouterr()
    done = subprocess.CompletedProcess([], ended.value.code, said.out, said.err)
    assert_one_line(done, code, *parts)
    assert not list(tmp_path.glob("runs/*/checkpoints")), "nothing may be left behind that looks like a run"


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(finished, small_dataset, tmp_path):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    done = deeper("train", small_dataset.path, "--out", finished, cwd=tmp_path)
    assert_one_line(done, 5, "already holds a run", "--resume")
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_a_diverging_run_stops_with_advice_and_keeps_its_checkpoint(small_dataset, tmp_path):
    run, words = tmp_path / "run", ("--optimizer", "sgd", "--batch", "25", "--set", "checkpoint_every=0.25")
    # A rate that rises to absurdity: the first steps are sound, and saved.
    rising = ("--rate", "1e6", "--set", "schedule=exponential_sweep", "--set", "schedule.start=1e-9")
    done = deeper("train", small_dataset.path, "--out", run, *words, *rising, "--epochs", "2", cwd=tmp_path)
    assert done.returncode == 7, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "diverged by step" in last and "--rate" in last
    kept = Run(run)
    assert kept.steps() and kept.steps()[-1] < kept.config.steps
    for step in kept.steps():
        _, tensors = checkpoint.read(kept.checkpoints, step)
        assert all(tensor.isfinite().all() for tensor in tensors.values() if tensor.is_floating_point())


def test_resume_after_the_dataset_changed_is_refused(finished, small_dataset, tmp_path):
    run, dataset = tmp_path / "run", tmp_path / "dataset"
    shutil.copytree(finished, run)
    shutil.copytree(small_dataset.path, dataset)
    changed = dataset_info.load(dataset)
    dataset_info.save(dataset, dataclasses.replace(changed, seed=1))
    config = (run / "config.toml").read_text().splitlines()
    config = [f'dataset = "{dataset}"' if line.startswith("dataset =") else line for line in config]
    (run / "config.toml").write_text("\n".join(config))
    assert_one_line(deeper("train", "--resume", run, cwd=tmp_path), 5, "no longer the one")


def test_a_config_that_was_edited_badly_is_named(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "config.toml").write_text("steps = [")
    assert_one_line(deeper("train", "--resume", run, cwd=tmp_path), 5, "config.toml")


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("steps = ", "stepps = ", "no option 'stepps'"),
        ("height = 28", 'height = "28"', "height: wanted int"),
        ("batch = 50", "batch = 0", "batch must be at least 1"),
    ],
)
def test_a_config_of_wrong_keys_and_values_is_a_run_that_cannot_be_used(old, new, part, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    text = (tmp_path / "run" / "config.toml").read_text()
    assert f"\n{old}" in text
    (tmp_path / "run" / "config.toml").write_text(text.replace(f"\n{old}", f"\n{new}", 1))
    with pytest.raises(RunError, match=f"run/config.toml.*{part}.*put the old config.toml back"):
        Run(tmp_path / "run")


def test_a_run_that_has_no_room_to_write(small_dataset, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = deeper("train", small_dataset.path, "--out", tmp_path / "file" / "run", "--epochs", "1", cwd=tmp_path)
    assert_one_line(done, 9, "file")
    assert (tmp_path / "file").read_text() == "in the way"
