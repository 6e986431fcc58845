"""A run's mistakes as suspects for `deeper review`."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from deeper import cli
from deeper.errors import DatasetError
from deeper.inspection.mistakes import JUDGED, find_mistakes
from deeper.inspection.suspects import SUSPECTS
from deeper.records import BuildOptions, build, open_source
from deeper.review import open_session
from deeper.runs import Fold, Run, evaluate_run, train
from deeper.runs.pictures import fold_members
from tests.inspection.conftest import QUICK
from tests.inspection.glyphs import letters


@pytest.fixture(scope="module")
def found(flipped):
    return find_mistakes(flipped)


def test_all_mistakes_and_nothing_else_the_surest_first(flipped, found):
    run = Run(flipped)
    wanted = {}
    for split in JUDGED:
        if run.dataset().info.splits[split].count:
            for mistake in evaluate_run(run, split=split).mistakes:
                wanted[mistake.id] = (split, mistake.label, mistake.predicted)
    assert {one.id: (one.split, one.given, one.suggested) for one in found.suspects} == wanted
    assert all(one.reasons == ("mistake",) and 0.5 <= one.confidence <= 1 for one in found.suspects)
    confidences = [one.confidence for one in found.suspects]
    assert confidences == sorted(confidences, reverse=True)
    assert found.judge_accuracy == pytest.approx(1 - len(wanted) / found.pictures)


def test_neighbours_are_others_nearest_first_with_their_own_labels(flipped, found):
    dataset = Run(flipped).dataset()
    labels = {
        (name, identifier): dataset.classes[label]
        for name in dataset.info.splits
        for identifier, label in zip(dataset.split(name).ids, dataset.split(name).labels, strict=True)
    }
    for one in found.suspects:
        assert one.neighbours and all((near.split, near.id) != (one.split, one.id) for near in one.neighbours)
        assert all(labels[near.split, near.id] == near.label for near in one.neighbours)
        distances = [near.distance for near in one.neighbours]
        assert distances == sorted(distances) and distances[0] >= 0
    # Near means alike: pictures drawn at random share the class of one in eight.
    shared = [near.label in (one.given, one.suggested) for one in found.suspects for near in one.neighbours]
    assert np.mean(shared) > 0.5


def test_only_so_many(flipped, found):
    some = find_mistakes(flipped, limit=3)
    assert [one.id for one in some.suspects] == [one.id for one in found.suspects[:3]]


def test_review_of_a_run_goes_from_its_mistakes_to_its_session(flipped, found, tmp_path):
    found.write(tmp_path / "labels")
    suspects = tmp_path / "labels" / SUSPECTS
    rows = list(csv.DictReader(suspects.read_text().splitlines()))
    assert [row["id"] for row in rows] == [one.id for one in found.suspects]
    assert {row["reason"] for row in rows} == {"mistake"}
    session = open_session(flipped, suspects=suspects, corrections=tmp_path / "corrections.csv")
    assert [one.id for one in session.suspects] == [one.id for one in found.suspects] and not session.missing
    # Where no file is named, decisions about a run's mistakes go to its dataset.
    assert open_session(flipped, suspects=suspects).corrections.path.parent == Run(flipped).dataset().path


def test_the_verb_finds_the_mistakes_first(flipped, monkeypatch, capsys):
    from deeper.review import ReviewServer

    def interrupted(self, poll_interval):
        raise KeyboardInterrupt

    monkeypatch.setattr(ReviewServer, "serve_forever", interrupted)
    cli.main(["review", str(flipped), "--port", "0", "--no-browser"])
    printed = capsys.readouterr()
    assert "reading the pictures with" in printed.err
    assert (flipped / "labels" / SUSPECTS).is_file()
    assert " suspects, " in printed.out and "corrections.csv" in printed.out and "http://" in printed.out
    # Listed once, until the run goes on: then they would be another network's.
    cli.main(["review", str(flipped), "--port", "0", "--no-browser"])
    assert "reading the pictures with" not in capsys.readouterr().err
    (flipped / "bundle" / "bundle.json").touch()
    cli.main(["review", str(flipped), "--port", "0", "--no-browser"])
    printed = capsys.readouterr()
    assert "the run went on since its mistakes were listed: they are looked for again" in printed.out
    assert "reading the pictures with" in printed.err


def test_of_a_fold_what_it_held_out(lettered, tmp_path):
    options = {**QUICK, "validate_every": 3, "checkpoint_every": 3}
    fold = Fold(index=0, count=3)
    train(lettered, out=tmp_path / "fold", epochs=3, fold=fold, no_distort=("all",), options=options, quiet=True)
    found = find_mistakes(tmp_path / "fold")
    splits = [lettered.split("train"), lettered.split("validation")]
    held = fold_members(splits, fold)
    ids = [identifier for split in splits for identifier in split.ids]
    allowed = {identifier for identifier, mine in zip(ids, held) if mine} | set(lettered.split("test").ids)
    assert found.pictures == len(allowed) and {one.id for one in found.suspects} <= allowed
    assert any(one.split == "train" for one in found.suspects) and "its fold held out" in found.judge


def test_a_run_without_mistakes_has_nothing_to_review(flipped, tmp_path, capsys):
    nothing = tmp_path / "suspects.csv"
    nothing.write_text("id,split,given,suggested,confidence,reason,detail\n")
    cli.main(["review", str(flipped), "--suspects", str(nothing)])
    assert "nothing to review" in capsys.readouterr().out


def test_no_picture_that_the_run_did_not_learn(tmp_path):
    pictures, names = letters(10, seed=0)
    build(open_source((pictures, names)), tmp_path / "data", options=BuildOptions(workers=1, validation=0, test=0))
    options = {**QUICK, "validate_every": 1, "checkpoint_every": 1}
    train(tmp_path / "data", out=tmp_path / "run", epochs=1, no_distort=("all",), options=options, quiet=True)
    with pytest.raises(DatasetError, match="no validation or test picture .* --validation 0.1"):
        find_mistakes(tmp_path / "run")
