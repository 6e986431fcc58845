"""`deeper build` and `deeper verify` as processes see them: output, exit codes, one line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeper.cli import main


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(12):
            pixels = np.random.default_rng(number).integers(0, 256, (12, 10, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"plant{number // 3} {number}.jpg")
    (tmp_path / "photos" / "cat" / "bad.jpg").write_text("no picture")
    return tmp_path / "photos"


def run(*words: object) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_the_way_through(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "set"
    assert run("build", photos, "--out", out, "--group-by", r"([a-z]+/plant\d)", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["found"], facts["kept"], facts["rejected"], facts["skipped"]) == (25, 24, 1, 0)
    assert facts["classes"] == ["cat", "dog"]
    assert sum(facts["splits"].values()) == 24
    assert {"out", "found", "kept", "rejected", "skipped", "splits", "classes", "seconds", "notices"} < set(facts)
    assert (facts["relabelled"], facts["excluded"]) == (0, 0)
    assert json.loads((out / "dataset.json").read_text())["group_by"] == r"([a-z]+/plant\d)"

    assert run("verify", out) == 0
    assert "sound; 24 records" in capsys.readouterr().out

    assert run("build", photos, "--out", out, "--add") == 0
    assert "24 there already" in capsys.readouterr().out

    shard = next(out.glob("train-*.tfrecord"))
    data = bytearray(shard.read_bytes())
    data[-9] ^= 4
    shard.write_bytes(data)
    assert run("verify", out) == 4
    text = capsys.readouterr().out
    assert f"{shard.name} at byte" in text
    assert "(id " in text
    assert f"next: deeper verify {out} --repair" in text
    assert run("verify", out, "--json") == 4
    facts = json.loads(capsys.readouterr().out)
    assert (facts["sound"], facts["damaged"], facts["records"]) == (False, 1, 23)
    assert facts["problems"][0]["id"].endswith(".jpg")
    assert run("verify", out, "--repair", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["sound"], facts["repaired"], facts["records"]) == (True, True, 23)
    assert facts["aside"] == str(out / "damaged")
    assert run("verify", out) == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("build", "nowhere/", "--out", "x"), 3, "does not exist"),
        (("build", "PHOTOS", "--out", "PHOTOS"), 4, "exists already and is no dataset"),
        (("build", "PHOTOS", "--out", "x", "--validation", "0.7", "--test", "0.7"), 2, "leave nothing to train on"),
        (("build", "PHOTOS", "--out", "x", "--add"), 4, "x is no dataset"),
        (("build", "PHOTOS", "--out", "x", "--shape", "28", "28", "2"), 2, "2 channels"),
        (("build", "PHOTOS", "--out", "/proc/x"), 9, "cannot write"),
        (("verify", "nowhere"), 4, "does not exist"),
    ],
)
def test_one_line_for_what_is_wrong(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*(str(photos) if word == "PHOTOS" else word for word in words)) == code
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_read_or_contradicts_the_dataset(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.csv").symlink_to("/proc/self/mem")  # the file is there, and reading its first byte fails
    assert run("build", tmp_path / "list.csv", "--out", tmp_path / "out") == 3
    assert "list.csv' cannot be read" in capsys.readouterr().err
    assert run("build", photos, "--out", tmp_path / "out", "--seed", "5") == 0
    assert run("build", photos, "--out", tmp_path / "out", "--add", "--seed", "6") == 2
    assert "was built with seed 5" in capsys.readouterr().err


def test_a_second_build_in_the_folder_of_the_pictures(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos)
    for out in ("datasets/first", "datasets/second"):
        assert run("build", ".", "--out", out) == 0
    for name in ("dataset.json", "rejected.csv"):
        assert (photos / "datasets/first" / name).read_bytes() == (photos / "datasets/second" / name).read_bytes()


def test_the_default_place(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("build", photos) == 0
    assert (tmp_path / "datasets" / "photos" / "dataset.json").is_file()
