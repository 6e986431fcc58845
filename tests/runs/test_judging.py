"""Judging what a run has become: interrupted, by its checkpoints, without its dataset, on other people's folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from deeper import bundle
from deeper.cli import main
from deeper.errors import DatasetError, UsageError
from deeper.records import BuildOptions, Dataset, Split, build, open_source
from deeper.records import info as dataset_info
from deeper.runs import Fold, Run, compare_runs, evaluate_run, judged_on, train
from deeper.runs.interrupts import Interrupts
from deeper.runs.judging import learned_of
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


def photograph(split: Split, positions: Iterable[int], place: Path) -> None:
    """Write some pictures as files, a sub-folder for each class."""
    for position in positions:
        path = place / split.classes[split.labels[position]] / f"{position}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(split.picture(position)[..., 0]).save(path)


@pytest.fixture
def folder(small_dataset, tmp_path) -> Path:
    """Sixty pictures, a sub-folder for each class, no splits."""
    photograph(small_dataset.split("test"), range(60), tmp_path / "photos")
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


@pytest.fixture(scope="module")
def taught(small_dataset, tmp_path_factory) -> Path:
    """A folder that holds `photos`, 200 pictures without splits, and `first`, a run that was trained on them."""
    place = tmp_path_factory.mktemp("taught")
    photograph(small_dataset.split("train"), range(200), place / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        train("photos", epochs=1, out="first", quiet=True, options=QUICK)
    return place


def test_of_the_folder_that_it_was_trained_on_a_run_is_judged_on_test(taught, monkeypatch, capsys) -> None:
    monkeypatch.chdir(taught)
    tested = Run("first").dataset().info.splits["test"].count
    for place in ("first", "first/bundle"):
        plain = as_json(capsys, place, "photos")
        assert (plain["split"], plain["total"]) == ("test", tested)
    assert evaluate_run("first", "photos").total == tested
    main(["evaluate", "first", "photos"])
    said = capsys.readouterr().err
    assert f"first was trained on photos: only its test pictures are judged, {tested} of 200 (--split all: all)" in said
    assert "were trained on" not in said


def test_whoever_was_trained_on_a_folder_runs_are_compared_on_its_test(
    taught, interrupted, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(taught)
    tested = Run("first").dataset().info.splits["test"].count
    for runs in ([interrupted, "first"], ["first", interrupted]):
        found = compare_runs(runs, source="photos")
        assert {one.total for one in found.evaluations.values()} == {tested}
    main(["compare", str(interrupted), "first", "--source", "photos", "--json"])
    said = capsys.readouterr()
    assert json.loads(said.out)["split"] == "test" and "first was trained on photos" in said.err


def test_pictures_that_were_trained_on_are_counted(taught, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(taught)
    own = Run("first").dataset()
    counts = {name: one.count for name, one in own.info.splits.items()}
    everything = (
        f"{counts['train']} of these 200 pictures were trained on ({counts['validation']} more chose its weights)"
    )
    for words in (("first", "photos", "--split", "all"), ("first", "--split", "all")):
        main(["evaluate", *words])
        assert f"note: {everything}: first knows them better than new ones" in capsys.readouterr().err
    # Drawn anew, most of what is test now was trained on.
    build(open_source("photos"), tmp_path / "anew", options=BuildOptions(workers=1, seed=1))
    tested = Dataset(tmp_path / "anew").split("test").ids
    known = len(set(tested) & set(own.split("train").ids))
    assert known
    main(["evaluate", "first", str(tmp_path / "anew")])
    said = capsys.readouterr().err
    assert said.count("note: ") == 1 and f"note: {known} of these {len(tested)} pictures were trained on" in said


def test_a_name_that_was_trained_on_is_not_the_picture(taught, tmp_path, monkeypatch, capsys) -> None:
    split = Dataset(Run(taught / "first").dataset().path.resolve()).split("train")
    for position, identifier in enumerate(split.ids):
        picture = split.picture(position)[..., 0]
        path = tmp_path / "others" / identifier
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - picture if position % 2 else picture).save(path)
    monkeypatch.chdir(tmp_path)
    main(["evaluate", str(taught / "first"), "others"])
    said = capsys.readouterr().err
    count = len(split)
    assert f"all of its {count} pictures are judged" in said
    assert f"{(count + 1) // 2} of these {count} pictures were trained on: " in said


def test_a_fold_and_a_share_are_trained_on_a_part(small_dataset) -> None:
    def counts(**given) -> tuple[int, int]:
        run = SimpleNamespace(config=SimpleNamespace(**{"fold": None, "share": None, **given}))
        found = learned_of(run, small_dataset).values()
        assert not any((learned & chosen).any() for learned, chosen in found)
        return sum(int(one.sum()) for one, _ in found), sum(int(one.sum()) for _, one in found)

    assert counts() == (600, 150)
    assert counts(share=0.1) == (60, 150)
    trained, chosen = counts(fold=Fold(index=0, count=3))
    assert trained + chosen == 750 and abs(chosen - 250) < 10


def on_another(run: Path, dataset: Dataset, place: Path) -> Path:
    """A copy of a run that says that it was trained on `dataset`."""
    shutil.copytree(run, place)
    config = Run(run).config
    text = (place / "config.toml").read_text()
    text = text.replace(f'dataset = "{config.dataset}"', f'dataset = "{dataset.path}"')
    (place / "config.toml").write_text(text.replace(config.dataset_hash, dataset.info.hash))
    return place


def test_other_pictures_under_the_same_names_are_not_compared(taught, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(taught)
    for path in sorted(Path("photos").rglob("*.png")):
        inverted = tmp_path / "photos" / path.relative_to("photos")
        inverted.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - np.asarray(Image.open(path))).save(inverted)
    build(open_source(tmp_path / "photos"), tmp_path / "others", options=BuildOptions(workers=1))
    other = on_another(taught / "first", Dataset(tmp_path / "others"), tmp_path / "second")
    own, theirs = Run("first").dataset().split("test"), Run(other).dataset().split("test")
    assert sorted(own.ids) == sorted(theirs.ids), "else they would be refused by their names"
    with pytest.raises(UsageError, match=rf"{len(own)} pictures have the same names and are others, .*\(--source\)"):
        compare_runs(["first", other])
    assert compare_runs(["first", other], source="photos").pairs[0].difference == 0
    # Another dataset of the same pictures will do.
    shutil.copytree(Run("first").dataset().path, tmp_path / "again")
    dataset_info.save(tmp_path / "again", replace(dataset_info.load(tmp_path / "again"), seed=1))
    again = on_another(taught / "first", Dataset(tmp_path / "again"), tmp_path / "third")
    assert Run(again).config.dataset_hash != Run("first").config.dataset_hash
    assert compare_runs(["first", again], split="all").pairs[0].difference == 0
    main(["compare", "first", str(again)])
    assert f"2 runs on the same {len(own)} test pictures" in capsys.readouterr().out


def test_validation_of_a_fold_is_what_it_held_out(small_dataset, tmp_path, capsys) -> None:
    fold = Fold(index=0, count=3)
    made = train(small_dataset, epochs=1, out=tmp_path / "fold-0", quiet=True, options=QUICK, fold=fold)
    notes: list[str] = []
    found = evaluate_run(tmp_path / "fold-0", split="validation", notice=notes.append)
    assert found.ids == made.validation.ids and found.accuracy == made.validation.accuracy
    assert notes == [
        f"validation of {tmp_path}/fold-0 is what it held out: {found.total} of the 750 pictures of train and validation"
    ]
    # Named as a dataset, its splits are what they are everywhere else; of those it learned from that is said.
    whole = evaluate_run(tmp_path / "fold-0", small_dataset, split="validation", notice=notes.append)
    assert whole.total == 150 and "of these 150 pictures were trained on" in notes[1]
    evaluate_run(tmp_path / "fold-0", split="train", notice=notes.append)
    assert "of these 600 pictures were trained on" in notes[2]
    evaluate_run(tmp_path / "fold-0", notice=notes.append)
    assert len(notes) == 3
    shutil.copytree(tmp_path / "fold-0", tmp_path / "copy")
    main(["compare", str(tmp_path / "fold-0"), str(tmp_path / "copy"), "--split", "validation"])
    said = capsys.readouterr()
    assert f"2 runs on the same {found.total} validation pictures" in said.out
    assert said.err.count("is what it held out") == 2


def test_whoever_compares_is_told_what_was_trained_on(taught, interrupted, monkeypatch) -> None:
    monkeypatch.chdir(taught)
    notes: list[str] = []
    compare_runs([interrupted, "first"], source="photos", split="train", notice=notes.append)
    assert any("were trained on: first knows them better" in note for note in notes)
    notes.clear()
    compare_runs([interrupted, "first"], source="photos", notice=notes.append)
    assert any("first was trained on photos: only its test pictures are judged" in note for note in notes)


def test_features_are_kept_only_where_they_are_wanted(interrupted, finished, capsys, monkeypatch) -> None:
    kept = evaluate_run(interrupted)
    assert kept.features is not None and len(kept.features) == 150
    assert evaluate_run(interrupted, features=False).features is None
    copy = interrupted.parent / "copy"
    shutil.copytree(interrupted, copy)
    assert all(one.features is None for one in compare_runs([interrupted, copy]).evaluations.values())
