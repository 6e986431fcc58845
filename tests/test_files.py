"""Atomic files and folders: whole or not at all, after errors, kills, full disks and closed folders."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deeper import files
from deeper.errors import SourceError, StorageError
from tests.nobody import as_nobody, open_folder


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_bytes_text_and_json_arrive_as_given(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "new" / "a.bin", b"\x00\xff\n")
    files.write_text(tmp_path / "a.txt", "ü\n")
    files.write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": "ü"})
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"\x00\xff\n"
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xbc\n"
    # The given order of keys, two spaces, a newline: files that a person reads and that two builds compare.
    assert (tmp_path / "a.json").read_text("utf-8") == '{\n  "b": [\n    1,\n    2.5\n  ],\n  "a": "ü"\n}\n'
    assert files.read_json(tmp_path / "a.json") == {"b": [1, 2.5], "a": "ü"}
    assert names(tmp_path) == ["a.json", "a.txt", "new"]


def test_json_has_no_nan_and_no_abyss(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert names(tmp_path) == []
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested"):
        files.read_json(tmp_path / "deep.json")


def test_an_error_on_the_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    files.write_bytes(path, b"old")
    with pytest.raises(KeyboardInterrupt), files.writing(path) as file:
        file.write(b"half of the ne")
        file.flush()
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_nothing_is_renamed_before_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut is not to be had in a test; the order of the calls that guard against it is."""
    calls: list[str] = []
    fsync, replace, rename = os.fsync, os.replace, os.rename

    def noted_fsync(descriptor: int) -> None:
        calls.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name.partition('.partial')[0]}")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
    monkeypatch.setattr(os, "rename", lambda a, b: (calls.append("rename"), rename(a, b)))
    files.write_bytes(tmp_path / "a", b"1")
    assert calls == ["fsync .a", "rename", f"fsync {tmp_path.name}"]
    calls.clear()
    with files.new_folder(tmp_path / "d") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "x").write_bytes(b"1")
        (folder / "y").write_bytes(b"1")
    assert calls[-2:] == ["rename", f"fsync {tmp_path.name}"]
    assert set(calls[:-2]) == {"fsync .d", "fsync inner", "fsync x", "fsync y"}


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with files.new_folder(tmp_path / "above" / "d") as folder:
        (folder / "x").write_text("x")
        assert not (tmp_path / "above" / "d").exists()
        assert folder.parent == tmp_path / "above"
    assert names(tmp_path / "above" / "d") == ["x"]
    with pytest.raises(SourceError), files.new_folder(tmp_path / "e") as folder:
        (folder / "x").write_text("x")
        raise SourceError("of one's own, passes as it is")
    assert names(tmp_path) == ["above"]


def test_a_folder_never_replaces_what_stands_there(tmp_path: Path) -> None:
    full, empty, file, link = (tmp_path / name for name in ("full", "empty", "file", "link"))
    full.mkdir()
    (full / "precious").write_text("1")
    empty.mkdir()
    file.write_text("1")
    link.symlink_to(tmp_path / "nowhere")
    began = False
    for path in (full, file, link):
        with pytest.raises(StorageError, match=f"{path.name}.*stands there already"), files.new_folder(path):
            began = True
    assert not began, "refused only after the work was done"
    with files.new_folder(empty) as folder:
        (folder / "x").write_text("x")
    assert names(empty) == ["x"]
    assert (full / "precious").read_text() == "1"


def test_a_folder_made_meanwhile_by_another_is_not_harmed(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="stands there already"), files.new_folder(tmp_path / "d") as folder:
        (folder / "mine").write_text("1")
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / "theirs").write_text("1")
    assert names(tmp_path) == ["d"]
    assert names(tmp_path / "d") == ["theirs"]


@pytest.mark.parametrize("path", [".", "..", "/"])
def test_folders_that_cannot_be_new(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "x").write_text("1")
    monkeypatch.chdir(inside)
    with pytest.raises(StorageError, match="stands there already|the folder that you are in"), files.new_folder(path):
        pass
    with pytest.raises(StorageError):
        files.write_bytes(path, b"")
    assert names(tmp_path) == ["inside"]
    assert names(inside) == ["x"]


@pytest.mark.parametrize("name", ["😀" * 60, "a" * 250, "with space\nand newline", "-rf", "%s{0}"])
def test_any_name_that_the_disk_takes(name: str, tmp_path: Path) -> None:
    files.write_bytes(tmp_path / name, b"1")
    with files.new_folder(tmp_path / f"{name[:-1]}d") as folder:
        (folder / "x").write_text("1")
    assert len(names(tmp_path)) == 2


def test_a_message_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    with pytest.raises(StorageError) as caught:
        files.write_bytes(tmp_path / "file" / "two\nlines\x1b[31m", b"1")
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    assert "is a file, not a folder" in str(caught.value)


def test_a_file_elsewhere_is_not_blamed_on_the_target(tmp_path: Path) -> None:
    """A picture that vanished while a dataset was written is the picture's matter."""
    with pytest.raises(FileNotFoundError), files.new_folder(tmp_path / "out" / "d"):
        (tmp_path / "source" / "cat.jpg").read_bytes()
    with pytest.raises(StorageError, match="does not exist"), files.new_folder(tmp_path / "out" / "d") as folder:
        (folder / "missing" / "x").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot write"), files.writing(tmp_path / "out" / "f"):
        raise OSError(errno.EIO, "Input/output error")
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize(
    "number, advice",
    [(errno.ENOSPC, "full"), (errno.EDQUOT, "quota"), (errno.EROFS, "read-only"), (errno.EIO, "Input/output error")],
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails(
    number: int, advice: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StorageError, match=advice):
        files.write_bytes(tmp_path / "a", b"new")
    monkeypatch.undo()
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


@contextmanager
def tiny_disk(folder: Path, options: str) -> Iterator[Path]:
    """A real file system of 64 KiB; only root may mount one."""
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True).returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "size=64k") as disk:
        files.write_bytes(disk / "a", b"old" * 1000)
        with pytest.raises(StorageError, match="the disk is full; free some space"):
            files.write_bytes(disk / "a", b"n" * 100_000)
        assert (disk / "a").read_bytes() == b"old" * 1000
        with pytest.raises(StorageError, match="the disk is full"), files.new_folder(disk / "d") as folder:
            (folder / "x").write_bytes(b"1" * 100_000)
        assert names(disk) == ["a"]
        files.write_bytes(disk / "a", b"n" * 30_000)  # and nothing was lost of the space


def test_a_read_only_disk(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk", "ro") as disk:
        with pytest.raises(StorageError, match="the disk is read-only"):
            files.write_bytes(disk / "new" / "a", b"1")
        with pytest.raises(StorageError, match="the disk is read-only"), files.new_folder(disk / "d"):
            pass


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that we may read and not write."""
    with open_folder() as folder:
        (folder / "a").write_text("old")
        folder.chmod(0o555)
        with as_nobody():
            yield folder
        folder.chmod(0o755)


def test_a_closed_folder(closed_folder: Path) -> None:
    for write in (
        lambda: files.write_bytes(closed_folder / "a", b"new"),
        lambda: files.write_bytes(closed_folder / "below" / "a", b"new"),
        lambda: files.new_folder(closed_folder / "d").__enter__(),
    ):
        with pytest.raises(StorageError, match="no permission to write there"):
            write()
    assert (closed_folder / "a").read_text() == "old"
    assert names(closed_folder) == ["a"]


_WRITER = """
import sys
from pathlib import Path
from deeper import files
folder = Path(sys.argv[1])
number = 0
while True:
    number += 1
    files.write_bytes(folder / "file", bytes([number % 256]) * 300_000)
    with files.new_folder(folder / f"made-{number:06d}") as made:
        for name in "abc":
            (made / name).write_bytes(bytes([number % 256]) * 50_000)
    if number == 1:
        print("ready", flush=True)
"""


@pytest.mark.parametrize("seconds", [0.0, 0.011, 0.037, 0.083, 0.15])
def test_killed_while_writing(seconds: float, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    data = (tmp_path / "file").read_bytes()
    assert len(data) == 300_000 and len(set(data)) == 1
    made = sorted(tmp_path.glob("made-*"))
    assert made
    for folder in made:
        assert [(path.name, path.stat().st_size) for path in sorted(folder.iterdir())] == [
            ("a", 50_000),
            ("b", 50_000),
            ("c", 50_000),
        ]
    # What a kill leaves aside is hidden and named for what it is.
    assert all(name in ("file", *(f.name for f in made)) or ".partial-" in name for name in names(tmp_path))


def test_sha256_of_bytes_and_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 1_000_000)
    assert files.sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert files.sha256(tmp_path / "a") == files.sha256(str(tmp_path / "a")) == files.sha256(b"abc" * 1_000_000)
    assert files.sha256(b"abc") == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize(
    "text, name",
    [
        ("flowers", "flowers"),
        ("my photos/2026", "my-photos-2026"),
        ("../../etc/passwd", "etc-passwd"),
        (".hidden", "hidden"),
        ("Ünïcode 7", "Ünïcode-7"),
        ("a\nb\x00c", "a-b-c"),
        ("", "unnamed"),
        ("...", "unnamed"),
        ("é" * 100, "é" * 40),
    ],
)
def test_sanitize_name(text: str, name: str, tmp_path: Path) -> None:
    assert files.sanitize_name(text) == name
    (tmp_path / name).write_text("1")


def test_json_of_other_writers_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"a": 1}))
    assert files.read_json(tmp_path / "a.json") == {"a": 1}
    for content in (b"", b"{", b"\xff\xfe"):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(ValueError):
            files.read_json(tmp_path / "a.json")


def test_what_dead_processes_left_half_written_goes_and_nothing_else(tmp_path: Path) -> None:
    dead = 2**22 + 1  # beyond any process number of Linux
    (tmp_path / f".one.partial-{dead}").write_text("half")
    (tmp_path / f".two.partial-{dead}").mkdir()
    (tmp_path / f".two.partial-{dead}" / "inside").write_text("half")
    kept = [f".mine.partial-{os.getpid()}", ".partial-", "one.partial-1", ".one.partial-x", "two"]
    for name in kept:
        (tmp_path / name).write_text("")
    files.remove_leftovers(tmp_path, "one")
    assert names(tmp_path) == sorted([*kept, f".two.partial-{dead}"])
    files.remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted(kept)
    files.remove_leftovers(tmp_path / "nowhere")


def test_what_is_being_written_elsewhere_is_no_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container or host that shares the disk has processes that are in no table of ours."""
    monkeypatch.setattr(files, "_is_alive", lambda process: False)
    with files.new_folder(tmp_path / "d") as folder, files.writing(tmp_path / "f") as file:
        (folder / "x").write_text("1")
        file.write(b"1")
        files.remove_leftovers(tmp_path)
    assert names(tmp_path) == ["d", "f"] and names(tmp_path / "d") == ["x"]


def test_processes_of_one_number_do_not_write_into_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the first process has the number 1, in every one."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with pytest.raises(StorageError, match="stands there already"), files.new_folder(tmp_path / "d") as late:
        (late / "late").write_text("1")
        with files.new_folder(tmp_path / "d") as quick:
            (quick / "quick").write_text("1")
        assert names(late) == ["late"]
    assert names(tmp_path) == ["d"] and names(tmp_path / "d") == ["quick"]


_WAITER = """
import sys
from pathlib import Path
from deeper import files
with files.new_folder(Path(sys.argv[1]) / "d") as folder, files.writing(Path(sys.argv[1]) / "f") as file:
    (folder / "x").write_text("1")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_process_number_that_is_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_is_alive", lambda process: True)
    process = subprocess.Popen([sys.executable, "-c", _WAITER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    files.remove_leftovers(tmp_path)
    assert len(names(tmp_path)) == 3  # the folder, its lock, the file
    process.kill()
    process.communicate()
    files.remove_leftovers(tmp_path, "d")
    assert [name.partition(".partial-")[0] for name in names(tmp_path)] == [".f"]
    files.remove_leftovers(tmp_path)
    assert names(tmp_path) == []


def test_a_disk_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)
    dead = 2**22 + 1  # beyond any process number of Linux
    (tmp_path / f".one.partial-{dead}-0123abcd").write_text("half")
    (tmp_path / f".two.partial-{dead}-0123abcd").mkdir()
    (tmp_path / f".two.partial-{dead}-0123abcd.lock").write_text("")
    (tmp_path / f".three.partial-{dead}-0123abcd").mkdir()
    with files.new_folder(tmp_path / "d") as folder, files.writing(tmp_path / "f") as file:
        (folder / "x").write_text("1")
        file.write(b"1")
        files.remove_leftovers(tmp_path)
    assert names(tmp_path) == ["d", "f"]
