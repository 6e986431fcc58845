"""A run's folder is its own: reserved at once, held by one process, and never somebody else's."""

from __future__ import annotations

import pytest

from deeper.cli import main
from deeper.errors import RunError, UsageError
from deeper.runs import Run, resume, train
from deeper.runs.place import held, reserved

QUICK = {"batch": 50, "precision": "fp32", "report_every": 4}


def test_two_unnamed_runs_at_once_get_two_folders(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with reserved(None, "digits-nielsen-fast") as one, reserved(None, "digits-nielsen-fast") as two:
        assert [one.name, two.name] == ["digits-nielsen-fast", "digits-nielsen-fast-2"]
        (one / "config.toml").write_text("")
    assert one.is_dir() and not two.exists(), "a folder in which nothing was begun goes again"


def test_a_run_that_fails_before_it_begins_leaves_no_folder(small_dataset, tmp_path) -> None:
    with pytest.raises(UsageError, match="no device"):
        train(small_dataset, out=tmp_path / "runs" / "new", epochs=1, quiet=True, options=QUICK, device="none")
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_of_other_files_is_refused_and_left_alone(small_dataset, tmp_path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "metrics.jsonl").write_text("my own notes\n")
    with pytest.raises(
        RunError, match=r"notes is no run and not empty \(metrics.jsonl lies in it\); give another --out"
    ):
        train(small_dataset, out=notes, epochs=1, quiet=True, options=QUICK)
    assert [path.name for path in notes.iterdir()] == ["metrics.jsonl"]
    assert (notes / "metrics.jsonl").read_text() == "my own notes\n"


def test_an_empty_folder_will_do(small_dataset, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    assert train(small_dataset, out=tmp_path / "empty", epochs=1, quiet=True, options=QUICK).reason == "done"
    with pytest.raises(RunError, match="already holds a run; go on with it by `deeper train --resume"):
        train(small_dataset, out=tmp_path / "empty", epochs=1, quiet=True, options=QUICK)


def test_a_run_that_is_training_is_not_resumed_beside_it(small_dataset, tmp_path, capsys) -> None:
    out = tmp_path / "run"
    tried = []

    def resume_beside(event) -> None:
        if not tried:
            with pytest.raises(SystemExit) as left:
                main(["train", "--resume", str(out)])
            tried.append(left.value.code)

    train(small_dataset, out=out, epochs=1, quiet=True, options=QUICK, handlers=[resume_beside])
    assert tried == [RunError.exit_code]
    errors = capsys.readouterr().err
    assert "is being trained by another process; wait until that has ended" in errors
    assert errors.count("\n") == 1
    assert Run(out).steps()[-1] == 12
    with held(out), pytest.raises(RunError, match="being trained by another process"):
        resume(out, quiet=True)
    assert resume(out, quiet=True).step == 12


def test_what_a_killed_process_was_writing_is_cleared_away(small_dataset, tmp_path) -> None:
    out = tmp_path / "run"
    train(small_dataset, out=out, epochs=1, quiet=True, options=QUICK)
    dead = 2**22 + 1  # beyond any process number of Linux
    (out / "checkpoints" / f".step-00000099.partial-{dead}").mkdir()
    (out / f".bundle.partial-{dead}").mkdir()
    (out / f".config.toml.partial-{dead}").write_text("half")
    resume(out, quiet=True)
    assert [path.name for path in out.rglob(".*")] == []
