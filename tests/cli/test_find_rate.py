from __future__ import annotations

import json
import os
import signal

import pytest

from deeper.cli import main
from deeper.runs import rates


def test_it_prints_how_to_use_the_result(small_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["find-rate", str(small_dataset.path), "--batch", "50", "--precision", "fp32", "--steps", "100"]
    main([*words, "--out", "rates"])
    printed = capsys.readouterr().out
    assert printed.startswith("learning rate 0.0")
    assert f"next: deeper train {small_dataset.path} --batch 50 --precision fp32 --rate 0.0" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["rates"]
    main([*words, "--json"])
    plain = json.loads(capsys.readouterr().out)
    assert plain == json.loads((tmp_path / "rates" / "rates.json").read_text())
    several = ["--distort", "brightness", "--distort", "contrast", "--set", "keep=3", "--set", "label_smoothing=0.1"]
    main([*words, *several])
    command = capsys.readouterr().out.partition("next: deeper train ")[2].splitlines()[0]
    assert " ".join(several) in command
    assert len(plain["rates"]) == len(plain["losses"]) == len(plain["smoothed"]) == len(plain["slopes"])


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 3, "nowhere"),
        (["digits", "--low", "1", "--high", "0.1"], 2, "0 < low < high"),
        (["digits", "--set", "batch"], 2, "wanted NAME=VALUE"),
    ],
)
def test_bad_input_is_one_line(words, code, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["find-rate", *words])
    printed = capsys.readouterr()
    assert left.value.code == code and message in printed.err
    assert printed.err.count("\n") == 1 and printed.out == "" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_its_own_code(number, code, small_dataset, tmp_path, monkeypatch, capsys):
    def signalled(*given, **named):
        os.kill(os.getpid(), number)
        return searched(*given, **named)

    searched = rates.sweep
    monkeypatch.setattr(rates, "sweep", signalled)
    with pytest.raises(SystemExit) as left:
        main(["find-rate", str(small_dataset.path), "--batch", "50", "--out", str(tmp_path / "rates")])
    assert left.value.code == code
    assert "interrupted" in capsys.readouterr().err.splitlines()[-1] and not (tmp_path / "rates").exists()
