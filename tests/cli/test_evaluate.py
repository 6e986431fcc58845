"""`deeper evaluate` and `deeper compare` as processes, on bundles and a small dataset."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from deeper.cli import main
from deeper.inspection.suspects import Doubts, Suspect
from deeper.prediction import Classifier
from deeper.records import BuildOptions, Dataset, build, open_source
from deeper.runs import evaluate_run
from tests.sample_network import CLASSES, digits, network, write

HOSTILE = (
    "<script>alert(1)</script>",
    "a\nb",
    "[red]x[/red]",
    ":smile:",
    "é 漢字",
    "y" * 3000,
    "$x$",
    "%&_#",
    "~^\\",
    "9",
)


def dataset(folder: Path, names: tuple[str, ...]) -> Path:
    arrays = {}
    for split, count in (("train", 40), ("test", 120)):
        images, labels = digits(split, count)
        arrays[split] = (images[..., 0], [names[label] for label in labels])
    build(open_source(arrays), folder, options=BuildOptions(workers=1, validation=0))
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("judged")
    dataset(folder / "plain", CLASSES)
    dataset(folder / "hostile", HOSTILE)
    write(folder / "good")
    weights = network().state_dict()
    last = weights["logits.weight"]
    last.add_(last.std() * torch.randn(last.shape, generator=torch.Generator().manual_seed(0)))
    write(folder / "worse $1$", weights=weights)
    write(folder / "named", classes=HOSTILE)
    return folder


def test_the_report_for_people(run_deeper, place):
    done = run_deeper("evaluate", place / "good", place / "plain", "--errors", "3")
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert " % (" in text and "of 120; 95 % interval" in text and "balanced accuracy" in text
    assert "most confused" in text and "calibration error" in text and "3 surest of" in text and "next:" in text
    listed = json.loads(run_deeper("evaluate", place / "good", place / "plain", "--json").stdout)["errors"]
    assert sum(one["id"] in text for one in listed) >= min(3, len(listed)) > 0


def test_the_json_says_the_same(run_deeper, place):
    done = run_deeper("evaluate", place / "good", place / "plain", "--json")
    plain = json.loads(done.stdout)
    assert {"accuracy", "correct", "total", "interval", "per_class", "errors"} <= set(plain)
    assert plain["total"] == 120 and plain["correct"] == 120 - len(plain["errors"]) == round(plain["accuracy"] * 120)
    assert [one["class"] for one in plain["per_class"]] == list(CLASSES)
    assert plain["split"] == "test"


def test_hostile_class_names_are_inert(run_deeper, place):
    done = run_deeper("evaluate", place / "named", place / "hostile", "--errors", "100")
    assert done.returncode == 0, done.stderr
    assert "[red]x[/red]" in done.stdout and ":smile:" in done.stdout and "a\\nb" in done.stdout
    assert "y" * 200 not in done.stdout
    plain = json.loads(run_deeper("evaluate", place / "named", place / "hostile", "--json").stdout)
    assert set(plain["classes"]) == set(HOSTILE)


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["good"], 2, ["is a bundle", "dataset"]),
        (["nowhere", "plain"], 6, ["nowhere", "does not exist"]),
        (["good", "plain", "--split", "tset"], 4, ["tset"]),
        (["good", "plain", "--split", "validation"], 4, ["validation"]),
        (["good", "hostile"], 2, ["does not know"]),
        (["good", "plain", "--checkpoint", "last"], 5, ["no checkpoints"]),
        (["good", "plain", "--errors", "-1"], 2, ["--errors"]),
    ],
)
def test_one_clear_line(capsys, place, words, code, parts):
    words = [place / word if word in ("good", "nowhere", "plain", "hostile") else word for word in words]
    with pytest.raises(SystemExit) as exited:
        main(["evaluate", *map(str, words)])
    errors = capsys.readouterr().err
    assert exited.value.code == code, errors
    assert len(errors.strip().splitlines()) == 1
    for part in parts:
        assert part in errors


def test_compare(run_deeper, place, tmp_path):
    words = ("compare", place / "good", place / "worse $1$", "--source", place / "plain")
    done = run_deeper(*words, "--figure", tmp_path / "figure.svg", "--latex", tmp_path / "table.tex")
    assert done.returncode == 0, done.stderr
    assert "good is better than worse $1$" in done.stdout and "p = " in done.stdout
    assert "worse $1$" in (tmp_path / "figure.svg").read_text()
    assert "worse \\$1\\$" in (tmp_path / "table.tex").read_text()
    plain = json.loads(run_deeper(*words, "--json").stdout)
    assert [one["run"] for one in plain["runs"]] == ["good", "worse $1$"]
    assert plain["pairs"][0]["differs"] is True and plain["pairs"][0]["difference"] > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["good"], "at least two"),
        (["good", "good"], "named twice"),
        (["good", "worse $1$", "--figure", "x.jpg"], ".svg, .pdf or .png"),
    ],
)
def test_comparisons_that_cannot_be(capsys, place, words, message):
    words = [place / word if word in ("good", "worse $1$") else word for word in words]
    with pytest.raises(SystemExit) as exited:
        main(["compare", *map(str, words)])
    errors = capsys.readouterr().err
    assert exited.value.code == 2 and message in errors and len(errors.strip().splitlines()) == 1


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "toaster"])
@pytest.mark.parametrize("verb", ["evaluate", "compare", "inspect"])
def test_a_device_that_is_not_there_is_one_line(capsys, place, verb, device, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [place / "good", *([place / "named"] if verb == "compare" else [])]
    source = ["--source", place / "plain"] if verb == "compare" else [place / "plain"]
    with pytest.raises(SystemExit) as left:
        main([verb, *map(str, runs), *map(str, source), "--device", device])
    errors = capsys.readouterr().err
    assert left.value.code == 2 and errors.count("\n") == 1 and device in errors


def test_probabilities_are_those_that_predict_gives(place, tmp_path):
    write(tmp_path / "unsure", temperature=3.0)
    evaluation = evaluate_run(tmp_path / "unsure", place / "plain")
    plain = evaluate_run(place / "good", place / "plain")
    split = Dataset(place / "plain").split("test")
    classifier = Classifier(tmp_path / "unsure", device="cpu")
    given = classifier([split.picture(position) for position in range(len(split))])
    np.testing.assert_allclose(evaluation.confidence, [one.probability for one in given], rtol=1e-5)
    assert evaluation.accuracy == plain.accuracy and evaluation.calibration_error != plain.calibration_error
    assert evaluation.negative_log_likelihood != plain.negative_log_likelihood
    assert (evaluation.summary()["temperature"], plain.summary()["temperature"]) == (3.0, 1.0)


def test_the_command_for_all_errors_judges_the_same(run_deeper, place):
    done = run_deeper("evaluate", place / "good", place / "plain", "--split", "train", "--errors", "0")
    command = next(line.strip() for line in done.stdout.splitlines() if "--json" in line)
    assert f"{place / 'plain'} --split train --json" in command


@pytest.mark.parametrize("verb", ["evaluate", "inspect", "predict", "compare"])
def test_a_series_is_told_from_a_run(capsys, place, verb, tmp_path):
    """Made by `deeper train --folds`: a folder of runs, of which one is meant."""
    for number in range(4):
        (tmp_path / "folds" / f"fold-{number}").mkdir(parents=True)
        (tmp_path / "folds" / f"fold-{number}" / "config.toml").write_text("")
    more = {"predict": ["x.png"], "compare": [place / "good", "--source", place / "plain"]}.get(verb, [place / "plain"])
    with pytest.raises(SystemExit) as left:
        main([verb, str(tmp_path / "folds"), *map(str, more)])
    errors = capsys.readouterr().err
    assert left.value.code == 6 and errors.count("\n") == 1
    assert f"a series of runs, fold-0, fold-1, fold-2, …: name one, as {tmp_path / 'folds' / 'fold-0'}" in errors


def test_leaks_of_another_dataset_are_no_matter_of_this_run(run_deeper, place, tmp_path):
    """What lies in two of its splits was learned by nobody who never saw it."""
    found = Suspect(id="a", split="test", given="1", confidence=0.5, reasons=("leak",))
    shutil.copytree(place / "plain", tmp_path / "other")
    Doubts(source="", dataset_hash="", pictures=9, judge="", judge_accuracy=1.0, weak=False, suspects=(found,)).write(
        tmp_path / "other" / "labels"
    )
    done = run_deeper("evaluate", place / "good", tmp_path / "other")
    assert done.returncode == 0 and "in another split too" not in done.stdout
    # The same, of a network that says that it was trained there.
    own = {"name": "other", "hash": Dataset(tmp_path / "other").info.hash, "counts": {"train": 40}}
    write(tmp_path / "own", dataset=own)
    done = run_deeper("evaluate", tmp_path / "own", tmp_path / "other")
    assert done.returncode == 0 and "1 of these pictures lie in another split too" in done.stdout
