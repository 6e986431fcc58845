"""Corrected test labels: `deeper build --corrections` applies them, `deeper evaluate` reports both accuracies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deeper.records.corrections import Corrections, Decision
from deeper.runs import evaluate_run
from tests.sample_network import CLASSES, digits, write


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corrected")
    arrays = {}
    for split, count in (("train", 40), ("test", 120)):
        images, labels = digits(split, count)
        arrays[f"{split}_images"] = images[..., 0]
        arrays[f"{split}_labels"] = np.array([CLASSES[label] for label in labels])
    np.savez(folder / "digits.npz", **arrays)
    write(folder / "bundle")
    return folder


def test_both_accuracies_are_reported(run_deeper, place: Path) -> None:
    words = ("build", place / "digits.npz", "--validation", "0")
    assert run_deeper(*words, "--out", place / "before").returncode == 0
    before = evaluate_run(place / "bundle", place / "before")
    assert before.before_correction is None
    mistakes = before.mistakes
    assert len(mistakes) >= 3, "the sample network errs"
    log = Corrections(place / "corrections.csv")
    for one in mistakes[:2]:
        log.decide(Decision(id=one.id, kind="relabel", given=one.label, to=one.predicted))
    log.decide(Decision(id=mistakes[2].id, kind="exclude", given=mistakes[2].label))
    done = run_deeper(*words, "--out", place / "after", "--corrections", place / "corrections.csv", "--json")
    assert done.returncode == 0, done.stderr
    built = json.loads(done.stdout)
    assert (built["relabelled"], built["excluded"], built["kept"]) == (2, 1, 159)
    plain = json.loads(run_deeper("evaluate", place / "bundle", place / "after", "--json").stdout)
    assert (plain["total"], plain["correct"]) == (119, before.correct + 2)
    old = plain["before_correction"]
    assert (old["correct"], old["relabelled"], old["excluded"]) == (before.correct, 2, 1)
    assert old["accuracy"] == before.correct / 119 and len(old["interval"]) == 2
    text = run_deeper("evaluate", place / "bundle", place / "after").stdout
    assert "with the labels before correction:" in text and "2 relabelled; 1 excluded pictures are in neither" in text
    train = evaluate_run(place / "bundle", place / "after", split="train")
    assert train.before_correction is None


def test_corrections_of_another_source_are_one_clear_line(run_deeper, place: Path, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("id,decision\nelsewhere,exclude\n")
    words = ("build", place / "digits.npz", "--out", tmp_path / "out", "--corrections")
    for name, says in ((tmp_path / "c.csv", "is in this source"), (tmp_path / "none.csv", "there is no file")):
        done = run_deeper(*words, name)
        assert done.returncode == 3 and says in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
