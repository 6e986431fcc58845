from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from deeper.cli import main
from tests.patience import patient


def test_it_answers_the_question(small_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["learn-curve", str(small_dataset.path), "--batch", "50", "--precision", "fp32", "--seeds", "1"]
    words += ["--epochs", "1", "--out", "curve"]
    main(words)
    printed = capsys.readouterr().out
    assert "would more photographs help? " in printed and "25 %" in printed
    main([*words, "--json"])
    plain = json.loads(capsys.readouterr().out)
    assert plain.pop("path") == "curve"
    assert plain == json.loads((tmp_path / "curve" / "learning-curve.json").read_text())
    assert [point["pictures"] for point in plain["points"]] == [150, 300, 600]
    assert plain["answer"]["verdict"] in ("yes", "hardly", "cannot tell")


def test_an_interrupted_curve_goes_on(run_deeper, small_dataset, tmp_path):
    words = ["learn-curve", small_dataset.path, "--batch", 50, "--precision", "fp32", "--seeds", 1, "--epochs", 8]
    words += ["--shares", "50,100", "--out", "curve", "--set", "report_every=2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "deeper", *map(str, words)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    second = tmp_path / "curve" / "100-percent" / "seed-0" / "metrics.jsonl"
    deadline = time.monotonic() + patient(60)
    while not (second.exists() and '"step"' in second.read_text()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=patient(60))
    assert process.returncode == 130 and "the same command goes on" in out
    first = (tmp_path / "curve" / "50-percent" / "seed-0" / "bundle" / "weights.safetensors").read_bytes()
    done = run_deeper(*words)
    assert done.returncode == 0, done.stderr
    assert "add a third" in done.stdout
    assert (tmp_path / "curve" / "50-percent" / "seed-0" / "bundle" / "weights.safetensors").read_bytes() == first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shares", "a,b"], "wanted percentages"),
        (["--shares", "100"], "at least two"),
        (["--seeds", "0"], "at least 1"),
    ],
)
def test_bad_input_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["learn-curve", "digits", *words])
    error = capsys.readouterr().err
    assert left.value.code == 2 and message in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
