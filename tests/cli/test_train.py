"""`deeper train` as it is typed: series, their interrupts, and words that cannot be meant."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from deeper.cli import main
from deeper.cli.assignments import assigned
from deeper.records import BuildOptions, build, open_source
from deeper.runs import Run
from deeper.runs.interrupts import Interrupts
from deeper.training.options import NOTHING

QUICK = ["--model", "nielsen", "--epochs", "1", "--batch", "50", "--precision", "fp32", "--workers", "1"]


def refused(words, capsys) -> tuple[int, str]:
    """Exit code and the one line of a command that is refused."""
    with pytest.raises(SystemExit) as left:
        main(["train", *map(str, words)])
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and errors.startswith("deeper train: "), errors
    return left.value.code, errors


REFUSED = {
    "no workers": (["--workers", "0"], "--workers: wanted 1 or more, got 0"),
    "fewer than no workers": (["--workers", "-1"], "--workers: wanted 1 or more, got -1"),
    "no seeds": (["--seeds", "0"], "--seeds: wanted at least 2, got 0"),
    "a fold": (["--folds", "1"], "--folds: wanted at least 2, got 1"),
    "no folds": (["--folds", "0"], "--folds: wanted at least 2, got 0"),
    "endless epochs": (["--epochs", "inf"], "epochs must be a finite number, got inf"),
    "epochs that are no number": (["--epochs", "nan"], "epochs: wanted float, got nan"),
    "endless minutes": (["--minutes", "inf"], "minutes must be a finite number, got inf"),
    "too large a number": (["--set", "epochs=1e400"], "epochs must be a finite number, got inf"),
    "an endless pause": (["--set", "validate_every=1e400"], "validate_every must be a finite number"),
    "an endless rate": (["--rate", "inf"], "rate must be above 0 and finite"),
    "a network among the options": (["--set", "model=inception_v3"], "--set model=inception_v3: use --model"),
    "a recipe among the options": (["--set", "recipe=best"], "--set recipe=best: use --recipe"),
    "seeds from two places": (
        ["--seeds", "3", "--set", "seed=5"],
        "--set seed with --seeds: give the first of them by",
    ),
    "a flag and --set that contradict": (
        ["--batch", "8", "--set", "batch=4"],
        "--set batch=4, and a flag says 8: give the one that should decide",
    ),
    "epochs beside minutes": (["--epochs", "1", "--set", "minutes=0.2"], "both epochs and minutes were given"),
    "minutes beside epochs": (["--minutes", "0.2", "--set", "epochs=3"], "both epochs and minutes were given"),
    "frozen random layers": (
        ["--freeze-until", "conv2"],
        "--freeze-until conv2: there is nothing to keep in random weights",
    ),
    "a head alone on random layers": (["--freeze-epochs", "2"], "there is nothing to keep in random weights"),
    "frozen random statistics": (["--batch-norm", "frozen"], "there is nothing to keep in random weights"),
    "null for what must be there": (["--set", "batch=null"], "options.batch: wanted int, got None"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_meant_is_one_line(case, small_dataset, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words, part = REFUSED[case]
    code, line = refused([small_dataset.path, *words, "--out", tmp_path / "run"], capsys)
    assert code == 2 and part in line, line
    assert list(tmp_path.iterdir()) == []


def test_null_is_not_what_was_not_given() -> None:
    given = assigned(["clip_norm=null", "epochs=3", "recalibrate=never", 'arguments={"hidden": 9}'])
    assert given == {"clip_norm": NOTHING, "epochs": 3, "recalibrate": "never", "arguments": {"hidden": 9}}


@pytest.mark.parametrize(
    "words",
    [
        ["--epochs", "3"],
        ["--minutes", "1"],
        ["--seed", "0"],
        ["--out", "elsewhere"],
        ["--set", "batch=3"],
        ["--no-audit"],
        ["--seeds", "3", "--distort", "rotation=5"],
    ],
)
def test_a_resume_takes_nothing_that_the_run_has_decided(words, tmp_path, capsys) -> None:
    code, line = refused(["--resume", tmp_path / "run", *words], capsys)
    assert code == 2
    assert f"leave out {', '.join(word for word in words if word.startswith('--'))}," in line


def test_seeds_and_folds_from_the_command_line(small_dataset, tmp_path, capsys) -> None:
    for words, names in (
        (["--seeds", "2", "--seed", "4"], ["seed-4", "seed-5"]),
        (["--folds", "2"], ["fold-0", "fold-1"]),
    ):
        out = tmp_path / words[0].strip("-")
        command = ["train", str(small_dataset.path), *QUICK, *words, "--out", str(out), "--json"]
        main(command)
        said = json.loads(capsys.readouterr().out)
        assert [one["run"] for one in said["runs"]] == names and said["complete"] is True
        assert said == json.loads((out / "summary.json").read_text())
        assert said["mean"] == pytest.approx(sum(one["accuracy"] for one in said["runs"]) / 2)
        assert [Run(out / name).steps()[-1] for name in names] == [Run(out / names[0]).config.steps] * 2
        main(command)  # all is done: the same again
        assert json.loads(capsys.readouterr().out) == said
    parts = [Run(tmp_path / "folds" / name).config.fold for name in ("fold-0", "fold-1")]
    assert [(part.index, part.count, part.drawn) for part in parts] == [(0, 2, "groups"), (1, 2, "groups")]
    main(["train", str(small_dataset.path), *QUICK, "--folds", "2", "--out", str(tmp_path / "folds")])
    assert "± " in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--seeds", "2"], ["--folds", "2"]])
def test_only_the_first_run_of_a_series_is_fitted_into_the_minutes(
    small_dataset, tmp_path, capsys, monkeypatch, words
) -> None:
    fitted = []

    def within(*_: object, **__: object) -> tuple[int]:
        fitted.append(7 + len(fitted))
        return (fitted[-1],)

    monkeypatch.setattr("deeper.runs.work.steps_within", within)
    command = ["train", str(small_dataset.path), *QUICK, *words, "--out", str(tmp_path / "series"), "--json"]
    command[command.index("--epochs") : command.index("--epochs") + 2] = ["--minutes", "0.5"]
    main(command)
    names = [one["run"] for one in json.loads(capsys.readouterr().out)["runs"]]
    assert [Run(tmp_path / "series" / name).config.steps for name in names] == [7, 7] and fitted == [7]
    if words[0] == "--seeds":  # one that is added before them goes by them too
        shutil.rmtree(tmp_path / "series" / "seed-0")
        other = ["0.6" if word == "0.5" else word for word in command]
        with pytest.raises(SystemExit) as left:
            main(other)
        assert left.value.code == 5 and "seed-1 was trained with another minutes" in capsys.readouterr().err
        assert not (tmp_path / "series" / "seed-0").exists()
        main(command)
        assert Run(tmp_path / "series" / "seed-0").config.steps == 7 and fitted == [7]


def test_a_taken_place_in_a_series_is_told_before_anything_is_built(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "out" / "seed-0").mkdir(parents=True)
    (tmp_path / "out" / "seed-0" / "thesis.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    code, line = refused(["digits", *QUICK, "--seeds", "2", "--out", "out"], capsys)
    assert code != 0 and "seed-0" in line and not (tmp_path / "datasets").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_series_interrupted_in_its_first_run_says_so_and_goes_on(
    small_dataset, tmp_path, capsys, monkeypatch, number, as_json
) -> None:
    command = ["train", str(small_dataset.path), *QUICK, "--seeds", "2", "--out", str(tmp_path / "series")]
    command += ["--json"] if as_json else []

    def asked(self) -> bool:
        Interrupts.received = number
        return True

    with monkeypatch.context() as patch:
        patch.setattr(Interrupts, "asked", asked)
        with pytest.raises(SystemExit) as left:
            main(command)
    assert left.value.code == 128 + number
    said = capsys.readouterr().out
    if as_json:
        assert json.loads(said) == {"runs": [], "mean": None, "deviation": None, "complete": False}
    else:
        assert "the same command goes on" in said
    if not as_json and number == signal.SIGINT:
        main(command)
        assert "mean" in capsys.readouterr().out


def noise(place: Path, *, validation: int = 10) -> Path:
    """Forty pictures of noise to train on, in two classes that nothing tells apart."""
    generator = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 40), ("validation", validation), ("test", 10)):
        if count:
            pictures = generator.integers(0, 256, (count, 12, 12), dtype=np.uint8)
            arrays[split] = (pictures, [f"class {number % 2}" for number in range(count)])
    build(open_source(arrays), place, options=BuildOptions(workers=1, validation=0))
    return place


def test_early_stopping_as_it_is_typed(tmp_path, capsys) -> None:
    words = ["--model", "nielsen", "--epochs", "60", "--early-stopping", "2", "--set", "validate_every=1", "--json"]
    main(["train", str(noise(tmp_path / "noise")), *words, "--out", str(tmp_path / "run")])
    said = json.loads(capsys.readouterr().out)
    config = Run(tmp_path / "run").config
    assert said["reason"] == "early" and said["step"] < config.steps
    assert config.options.early_stopping == 2 and config.options.keep_best


def test_without_validation_pictures_nothing_is_trained_for_nothing(tmp_path, capsys) -> None:
    dataset = noise(tmp_path / "noise", validation=0)
    for words, code, message in (
        (["--seeds", "2"], 5, "a series needs validation pictures to compare by; build the dataset with --validation"),
        (["--early-stopping", "3"], 2, "has no validation pictures, by which early stopping decides; build it with"),
    ):
        left, line = refused([dataset, *QUICK, *words, "--out", tmp_path / "run"], capsys)
        assert left == code and message in line
    assert not (tmp_path / "run").exists()


def test_json_leaves_warnings_on_standard_error(tmp_path, capfd) -> None:
    main(
        [
            "train",
            str(noise(tmp_path / "noise")),
            *QUICK,
            "--distort",
            "horizontal_flip",
            "--out",
            str(tmp_path / "run"),
            "--json",
        ]
    )
    said = capfd.readouterr()
    assert json.loads(said.out)["reason"] == "done"
    notes = said.err.splitlines()
    assert all(line.startswith("note: ") for line in notes), "no progress"
    assert any("checking which classes can bear it" in line for line in notes)
    assert any("training on 40 pictures" in line for line in notes)


def test_a_run_may_have_a_name_that_is_no_utf8(tmp_path, run_deeper) -> None:
    dataset, run = noise(tmp_path / "noise"), os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    done = run_deeper("train", dataset, *QUICK, "--out", run)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert "run: " in done.stdout and "caf\\udce9" in done.stdout
    assert Run(run).steps() == [1]


def test_what_config_toml_cannot_hold_is_refused_before_the_first_step(tmp_path, capsys) -> None:
    dataset = noise(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")))
    with pytest.raises(SystemExit) as left:
        main(["train", str(dataset), *QUICK, "--out", str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert left.value.code == 5 and "config.toml would hold dataset = " in said and "rename that" in said
    assert not (tmp_path / "run").exists()
