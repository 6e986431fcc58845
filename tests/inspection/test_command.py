"""`deeper inspect` as people call it."""

from __future__ import annotations

import json
import shutil

import pytest

from deeper import cli
from deeper.inspection import inspecting
from deeper.runs import Run


@pytest.fixture(autouse=True)
def quick_judge(monkeypatch, judge):
    monkeypatch.setattr(inspecting, "judge_for", lambda dataset, progress, notice: judge)
    # Wide enough that no cell of the table is wrapped.
    monkeypatch.setenv("COLUMNS", "200")


def test_the_table_leads_with_the_planted_flip(flipped, tmp_path, capsys):
    cli.main(["inspect", str(flipped), "--split", "test", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "errors on test of" in printed
    assert printed.index("horizontal flip with probability") < printed.index("translation by up to")
    assert "diagnosis only: choosing by this spends the test set" in printed
    assert (tmp_path / "out" / "inspection.json").is_file() and not (tmp_path / "out" / "policy.toml").exists()
    assert "--policy" not in printed
    assert "<!doctype html>" in (tmp_path / "out" / "report.html").read_text()[:20]


def test_one_json_object(flipped, tmp_path, capsys):
    cli.main(["inspect", str(flipped), "--json", "--out", str(tmp_path / "out"), "--against", str(flipped)])
    plain = json.loads(capsys.readouterr().out)
    assert plain["verdicts"][0]["distortion"] == "horizontal_flip" and plain["verdicts"][0]["accused"]
    assert plain["split"] == "validation" and plain["against"]["p_value"] == 1
    assert plain["policy_path"] == str(tmp_path / "out" / "policy.toml")


def test_a_name_that_ends_in_html_is_the_reports(flipped, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "copy"
    shutil.copytree(flipped / "bundle", run)
    report = tmp_path / "thesis" / "why.html"
    words = ["inspect", str(run), str(Run(flipped).dataset().path), "--out", str(report)]
    cli.main(words)
    assert report.is_file() and "<!doctype html>" in report.read_text()[:20]
    assert (tmp_path / "reports" / "copy" / "decision" / "inspection.json").is_file()
    assert len(list(run.iterdir())) == 3, "a bundle is three files and nothing else"
    assert f"written: {report}, " in capsys.readouterr().out
    # Again: it is a report of ours. Something else is not.
    cli.main(words)
    report.write_text("mine")
    with pytest.raises(SystemExit):
        cli.main(words)
    assert "no report of ours" in capsys.readouterr().err and report.read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["nowhere"], "does not exist", 6),
        (["RUN", "--steps", "10"], "--steps goes with --ablate", 2),
        (["RUN", "--ablate", "verticl_flip"], "not trained with it", 2),
        (["RUN", "--split", "valdation"], "did you mean 'validation'", 2),
    ],
)
def test_what_cannot_be_meant_is_one_line(flipped, words, message, code, capsys):
    words = [str(flipped) if word == "RUN" else word for word in words]
    with pytest.raises(SystemExit) as stopped:
        cli.main(["inspect", *words])
    error = capsys.readouterr().err.strip()
    assert stopped.value.code == code
    assert message in error and "\n" not in error
