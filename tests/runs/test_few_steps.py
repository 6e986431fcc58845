"""Trainings of a few steps: what a long one says, a short one says too; and what a resume goes by."""

from __future__ import annotations

import os
import re
import signal
from types import SimpleNamespace

import pytest

from deeper.errors import RunError, UsageError
from deeper.runs import resume, train
from deeper.runs.estimate import late
from deeper.training.events import StepDone
from deeper.training.stages import parse_stages
from deeper.values import to_plain

NETWORK = """
from torch import nn

class Fixed(nn.Sequential):
    def __init__(self, classes, channels, height, width):
        super().__init__(nn.Flatten(), nn.BatchNorm1d(channels * height * width), nn.Linear(channels * height * width, classes))
"""
QUICK = {"precision": "fp32"}


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "few_steps_nets.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    return "few_steps_nets:Fixed"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"batch": 1, "epochs": 0.003}, "a batch of 1 at 28 pixels leaves batch norm a single value per channel"),
        (
            {"batch": 64, "epochs": 0.3, "stages": to_plain(parse_stages("14,28"))},
            "built for 28×28 pixels and fails at 14",
        ),
    ],
)
def test_what_cannot_be_trained_is_one_line_however_few_steps_it_has(small_dataset, own, tmp_path, given, says):
    with pytest.raises(UsageError, match=says):
        train(small_dataset, model=own, out=tmp_path / "run", options={**QUICK, **given}, quiet=True)
    assert not (tmp_path / "run" / "config.toml").exists()


@pytest.mark.parametrize(
    ("pattern", "edit", "says"),
    [
        (
            r"^steps = \d+",
            "steps = 30",
            "config.toml says 30 steps and its checkpoint 24; put the old config.toml back",
        ),
        (r"\[options\.averaging\]\n(.+\n)+", "", "disagree on whether weights are averaged"),
    ],
)
def test_a_resume_goes_by_the_options_that_it_began_with(small_dataset, own, tmp_path, pattern, edit, says):
    def interrupt(event):
        if isinstance(event, StepDone) and event.step == 7:
            os.kill(os.getpid(), signal.SIGINT)

    out, averaging = tmp_path / "run", {"decay": 0.9, "every": 2}
    options = {**QUICK, "batch": 50, "report_every": 1, "averaging": averaging}
    given = {"model": own, "epochs": 2, "options": options, "quiet": True, "handlers": [interrupt]}
    assert train(small_dataset, out=out, **given).reason == "interrupted"
    config = out / "config.toml"
    before = config.read_text()
    changed, count = re.subn(pattern, edit, before, count=1, flags=re.MULTILINE)
    assert count == 1
    config.write_text(changed)
    with pytest.raises(RunError, match=says):
        resume(out, quiet=True)
    config.write_text(before)
    assert resume(out, quiet=True).reason == "done"


def test_too_few_minutes_are_not_the_machines_fault():
    config = SimpleNamespace(options=SimpleNamespace(minutes=0.001), steps=1, stage_steps=())
    assert "too few for the first steps alone" in late(config, 9.0)
    config.steps = 50
    assert "the machine has become busier" in late(config, 9.0) and late(config, 0.07) is None
