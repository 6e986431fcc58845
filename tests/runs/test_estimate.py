"""What is told and reckoned before a training's first step."""

from __future__ import annotations

import pytest

from deeper.runs import train
from deeper.training.fine_tuning import Freezing
from deeper.training.stepping import seconds_per_step

QUICK = {"precision": "fp32", "validate_every": 1000}


@pytest.mark.parametrize(("frozen", "least", "most"), [({}, 5, 12), ({"fine_tuning.freeze_share": 1.0}, 30, 60)])
def test_minutes_hold_more_steps_of_the_head_alone(small_dataset, tmp_path, monkeypatch, frozen, least, most):
    """Such steps need no gradients below the head: timed as whole ones, a third of the minutes would be used."""
    timed = []

    def half_a_second(state, feed, stage, head_only=False, **more):
        timed.append(head_only)
        return 0.1 if head_only else 0.5

    monkeypatch.setattr("deeper.runs.estimate.timed_step", half_a_second)
    result = train(small_dataset, minutes=0.1, out=tmp_path / "run", quiet=True, options={**QUICK, **frozen})
    assert timed == ([False, True] if frozen else [False])
    assert least <= result.run.config.steps <= most


def test_steps_of_the_head_alone_are_timed_as_such(small_dataset, tmp_path, monkeypatch):
    seen = []
    begin = Freezing.begin

    def noted(self, head_only):
        seen.append(head_only)
        begin(self, head_only)

    def two_steps(state, feed, stage, **more):
        more.pop("limit", None)
        seconds_per_step(state, feed, stage, 2, 1, **more)
        assert state.step == 0
        return 1.0

    monkeypatch.setattr(Freezing, "begin", noted)
    monkeypatch.setattr("deeper.runs.estimate.timed_step", two_steps)
    options = {**QUICK, "fine_tuning.freeze_epochs": 0.02}
    train(small_dataset, minutes=0.05, out=tmp_path / "run", quiet=True, options=options)
    assert seen[:6] == [False] * 3 + [True] * 3
