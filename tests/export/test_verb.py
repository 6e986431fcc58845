"""`deeper export` as it is typed, and its report."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

from tests.export.test_exporting import RUNNABLE


def test_the_verb(exported_run, run_deeper, tmp_path) -> None:
    ran = run_deeper(
        "export", exported_run, "--to", "onnx,openvino-int8", "--out", tmp_path / "out", "--report", "--json"
    )
    assert ran.returncode == 0, ran.stderr
    plain = json.loads(ran.stdout)
    assert [one["format"] for one in plain["exports"]] == ["onnx", "openvino-int8"]
    # The exports that were made, not those that lie beside the run.
    assert [(row["engine"], row["precision"]) for row in plain["report"]] == [
        ("torch", "fp32"),
        ("onnx", "fp32"),
        ("openvino", "int8"),
    ]
    for row in plain["report"]:
        assert row["latency"] > 0 and row["throughput"] > 0 and row["pictures"] == 150 and row["accuracy"] > 0.5
    ran = run_deeper("export", exported_run, "--report", "--limit", 20, "--json")
    rows = json.loads(ran.stdout)["report"]
    assert [(row["engine"], row["precision"]) for row in rows] == [
        ("torch", "fp32"),
        *RUNNABLE,
        ("torch-export", "fp32"),
    ]
    assert rows[-1]["largest_difference"] <= 1e-4 and rows[-1]["changed"] == 0
    ran = run_deeper("export", exported_run, "--to", "onnx", "--out", tmp_path / "again", "--report", "--limit", 20)
    assert ran.returncode == 0 and "onnx fp32" in ran.stdout and "20 validation pictures" in ran.stdout
    assert f"{tmp_path / 'again' / 'onnx'}: " in ran.stdout
    # What cannot be judged is said before anything is made.
    for place, words, code in (
        (exported_run / "bundle", (), 5),
        (exported_run, ("--split", "nope"), 4),
        (exported_run, ("--limit", 0), 2),
    ):
        ran = run_deeper("export", place, "--to", "onnx", "--out", tmp_path / "third", "--report", *words)
        assert ran.returncode == code and not (tmp_path / "third").exists(), ran.stderr
    for words, code in (
        ((exported_run,), 2),
        ((exported_run, "--to", "tflite"), 2),
        ((Path("nowhere"), "--to", "onnx"), 6),
    ):
        ran = run_deeper("export", *words)
        assert ran.returncode == code and len(ran.stderr.strip().splitlines()) == 1, ran.stderr


def test_a_report_leaves_out_what_cannot_run(exported_run, tmp_path, run_deeper) -> None:
    shutil.copytree(exported_run, tmp_path / "run")
    config = (tmp_path / "run" / "config.toml").read_text()
    dataset = tomllib.loads(config)["dataset"]
    (tmp_path / "run" / "config.toml").write_text(config.replace(dataset, str((exported_run / dataset).resolve())))
    with open(tmp_path / "run" / "exports" / "torch-export" / "model.pt2", "ab") as file:
        file.write(b"x")
    ran = run_deeper("export", tmp_path / "run", "--report", "--limit", 20, "--json")
    rows = json.loads(ran.stdout)["report"]
    assert ran.returncode == 0 and [(row["engine"], row["precision"]) for row in rows] == [("torch", "fp32"), *RUNNABLE]
    assert "left out: " in ran.stderr and "torch-export" in ran.stderr


def test_a_python_that_is_not_there_is_a_wrong_option(exported_run, tmp_path, run_deeper) -> None:
    words = ("--to", "savedmodel", "--out", tmp_path / "out", "--tensorflow-python", "/no/such/python")
    ran = run_deeper("export", exported_run, *words)
    assert ran.returncode == 2 and "--tensorflow-python /no/such/python: no such file" in ran.stderr
