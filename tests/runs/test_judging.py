"""Judging what a run has become: interrupted, by its checkpoints, without its dataset, on other people's folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeper import bundle
from deeper.cli import main
from deeper.errors import DatasetError
from deeper.records import Dataset
from deeper.runs import Run, compare_runs, evaluate_run, judged_on, train
from deeper.runs.interrupts import Interrupts
from deeper.training.events import EpochDone

QUICK = {"batch": 50, "precision": "fp32", "report_every": 4, "checkpoint_every": 0.5, "keep": 9}


@pytest.fixture(scope="module")
def interrupted(small_dataset, tmp_path_factory) -> Path:
    """Stopped before its first validation: two checkpoints, no bundle."""
    out = tmp_path_factory.mktemp("interrupted") / "run"

    def stop(event) -> None:
        if type(event).__name__ == "StepDone" and event.step == 8:
            Interrupts.received = 2

    result = train(small_dataset, epochs=3, out=out, quiet=True, options=QUICK, handlers=[stop])
    assert result.reason == "interrupted" and Run(out).steps() == [6, 8] and not bundle.is_bundle(out / "bundle")
    return out


@pytest.fixture(scope="module")
def finished(small_dataset, tmp_path_factory) -> tuple[Path, dict[int, float]]:
    """A run and its validation accuracies by step; the best is not the last."""
    scores: dict[int, float] = {}

    def note(event) -> None:
        if isinstance(event, EpochDone):
            scores[event.step] = event.evaluation.accuracy

    out = tmp_path_factory.mktemp("finished") / "run"
    # The rate goes up to the end and far too high: the last weights are worse than the best.
    sweep = {"name": "exponential_sweep", "start": 1e-3}
    options = {**QUICK, "schedule": sweep, "optimizer.rate": 0.3, "validate_every": 0.5}
    train(small_dataset, epochs=3, out=out, quiet=True, options=options, handlers=[note])
    return out, scores


def as_json(capsys, *words: object) -> dict:
    main(["evaluate", *map(str, words), "--json"])
    return json.loads(capsys.readouterr().out)


def test_an_interrupted_run_is_judged_by_its_last_checkpoint(interrupted, capsys) -> None:
    plain = as_json(capsys, interrupted)
    assert plain["total"] == 150 and plain["split"] == "test" and plain["checkpoint"] is None
    assert plain["accuracy"] == as_json(capsys, interrupted, "--checkpoint", "8")["accuracy"]
    assert plain["errors"] == as_json(capsys, interrupted, "--checkpoint", "last")["errors"]
    assert plain["errors"] != as_json(capsys, interrupted, "--checkpoint", "6")["errors"]


def test_it_is_judged_elsewhere_where_its_dataset_is_gone(interrupted, small_dataset, tmp_path) -> None:
    run = tmp_path / "run"
    shutil.copytree(interrupted, run)
    config = (run / "config.toml").read_text().splitlines()
    lines = ['dataset = "gone"' if line.startswith("dataset =") else line for line in config]
    (run / "config.toml").write_text("\n".join(lines) + "\n")
    with pytest.raises(DatasetError, match="gone"):
        evaluate_run(run)
    expected = evaluate_run(interrupted, small_dataset)
    assert np.array_equal(evaluate_run(run, small_dataset).logits, expected.logits)
    assert np.array_equal(evaluate_run(run, small_dataset, checkpoint="last").logits, expected.logits)


def test_a_run_that_did_not_note_its_pictures_needs_its_dataset(interrupted, small_dataset, tmp_path) -> None:
    run = tmp_path / "run"
    shutil.copytree(interrupted, run)
    text = (run / "config.toml").read_text()
    head, _, rest = text.partition("[pictures]\n")
    older = head.replace(f'dataset = "{Run(run).config.dataset}"', f'dataset = "{small_dataset.path}"')
    (run / "config.toml").write_text(older + rest[rest.index("\n[") :])
    assert Run(run).config.pictures is None
    assert np.array_equal(evaluate_run(run).logits, evaluate_run(interrupted).logits)


def test_best_last_and_steps(finished, capsys) -> None:
    run, scores = finished
    best = max(scores, key=lambda step: (scores[step], -step))
    last = max(scores)
    assert best != last
    for which, step in (("best", best), ("last", last), (str(best), best)):
        assert as_json(capsys, run, "--split", "validation", "--checkpoint", which)["accuracy"] == scores[step]
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(run), "--checkpoint", "7777"])
    assert left.value.code == 5 and "no checkpoint of step 7777" in capsys.readouterr().err


@pytest.fixture
def folder(small_dataset, tmp_path) -> Path:
    """Sixty pictures, a sub-folder for each class, no splits."""
    split = small_dataset.split("test")
    for position in range(60):
        place = tmp_path / "photos" / small_dataset.classes[split.labels[position]]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(split.picture(position)[..., 0]).save(place / f"{position}.png")
    return tmp_path / "photos"


def test_all_of_a_folder_without_splits_is_judged_and_said(
    interrupted, small_dataset, folder, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["evaluate", str(interrupted), "photos", "--json"])
    said = capsys.readouterr()
    plain = json.loads(said.out)
    assert (plain["total"], plain["split"]) == (60, "all")
    assert "photos has no splits of its own: all of its 60 pictures are judged" in said.err
    by_run = evaluate_run(interrupted, small_dataset)
    right = int(by_run.right[:60].sum())
    assert plain["correct"] == right
    main(["evaluate", str(interrupted), "photos"])
    assert "of 60; 95 % interval" in capsys.readouterr().out
    main(["evaluate", str(interrupted), "photos", "--split", "test", "--json"])
    said = capsys.readouterr()
    assert json.loads(said.out)["total"] < 20
    assert "test is drawn: " in said.err and "--split all" in said.err


def test_a_dataset_and_a_source_with_splits_have_their_test(small_dataset, folder, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    notes: list[str] = []
    assert judged_on(small_dataset.path, None, notes.append)[1] == "test"
    assert judged_on(small_dataset, "train", notes.append)[1] == "train" and notes == []
    for number, name in enumerate(("train", "test")):
        for label in folder.iterdir():
            for path in sorted(label.iterdir())[number::2]:
                place = tmp_path / "split" / name / label.name
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, place)
    dataset, split = judged_on("split", None, notes.append)
    assert split == "test" and isinstance(dataset, Dataset) and not any("judged" in note for note in notes)


def test_a_source_of_test_pictures_alone_is_judged_and_not_trained_on(
    interrupted, folder, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path / "exam" / "test")
    main(["evaluate", str(interrupted), "exam", "--json"])
    said = capsys.readouterr()
    assert json.loads(said.out)["total"] == 60
    with pytest.raises(DatasetError, match="no picture to train on, only .*test pictures"):
        train("exam", out="run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_runs_are_compared_on_all_of_a_folder(interrupted, finished, folder, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished[0], tmp_path / "other")
    assert compare_runs([interrupted, tmp_path / "other"], source="photos").evaluations["run"].total == 60
    main(["compare", str(interrupted), "other", "--source", "photos"])
    assert "2 runs on the same 60 pictures" in capsys.readouterr().out


def test_nothing_is_built_for_a_run_that_is_not_there(folder, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["evaluate", "nowhere", "photos"])
    assert "nowhere" in capsys.readouterr().err
    assert not (tmp_path / "datasets").exists()
