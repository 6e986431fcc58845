"""Letters that become one another by a flip, a judge of them, and runs with and without that flip."""

from __future__ import annotations

import pytest

from deeper.audit.judge import judge_for
from deeper.audit.options import JudgeOptions
from deeper.runs import train
from tests.inspection.glyphs import letter_dataset

QUICK = {"batch": 50, "precision": "fp32", "detail_every": 10**6, "report_every": 100}


@pytest.fixture(scope="session")
def lettered(tmp_path_factory):
    return letter_dataset(tmp_path_factory.mktemp("datasets") / "letters")


@pytest.fixture(scope="session")
def judge(lettered):
    return judge_for(lettered, options=JudgeOptions(folds=2, epochs=12))


@pytest.fixture(scope="session")
def flipped(lettered, tmp_path_factory):
    """The planted truth: b and d, p and q cannot be told apart by a run that flips."""
    out = tmp_path_factory.mktemp("runs") / "flipped"
    distortions = ("translation=0.05", "horizontal_flip")
    options = {**QUICK, "validate_every": 8, "checkpoint_every": 8}
    train(lettered, out=out, epochs=8, no_distort=("all",), distort=distortions, options=options, quiet=True)
    return out
