"""A newcomer's folder of pictures: odd files, odd names, few pictures; every step says what to do next."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeper.cli import VERBS, main
from deeper.cli.flags import arguments_of
from deeper.cli.parsing import parse

# Alphabetical, as the folders are read.
CLASSES = ("Sonnenblume groß", "iris 💐", "sieben's $\\frac{", "三色堇")


@pytest.fixture(scope="module")
def photos(small_dataset, tmp_path_factory) -> Path:
    """Digits 0 to 3 under names with spaces, quotes, formulas and emoji; among them all that finds its way into folders."""
    folder = tmp_path_factory.mktemp("new user") / "my photos"
    split = small_dataset.split("train")
    for label, name in enumerate(CLASSES):
        place = folder / name
        place.mkdir(parents=True)
        for number, position in enumerate(np.flatnonzero(np.asarray(split.labels) == label)[:14]):
            picture = Image.fromarray(split.picture(int(position))[..., 0])
            picture.save(place / (f"été {number}.png", f"🌼 a'b\"c {number}.jpg", f"IMG {number}.WEBP")[number % 3])
    first = folder / CLASSES[0]
    whole = (folder / CLASSES[1] / "🌼 a'b\"c 1.jpg").read_bytes()
    (first / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (first / "notes.jpg").write_text("no picture")
    (first / "nothing.png").write_bytes(b"")
    Image.new("L", (1, 1)).save(first / "dot.png")
    Image.new("L", (8000, 6000), 128).save(first / "huge.jpg")
    frames = [Image.new("P", (30, 30), shade) for shade in (10, 90)]
    frames[0].save(first / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("CMYK", (30, 30)).save(first / "print.jpg")
    Image.fromarray(np.full((30, 30), 40_000, np.uint16)).save(first / "deep.png")
    for junk in (folder / ".DS_Store", first / ".DS_Store", first / "Thumbs.db", first / "._IMG 0.jpg"):
        junk.write_bytes(b"\0\0\0\1")
    (first / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (first / "round").symlink_to("..")
    (folder / "empty").mkdir()
    (folder / "one only").mkdir()
    Image.new("L", (28, 28), 200).save(folder / "one only" / "x.png")
    return folder


@pytest.fixture
def here(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(photos.parent)
    monkeypatch.setenv("COLUMNS", "100")
    return photos.parent


def run(*words: str) -> int:
    try:
        main(list(words))
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def proposed(text: str) -> list[list[str]]:
    """The commands that an output proposes, as a shell would split them; each must parse."""
    found = []
    for line in text.splitlines():
        if not line.startswith(("next: deeper", "  deeper")):
            continue
        for command in line.removeprefix("next: ").strip().split("   ")[0].split(" · "):
            program, verb, *words = shlex.split(command)
            assert program == "deeper" and verb in VERBS
            parse(arguments_of(verb), words, verb)
            found.append([verb, *words])
    return found


def test_the_way_with_a_space_in_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("build", "my photos") == 0
    said = capsys.readouterr().out
    assert proposed(said) == [["train", "datasets/my photos"]]
    assert "no files in 'empty'" in said and "a single picture of class 'one only'" in said
    assert "has 19 times the pictures of class 'one only'" in said and "--class-weights balanced" in said
    rejected = Path("datasets/my photos/rejected.csv").read_text("utf-8")
    for name in ("half.jpg", "notes.jpg", "nothing.png", "gone.jpg", "round"):
        assert name in rejected
    for name in ("dot.png", "huge.jpg", "moving.gif", "print.jpg", "deep.png", ".DS_Store"):
        assert name not in rejected

    options = ("--model", "nielsen", "--size", "28", "--epochs", "2", "--no-audit", "--out", "runs/first try")
    assert run("train", "datasets/my photos", *options) == 0
    said = capsys.readouterr()
    assert [verb for verb, *_ in proposed(said.out)] == ["evaluate", "board", "predict"]
    assert proposed(said.out)[0] == ["evaluate", "runs/first try"]
    assert "Warning" not in said.err and "Warning" not in said.out

    assert run("evaluate", "runs/first try") == 0
    said = capsys.readouterr()
    assert ["board", "runs/first try"] in proposed(said.out) and "Warning" not in said.err

    assert run("predict", "runs/first try", "my photos", "none.jpg", "--csv") == 0
    said = capsys.readouterr()
    assert "none.jpg: no such file" in said.err and "notes.jpg: not a picture: text" in said.err
    assert "huge.jpg" in said.out and "moving.gif" in said.out

    assert run("show-distortions", "datasets/my photos", "--model", "nielsen") == 0
    said = capsys.readouterr()
    assert "Glyph" not in said.err and Path("distortions.png").is_file()


def test_doubtful_labels_on_a_narrow_screen(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("datasets/my photos").is_dir():
        assert run("build", "my photos") == 0
        capsys.readouterr()
    assert run("labels", "datasets/my photos") == 0
    said = capsys.readouterr()
    assert "Warning" not in said.err and proposed(said.out) == [["review", "datasets/my photos"]]
    if "doubt  reason" in said.out:
        rows = said.out.split("doubt  reason")[1].split("labels/:")[0]
        assert "…  " not in rows, "ids can be read on a narrow screen"


def test_one_class_only(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "alone" / "cats").mkdir(parents=True)
    for number in range(12):
        Image.new("L", (28, 28), 20 * number).save(here / "alone" / "cats" / f"{number}.png")
    assert run("build", "alone") == 0
    said = capsys.readouterr().out
    assert "1 class;" in said and "next: give each kind of picture a folder of its own" in said
    for verb in ("train", "find-rate"):
        assert run(verb, "datasets/alone") == 4
        said = capsys.readouterr().err
        assert "a single class, 'cats': there is nothing to tell apart" in said.splitlines()[-1]


def test_two_pictures_only(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (here / "pair" / name).mkdir(parents=True)
        Image.new("L", (28, 28), ord(name)).save(here / "pair" / name / "x.png")
    assert run("build", "pair") == 0 and run("train", "datasets/pair", "--epochs", "1", "--out", "runs/pair") == 0
    said = capsys.readouterr()
    assert "batches of 16 where the recipe has 512" in said.err and "epochs where" not in said.err
    assert run("evaluate", "runs/pair") == 4
    assert "the dataset datasets/pair has no split 'test', it has train" in capsys.readouterr().err


def test_ctrl_c_twice_is_no_traceback(tmp_path: Path) -> None:
    """The second one hits the interpreter while it clears up."""
    code = """if True:
        import atexit, os, signal, sys, time
        atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(0.1)))
        sys.argv = ["deeper", "--help"]
        from deeper.cli import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    assert done.returncode == 0 and done.stderr == ""
