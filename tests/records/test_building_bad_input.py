"""What users really point a build at: broken files, strange names, full disks, and ends in the middle."""

from __future__ import annotations

import csv
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeper import images
from deeper.errors import DeeperError, SourceError, StorageError
from deeper.records import BuildOptions, Dataset, build, open_source
from deeper.records.rejected import read_rejected
from deeper.records.sources import Item, Source
from deeper.records.verify import verify
from tests.nobody import as_nobody, open_folder
from tests.patience import patient
from tests.processes import alive

Make = Callable[..., Source]
Save = Callable[..., Item]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of eight sound photographs."""
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(8):
            pixels = np.random.default_rng(number).integers(0, 256, (12, 10, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.jpg")
    return tmp_path / "photos"


def rejected(folder: Path) -> dict[str, str]:
    with (folder / "rejected.csv").open(newline="", encoding="utf-8") as file:
        return dict(list(csv.reader(file))[1:])


def test_bad_files_are_listed_with_reasons_and_the_counts_add_up(photos: Path, tmp_path: Path) -> None:
    whole = (photos / "cat" / "0.jpg").read_bytes()
    (photos / "cat" / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "cat" / "text.jpg").write_text("not a picture at all")
    (photos / "cat" / "empty.jpg").touch()
    (photos / "dog" / "noise.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    (photos / "dog" / "secret.jpg").symlink_to(photos / "dog" / "gone.jpg")
    (photos / "dog" / "loop.jpg").symlink_to(photos / "dog" / "loop.jpg")
    os.mkfifo(photos / "dog" / "pipe.jpg")
    report = build(open_source(photos), tmp_path / "out")
    assert report.found == report.kept + report.rejected
    assert report.kept == 16
    reasons = rejected(tmp_path / "out")
    assert len(reasons) == report.rejected == Dataset(tmp_path / "out").info.rejected
    for name, words in {
        "truncated.jpg": ("truncated", "damaged"),
        "text.jpg": ("not a picture", "no picture", "text"),
        "empty.jpg": ("empty",),
        "noise.png": ("truncated", "damaged"),
        "secret.jpg": ("link", "No such file", "exist"),
        "loop.jpg": ("link", "loop"),
        "pipe.jpg": ("no regular file", "pipe", "FIFO"),
    }.items():
        (reason,) = [reason for identifier, reason in reasons.items() if identifier.endswith(name)]
        assert any(word in reason for word in words), reason
    assert verify(tmp_path / "out").sound


def test_a_file_that_changes_into_something_else_after_it_was_listed(photos: Path, tmp_path: Path) -> None:
    source = open_source(photos)
    listed = [item.id for item in source.items]
    (photos / "cat" / "1.jpg").unlink()
    (photos / "cat" / "2.jpg").unlink()
    os.mkfifo(photos / "cat" / "2.jpg")
    (photos / "cat" / "3.jpg").unlink()
    (photos / "cat" / "3.jpg").mkdir()
    report = build(source, tmp_path / "out")
    assert (report.found, report.kept, report.rejected) == (len(listed), 13, 3)
    reasons = rejected(tmp_path / "out")
    assert "No such file" in reasons["cat/1.jpg"]
    assert "no regular file" in reasons["cat/2.jpg"]


@pytest.mark.parametrize(
    "name", ["with space.jpg", "ünï 猫.jpg", "new\nline.jpg", 'quote".jpg', "comma,x.jpg", "-flag.jpg", "%41.jpg"]
)
def test_strange_names_survive(photos: Path, tmp_path: Path, name: str) -> None:
    (photos / "cat" / "0.jpg").rename(photos / "cat" / name)
    (photos / "dog" / name).write_text("bad one")
    build(open_source(photos), tmp_path / "out")
    dataset = Dataset(tmp_path / "out")
    ids = [identifier for split in dataset.info.splits for identifier in dataset.split(split).ids]
    assert f"cat/{name}" in ids
    assert f"dog/{name}" in rejected(tmp_path / "out")


def test_a_name_that_is_no_utf8_survives(photos: Path, tmp_path: Path, listing: Make) -> None:
    raw = os.fsencode(photos / "cat") + b"/\xff\xfe.jpg"
    os.rename(photos / "cat" / "0.jpg", raw)
    identifier = "cat/" + os.fsdecode(b"\xff\xfe.jpg")
    items = [Item(identifier, os.fsdecode(b"class\xff"), None, None, Path(os.fsdecode(raw)), None)]
    build(listing(items), tmp_path / "out")
    dataset = Dataset(tmp_path / "out")
    assert dataset.split("train").ids == [identifier]
    assert dataset.classes == (os.fsdecode(b"class\xff"),)
    assert verify(tmp_path / "out").sound


def test_very_small_and_very_large_pictures(tmp_path: Path, listing: Make, save: Save) -> None:
    items = [save("dot.png", size=(1, 1)), save("dot.jpg", size=(1, 1)), save("wide.png", size=(20_000, 3), mode="L")]
    items += [save("usual.jpg")]
    report = build(listing(items), tmp_path / "out")
    assert any("4 kept pictures are under 8 pixels" in one and "smallest dot.png, 1×1" in one for one in report.notices)
    dataset = Dataset(tmp_path / "out")
    assert (dataset.info.sizes.smallest, dataset.info.sizes.largest) == ((1, 1), (7, 20_000))
    # A header that promises more pixels than memory has: refused by its header alone.
    huge = bytearray((tmp_path / "source" / "wide.png").read_bytes())
    huge[16:24] = (20_000).to_bytes(4, "big") * 2
    (tmp_path / "source" / "huge.png").write_bytes(huge)
    items.append(Item("huge.png", "a", None, None, tmp_path / "source" / "huge.png", None))
    report = build(listing(items), tmp_path / "again")
    assert report.rejected == 1
    assert set(rejected(tmp_path / "again")) == {"huge.png"}


def test_nothing_usable_is_refused_and_leaves_nothing(tmp_path: Path, listing: Make) -> None:
    (tmp_path / "bad.jpg").write_text("no")
    items = [Item("bad.jpg", "a", None, None, tmp_path / "bad.jpg", None)]
    with pytest.raises(SourceError, match="none of the 1 pictures of the source can be used.*bad.jpg"):
        build(listing(items), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jpg"]


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_a_missing_and_an_empty_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DeeperError) as caught:
        build(open_source(tmp_path / place), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_full_disk(tmp_path: Path, listing: Make, array_items: Callable[..., list[Item]]) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # A limit on the size of a file fails in the middle of a write, as a full disk does (EFBIG for ENOSPC).
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(StorageError, match="cannot write .*out"):
            build(listing(array_items(500)), tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert list(tmp_path.iterdir()) == []


def test_dev_full_is_a_storage_error(
    tmp_path: Path, listing: Make, array_items: Callable[..., list[Item]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deeper.records import shards

    monkeypatch.setattr(shards.ShardWriter, "_passing_name", lambda self: "/dev/full")
    with pytest.raises(StorageError, match="the disk is full"):
        build(listing(array_items(500)), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path, listing: Make, array_items: Callable[..., list[Item]]) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        build(listing(array_items(5)), Path("/proc/out"))
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        build(listing(array_items(5)), tmp_path / "file" / "out")


def test_a_read_only_folder(listing: Make, array_items: Callable[..., list[Item]]) -> None:
    source = listing(array_items(5))
    with open_folder() as folder:
        build(source, folder / "first")  # imports what nobody may not read
        shut = folder / "shut"
        shut.mkdir(0o555)
        with as_nobody(), pytest.raises(StorageError, match="no permission"):
            build(source, shut / "out")
        assert list(shut.iterdir()) == []


LONG_BUILD = """
import sys, time
from pathlib import Path
import numpy as np
from deeper.records import BuildOptions, build, open_source
pictures = np.random.default_rng(0).integers(0, 256, (4000, 40, 40), np.uint8)
def slowly(done, total):
    print(done, flush=True)
    time.sleep(1)  # a signal cuts it short
try:
    build(open_source((pictures, np.arange(4000) % 4)), Path(sys.argv[1]), options=BuildOptions(workers=2), progress=slowly)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("number", "code", "left"),
    [(signal.SIGINT, 130, 0), (signal.SIGTERM, 143, 0), (signal.SIGKILL, -9, 2)],  # the folder and its lock
)
def test_an_end_in_the_middle_leaves_no_dataset_and_no_process(
    tmp_path: Path, number: int, code: int, left: int
) -> None:
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", LONG_BUILD, str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    (interpreter,) = children(process.pid)
    workers = [interpreter, *children(interpreter)]
    assert len(workers) == 3
    process.send_signal(number)
    assert process.wait(patient(20)) == code
    process.stdout.close()
    assert not out.exists()
    assert len(list(tmp_path.iterdir())) == left
    deadline = time.monotonic() + patient(10)
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "a worker outlives its parent"
        time.sleep(0.05)
    # What a kill left behind is in nobody's way.
    build(open_source((np.zeros((8, 4, 4), np.uint8), np.arange(8) % 2)), out)
    assert verify(out).sound


LONG_LISTING = """
import sys, time
from importlib import import_module
building = import_module("deeper.records.building")
def slowly(source, options):
    print("listing", flush=True)
    time.sleep(600)
building.open_source = slowly
building.build(sys.argv[1], sys.argv[2], options=building.BuildOptions(workers=2))
"""


def test_an_end_while_the_folder_is_listed_is_as_orderly(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    command = [sys.executable, "-c", LONG_LISTING, str(tmp_path / "pictures"), str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    (interpreter,) = children(process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(patient(20)) == 143
    process.stdout.close()
    assert not alive(interpreter)
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]


def children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(status[1]) == parent:
                found.append(int(entry.name))
    return found


def test_a_carriage_return_in_a_name_survives_in_the_list(tmp_path: Path, listing: Make) -> None:
    """macOS leaves files called "Icon\\r" in folders."""
    bad = [Item(f"c0/Icon\r{end}", "c0", None, None, tmp_path / "nowhere", None) for end in ("", "x")]
    good = Item("c0/1.png", "c0", "train", None, None, np.zeros((4, 4, 1), np.uint8))
    build(listing([good, *bad]), tmp_path / "out", options=BuildOptions(validation=0, test=0, workers=1))
    assert [one.id for one in read_rejected(tmp_path / "out")] == ["c0/Icon\r", "c0/Icon\rx"]


def test_an_array_that_no_reader_would_take_is_rejected(
    tmp_path: Path, listing: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    items = [
        Item(str(side), "c0", "train", None, None, np.zeros((side, side, 1), np.uint8)) for side in (31, 32)
    ]  # 961 and 1,024 pixels
    report = build(listing(items), tmp_path / "out", options=BuildOptions(validation=0, test=0, workers=1))
    assert (report.kept, report.rejected) == (1, 1)
    assert "at most 0.001 megapixels" in read_rejected(tmp_path / "out")[0].reason


def test_the_folder_that_one_stands_in_is_refused_before_any_work(
    tmp_path: Path, listing: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    item = Item("1", "c0", "train", None, None, np.zeros((4, 4, 1), np.uint8))
    with pytest.raises(StorageError, match="is the folder that you are in; give a new one in it"):
        build(listing([item]), ".", options=BuildOptions(validation=0, test=0, workers=1))
    assert not list(tmp_path.iterdir())
