"""`deeper audit`, as a person calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deeper.audit import options
from deeper.cli import main
from deeper.cli.audit import _listed
from deeper.records import Dataset


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A judge that is quick to train; audits go under the test's folder."""
    monkeypatch.setattr(options, "PICTURES_SEEN", 6_000)
    monkeypatch.chdir(tmp_path)


def test_table_files_and_next_step(small_dataset: Dataset, soon: None, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["audit", str(small_dataset.path), "--distort", "vertical_flip", "--distort", "translation=0.03"]
    main(words)
    said = capsys.readouterr()
    assert "vertical flip" in said.out and "right out-of-fold" in said.out and "policy.toml" in said.out
    assert "note: 10 classes are too small for verdicts of their own" in said.out
    assert "judge: training 5 small networks" in said.err
    name = small_dataset.info.name
    assert {path.name for path in Path("audits", name).iterdir()} == {"audit.json", "evidence.png", "policy.toml"}
    # Another time, another folder; and the judge is at hand.
    main([*words, "--json"])
    said = capsys.readouterr()
    plain = json.loads(said.out)
    assert "training" not in said.err
    assert plain["out"] == f"audits/{name}-2" and plain["classes"] == [str(digit) for digit in range(10)]
    assert plain["judge"]["accuracy"] > 0.5 and plain["policy"] is not None
    assert set(plain["findings"][0]) >= {"distortion", "class", "entering", "leaving", "verdict", "margin"}
    assert {key: value for key, value in plain.items() if key != "out"} == json.loads(
        Path("audits", f"{name}-2", "audit.json").read_text()
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--margin", "0"], 2, "--margin 0: wanted percentage points from 0.1"),
        (["--margin", "200"], 2, "--margin 200: wanted percentage points"),
        (["--margin", "0.02"], 2, "such as 2"),
        (["--per-class", "0"], 2, "0 pictures of each class"),
        (["--distort", "rotatoin=30"], 2, "did you mean 'rotation'"),
        (["--distort", "rotation=x"], 2, "wanted numbers, rotation=degrees"),
        (["--out", "taken"], 9, "taken exists already"),
    ],
)
def test_bad_input_is_one_line(
    small_dataset: Dataset, soon: None, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str
) -> None:
    Path("taken").mkdir()
    (Path("taken") / "thesis.txt").write_text("mine")
    with pytest.raises(SystemExit) as stopped:
        main(["audit", str(small_dataset.path), *words])
    said = capsys.readouterr()
    assert stopped.value.code == code and said.out == ""
    assert message in said.err and len(said.err.strip().splitlines()) == 1
    assert sorted(path.name for path in Path().iterdir()) == ["taken"]


def test_all_unsafe_is_not_ten_unsafe() -> None:
    pairs = [f"c{number}→x" for number in range(26)]
    assert _listed(pairs, 26).endswith("c9→x and 16 more") and _listed(pairs[:25], 26).endswith(" and 15 more")
    assert _listed(pairs[:2], 2) == "c0→x, c1→x" and _listed(["a", "b", "c"], 3) == "all"
