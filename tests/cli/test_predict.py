"""`deeper predict` as a process: order, formats, bad files, hostile names."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deeper.cli import main
from deeper.images import encode_png
from tests.sample_network import digits, write


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("run") / "bundle")


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    for name, image in zip(("b.png", "a.png", "inner/c.png"), digits("test", 3)[0], strict=True):
        (folder / name).write_bytes(encode_png(image))
    (folder / "notes.txt").write_text("not looked at")
    return folder


def test_a_folder_in_order(run_deeper, run, pictures):
    done = run_deeper("predict", run, pictures, "--top", "2")
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        str(pictures / name) for name in ("a.png", "b.png", "inner/c.png")
    ]
    assert all(line.count("%") == 2 for line in lines)


def test_json_is_one_object_and_a_bad_file_stops_nothing(run_deeper, run, pictures):
    (pictures / "a-bad.png").write_text("text")
    done = run_deeper(
        "predict",
        run,
        pictures / "b.png",
        pictures / "a-bad.png",
        pictures / "nowhere.png",
        pictures / "a.png",
        "--json",
        "--top",
        "3",
    )
    assert done.returncode == 0
    plain = json.loads(done.stdout)
    assert [Path(one["path"]).name for one in plain["predictions"]] == ["b.png", "a.png"]
    assert [Path(one["path"]).name for one in plain["failed"]] == ["a-bad.png", "nowhere.png"]
    first = plain["predictions"][0]
    assert first["top"][0] == {"class": first["class"], "probability": first["probability"]} and len(first["top"]) == 3
    assert (
        done.stderr.startswith("2 of 4 files could not be classified:") and "nowhere.png: no such file" in done.stderr
    )


def test_csv_patterns_and_a_list_on_standard_input(run, pictures, tmp_path):
    hostile = pictures / 'x,"y"\n<b>.png'
    hostile.write_bytes((pictures / "a.png").read_bytes())
    words = [sys.executable, "-m", "deeper", "predict", str(run), str(pictures / "?.png"), "-", str(hostile), "--csv"]
    done = subprocess.run(
        words, input=f"{pictures}/inner/c.png\n\n", capture_output=True, text=True, cwd=tmp_path, check=True
    )
    rows = list(csv.reader(io.StringIO(done.stdout)))
    assert rows[0] == ["path", "class", "probability", "unsure"]
    assert [row[0] for row in rows[1:]] == [
        *(str(pictures / n) for n in ("a.png", "b.png", "inner/c.png")),
        str(hostile),
    ]
    assert all(0 < float(row[2]) <= 1 for row in rows[1:])


def test_more_answers_than_classes_leave_cells_empty(run, pictures):
    words = [sys.executable, "-m", "deeper", "predict", str(run), str(pictures / "a.png"), "--csv", "--top", "12"]
    header, row = csv.reader(io.StringIO(subprocess.run(words, capture_output=True, text=True, check=True).stdout))
    assert len(header) == len(row) == 2 + 2 * 12
    one = dict(zip(header, row, strict=True))
    assert one["class_10"] and one["class_11"] == one["probability_12"] == ""


def test_patterns_reach_into_folders(run_deeper, run, pictures):
    done = run_deeper("predict", run, str(pictures.parent / "pict*"), str(pictures / "*"))
    assert done.returncode == 0
    names = [Path(line.split(": ")[0]).relative_to(pictures) for line in done.stdout.splitlines()]
    inside = [Path("a.png"), Path("b.png"), Path("inner/c.png")]
    # The second pattern names notes.txt too, which is tried, and said.
    assert names == inside + inside and "notes.txt" in done.stderr


def test_answers_come_one_by_one_as_names_do(run, pictures):
    words = [sys.executable, "-m", "deeper", "predict", str(run), "-"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        for name in ("b.png", "inner/c.png", "a.png"):
            process.stdin.write(f"{pictures / name}\n")
            process.stdin.flush()
            # Standard input stays open: the answer must not wait for its end.
            assert process.stdout.readline().startswith(f"{pictures / name}: ")
        process.stdin.write(f"{pictures / 'a.png'}")  # without an end of line
        process.stdin.close()
        assert process.stdout.readline().startswith(f"{pictures / 'a.png'}: ")
        assert process.wait(20) == 0


def test_the_least_decided_first(run_deeper, run, pictures):
    every = run_deeper("predict", run, pictures, "--rank-uncertain", "--csv")
    rows = list(csv.DictReader(io.StringIO(every.stdout)))
    probabilities = [float(row["probability"]) for row in rows]
    assert every.returncode == 0 and len(rows) == 3 and probabilities == sorted(probabilities)
    two = run_deeper("predict", run, pictures, "--csv", "--rank-uncertain", "2")
    assert two.stdout.splitlines() == every.stdout.splitlines()[:3]
    for words in (("--rank-uncertain", run, pictures), (run, pictures, "--rank-uncertain", "0")):
        done = run_deeper("predict", *words)
        assert done.returncode == 2 and "--rank-uncertain: wanted a whole number" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_what_stands_for_nothing_is_named_among_others(run_deeper, run, pictures):
    (pictures / "void").mkdir()
    done = run_deeper("predict", run, str(pictures / "*.jpeg"), pictures / "void", pictures / "a.png")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1
    assert done.stderr.splitlines() == [
        "2 of 3 files could not be classified:",
        f"  {pictures}/*.jpeg: no file matches this pattern",
        f"  {pictures}/void: no picture found in this folder",
    ]


def test_ctrl_c_leaves_a_whole_object(run, pictures):
    words = [sys.executable, "-m", "deeper", "predict", str(run), "-", "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1) as process:
        process.stdin.write(f"{pictures / 'nowhere.png'}\n{pictures / 'a.png'}\n")
        process.stdin.flush()
        first = process.stdout.read(len('{"predictions": [{'))  # it is answered
        process.send_signal(signal.SIGINT)
        plain, errors = json.loads(first + process.stdout.read()), process.stderr.read()
    assert process.returncode == 130 and errors == "deeper predict: interrupted\n"
    assert [one["path"] for one in plain["predictions"]] == [str(pictures / "a.png")]
    assert [one["path"] for one in plain["failed"]] == [str(pictures / "nowhere.png")]


def test_a_bar_where_answers_come_last(run, pictures):
    """On a terminal, where nothing else would show that it works."""
    terminal, theirs = os.openpty()
    words = [sys.executable, "-m", "deeper", "predict", str(run), str(pictures), "--rank-uncertain"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(terminal, 1 << 16):
                said += part
        except OSError:  # Linux says so when the other side is closed
            pass
        os.close(terminal)
    assert process.returncode == 0 and b"classifying" in said and said.rindex(b"classifying") < said.index(b"a.png")


def test_what_cannot_be_copied_stops_nothing(run_deeper, run, pictures, tmp_path):
    (tmp_path / "sorted").mkdir()
    first = run_deeper("predict", run, pictures, "--sort-into", tmp_path / "sorted")
    assert first.returncode == 0
    copied = sorted((tmp_path / "sorted").rglob("*.png"))
    assert len(copied) == 3
    # A file where the folder of a class must be: of these nothing can be copied.
    blocked = copied[0].relative_to(tmp_path / "sorted").parts[0]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / blocked).write_text("in the way")
    nothing = run_deeper("predict", run, pictures, "--sort-into", tmp_path / "other" / blocked, "--json")
    assert nothing.returncode == 2 and nothing.stdout == ""
    done = run_deeper("predict", run, pictures, "--sort-into", tmp_path / "other", "--json")
    plain = json.loads(done.stdout)
    # The answers are there all the same; that the copies are not is a failure of the disk's kind.
    assert len(plain["predictions"]) == 3 and not plain["failed"]
    assert plain["not_copied"] and all(blocked in one["reason"] for one in plain["not_copied"])
    assert done.returncode == 9 and f"{len(plain['not_copied'])} of 3 classified pictures could not be" in done.stderr


@pytest.mark.parametrize("flag", ["--csv", "--json"])
def test_names_that_are_no_utf_8(run, tmp_path, flag):
    name = os.fsencode(tmp_path) + b"/caf\xe9.png"
    with open(name, "wb") as file:
        file.write(encode_png(digits("test", 1)[0][0]))
    words = [sys.executable, "-m", "deeper", "predict", str(run), name, flag]
    done = subprocess.run(words, capture_output=True, cwd=tmp_path, check=True)
    assert b"caf" in done.stdout and done.stderr == b""


def test_exit_3_only_if_nothing_could_be_predicted(run_deeper, run, pictures, tmp_path):
    done = run_deeper("predict", run, pictures / "notes.txt", pictures / "nowhere.png", "--json")
    assert done.returncode == 3
    assert json.loads(done.stdout)["predictions"] == [] and len(json.loads(done.stdout)["failed"]) == 2
    assert len(done.stderr.splitlines()) == 1 and "none of the 2 files" in done.stderr
    (tmp_path / "void").mkdir()
    done = run_deeper("predict", run, tmp_path / "void")
    assert done.returncode == 3 and done.stderr == f"deeper predict: {tmp_path}/void: no picture found in this folder\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.png", "--json", "--csv"], "not both"),
        (["x.png", "--top", "0"], "at least 1"),
        (["v.mp4", "x.png", "--every", "-1"], "--every: wanted seconds from 0, got -1"),
        (["v.mp4", "--every", "nan"], "--every: wanted seconds from 0, got nan"),
    ],
)
def test_options_that_cannot_be(capsys, run, words, message):
    with pytest.raises(SystemExit) as exited:
        main(["predict", str(run), *words])
    errors = capsys.readouterr().err
    assert exited.value.code == 2 and message in errors and len(errors.splitlines()) == 1


def test_hostile_class_names_are_inert(run_deeper, tmp_path, pictures):
    names = ("<script>", "a\nb", "\x1b[2J", "[red]x[/red]", ":smile:", "x" * 3000, "‮", "é漢", "", "9")
    bundle = write(tmp_path / "bundle", classes=names)
    done = run_deeper("predict", bundle, pictures, "--top", "10")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3
    assert "\x1b" not in done.stdout and "‮" not in done.stdout and "[red]x[/red]" in done.stdout
    plain = json.loads(run_deeper("predict", bundle, pictures, "--top", "10", "--json").stdout)
    assert {one["class"] for one in plain["predictions"][0]["top"]} == set(names)


def test_a_reader_that_leaves_is_no_error(run, pictures):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "deeper", "predict", str(run), str(pictures)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert done.returncode == 0 and done.stderr == b""
