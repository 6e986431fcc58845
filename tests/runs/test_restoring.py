"""Going on with a run that is not what it was: edited, without its checkpoints, with damaged ones."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from deeper.errors import RunError
from deeper.runs import resume, train

QUICK = {"batch": 50, "precision": "fp32", "detail_every": 10**6, "averaging": None}


@pytest.fixture(scope="module")
def finished(small_dataset, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    options = {**QUICK, "optimizer": {"name": "sgd", "rate": 0.01}}
    train(small_dataset, model="nielsen", epochs=2, out=out, options=options, quiet=True, audit=False)
    return out


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy that is as good as interrupted: it has steps left, by its checkpoint too."""
    shutil.copytree(finished, tmp_path / "run")
    config = (tmp_path / "run" / "config.toml").read_text()
    dataset = next(line for line in config.splitlines() if line.startswith("dataset ="))
    path = (finished / dataset.split('"')[1]).resolve()
    (tmp_path / "run" / "config.toml").write_text(config.replace(dataset, f'dataset = "{path}"'))
    return tmp_path / "run"


def edited(run: Path, old: str, new: str) -> None:
    text = (run / "config.toml").read_text()
    assert old in text
    (run / "config.toml").write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    "old, new, part",
    [
        ('name = "sgd"\n', 'name = "adamw"\n', "another optimizer than its checkpoint"),
        ("batch = 50", "batch = 25", "another batch than its checkpoint .batch: 25, was 50."),
        ("height = 28\nwidth = 28", "height = 32\nwidth = 28", "another height"),
        ("seed = 0", "seed = 1", "another seed"),
    ],
)
def test_an_edited_config_is_told_from_the_old_one(run, old, new, part) -> None:
    edited(run, old, new)
    if "adamw" in new:  # whose numbers have other names
        text = (run / "config.toml").read_text().splitlines()
        (run / "config.toml").write_text("\n".join(one for one in text if not one.startswith(("momentum", "nesterov"))))
    with pytest.raises(RunError, match=f"{part}.*put the old config.toml back"):
        resume(run, quiet=True)


def test_what_changes_nothing_that_is_trained_may_be_edited(run) -> None:
    edited(run, "report_every = 50", "report_every = 7")
    assert resume(run, quiet=True).reason == "done"


def test_stages_that_do_not_go_with_the_steps_are_one_line(run, small_dataset, tmp_path) -> None:
    edited(run, "stages = []", "stages = [{share = 0.5}, {share = 0.5, batch = 25}]")
    with pytest.raises(RunError, match="another stages than its checkpoint"):
        resume(run, quiet=True)
    options = {**QUICK, "stages": [{"size": 28, "share": 0.5}, {"size": 28, "share": 0.5, "batch": 25}]}
    train(small_dataset, model="nielsen", epochs=1, out=tmp_path / "staged", options=options, quiet=True, audit=False)
    text = (tmp_path / "staged" / "config.toml").read_text()
    left = re.sub(r"^stages = \[.*?^\]", "stages = []", text, flags=re.MULTILINE | re.DOTALL)
    assert left != text
    (tmp_path / "staged" / "config.toml").write_text(left)
    with pytest.raises(RunError, match="config.toml has 1 stages and steps for 2; put the old config.toml back"):
        resume(tmp_path / "staged", quiet=True)


def test_a_finished_run_without_checkpoints_keeps_what_it_has(run) -> None:
    shutil.rmtree(run / "checkpoints")
    before = {path: path.read_bytes() for path in (run / "metrics.jsonl", run / "bundle" / "weights.safetensors")}
    with pytest.raises(RunError, match="is finished and its checkpoints are gone"):
        resume(run, quiet=True)
    assert all(path.read_bytes() == data for path, data in before.items())


def test_a_run_of_which_no_checkpoint_can_be_read_keeps_what_it_has(run) -> None:
    for path in run.glob("checkpoints/*/tensors.safetensors"):
        path.write_bytes(path.read_bytes()[:1000])
    before = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(RunError, match="no checkpoint of .* can be read; train again into a new folder"):
        resume(run, quiet=True)
    assert (run / "metrics.jsonl").read_bytes() == before


def test_a_run_that_never_had_one_begins_again(run) -> None:
    shutil.rmtree(run / "checkpoints")
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("\n".join(lines[:1]) + "\n")
    result = resume(run, quiet=True)
    again = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert result.reason == "done" and again[-1]["event"] == "finished" and len(again) == len(lines)


def test_checkpoints_of_before_they_noted_it_are_read(run) -> None:
    for path in run.glob("checkpoints/*/checkpoint.json"):
        plain = json.loads(path.read_text())
        assert plain.pop("training")["batch"] == 50
        path.write_text(json.dumps(plain))
    assert resume(run, quiet=True).reason == "done"
