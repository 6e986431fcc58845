"""Folders as people have them: every file is an item, rejected with a reason, or skipped and counted."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from deeper.errors import SourceError, UsageError
from deeper.records.sources import Listing, SourceOptions, open_source
from tests.patience import patient

NFC = unicodedata.normalize("NFC", "Köln")
NFD = unicodedata.normalize("NFD", "Köln")


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"picture " + name.encode("utf-8", "surrogateescape"))
    return root


def ids(source: Listing) -> list[str]:
    return [item.id for item in source.items]


def reasons(source: Listing) -> dict[str, str]:
    return {rejected.id: rejected.reason for rejected in source.rejected}


def test_one_folder_per_class(tmp_path: Path) -> None:
    make(tmp_path / "animals", "dog/2.jpg", "dog/10.jpg", "cat/1.jpg", "cat/indoor/sofa/3.jpg")
    source = open_source(tmp_path / "animals")
    assert source.name == "animals" and source.classes == ("cat", "dog")
    assert ids(source) == ["cat/1.jpg", "cat/indoor/sofa/3.jpg", "dog/2.jpg", "dog/10.jpg"]
    assert [item.label for item in source.items] == ["cat", "cat", "dog", "dog"]
    assert all(item.path is not None and Path(item.path).is_file() and item.array is None for item in source.items)
    assert str(tmp_path) not in source.description


def test_classes_sort_as_numbers(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number}/x.png" for number in (10, 9, 2, 1, 100)), "b/x.png", "A/x.png")
    assert open_source(tmp_path).classes == ("1", "2", "9", "10", "100", "A", "b")


@pytest.mark.parametrize(
    "names", [("train", "validation", "test"), ("Training", "val", "Testing"), ("train", "valid", "test")]
)
def test_splits_above_the_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    make(tmp_path, *(f"{split}/{kind}/1.jpg" for split in names for kind in ("cat", "dog")))
    source = open_source(tmp_path)
    assert {item.id: item.split for item in source.items if item.label == "cat"} == {
        f"{name}/cat/1.jpg": split for name, split in zip(names, ("train", "validation", "test"), strict=True)
    }
    assert source.classes == ("cat", "dog")
    assert any(f"{names[0]}/ as train" in notice for notice in source.notices)


def test_a_single_split_and_a_class_called_train(tmp_path: Path) -> None:
    make(tmp_path / "one", "test/cat/1.jpg", "test/dog/1.jpg")
    assert {item.split for item in open_source(tmp_path / "one").items} == {"test"}
    make(tmp_path / "vehicles", "train/1.jpg", "bus/1.jpg", "car/1.jpg")
    source = open_source(tmp_path / "vehicles")
    assert source.classes == ("bus", "car", "train") and source.items[0].split is None
    make(tmp_path / "mixed", "train/cat/1.jpg", "test/cat/1.jpg", "extra/1.jpg")
    with pytest.raises(SourceError, match="beside them 'extra'"):
        open_source(tmp_path / "mixed")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ((), "is empty; wanted one sub-folder per class"),
        (("1.jpg", "2.jpg"), r"2 files without class folders \('1.jpg' first\).*\.csv"),
        (("train/1.jpg", "test/1.jpg"), "2 files without class folders.*train/cat/1.jpg"),
        (("cat/.hidden.jpg",), "class folders but no file in them"),
        (("notes.txt",), "no pictures, only 1 files of other kinds"),
    ],
)
def test_a_folder_without_pictures_says_how_to_arrange_them(tmp_path: Path, names: tuple[str, ...], says: str) -> None:
    with pytest.raises(SourceError, match=says) as caught:
        open_source(make(tmp_path, *names))
    assert "\n" not in str(caught.value)


def test_what_is_missing_or_no_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist; wanted a folder with one sub-folder per class"):
        open_source(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="does not exist"):
        open_source("a\0b")
    make(tmp_path, "some.zip", "some.jpg")
    with pytest.raises(SourceError, match="unpack it"):
        open_source(tmp_path / "some.zip")
    with pytest.raises(SourceError, match="is no source; wanted"):
        open_source(tmp_path / "some.jpg")
    with pytest.raises(SourceError, match="does not exist"):
        open_source(tmp_path / "some.jpg" / "below")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="neither a folder nor a file"):
        open_source(tmp_path / "pipe")
    with pytest.raises(SourceError, match="a int is no source"):
        open_source(3)


def test_hidden_files_and_known_companions_are_counted(tmp_path: Path) -> None:
    make(
        tmp_path,
        *("cat/1.jpg", "dog/1.jpg", "cat/._1.jpg", ".DS_Store", "cat/Thumbs.db", "cat/labels.TXT", "dog/x.json"),
        *(".git/config", "__MACOSX/cat/._1.jpg", "dog/model.bin"),
    )
    source = open_source(tmp_path)
    # what might be a picture is left for the build to decode and to refuse
    assert ids(source) == ["cat/1.jpg", "dog/1.jpg", "dog/model.bin"]
    assert source.skipped == 7
    assert "skipped 4 hidden, 3 not named as a picture" in source.notices
    assert source.rejected == []


def test_pictures_beside_class_folders_are_rejected(tmp_path: Path) -> None:
    source = open_source(make(tmp_path, "cat/1.jpg", "dog/1.jpg", "loose.jpg"))
    assert "no class" in reasons(source)["loose.jpg"]
    assert source.classes == ("cat", "dog")


def test_empty_classes_similar_names_and_a_single_class_are_said(tmp_path: Path) -> None:
    make(tmp_path / "a", "cat/1.jpg", "Cat/1.jpg", "dog/1.jpg")
    (tmp_path / "a" / "owl" / "empty").mkdir(parents=True)
    notices = open_source(tmp_path / "a").notices
    assert any("no files in 'owl'" in notice for notice in notices)
    make(tmp_path / "b", "flowers/rose/1.jpg", "flowers/tulip/1.jpg")
    assert any("give" in notice and "flowers" in notice for notice in open_source(tmp_path / "b").notices)


def test_special_files_and_dangling_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "cat/1.jpg", "dog/1.jpg")
    os.mkfifo(tmp_path / "cat" / "pipe.jpg")
    (tmp_path / "cat" / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "cat" / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "dog" / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "dog" / "good.jpg").symlink_to(tmp_path / "cat" / "1.jpg")
    monkeypatch.chdir(tmp_path / "cat")  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jpg")
    source = open_source(tmp_path)
    assert ids(source) == ["cat/1.jpg", "dog/1.jpg", "dog/good.jpg"]
    found = reasons(source)
    assert set(found) == {"cat/pipe.jpg", "cat/gone.jpg", "cat/self.jpg", "dog/zero.jpg", "cat/socket.jpg"}
    assert "FIFO" in found["cat/pipe.jpg"] and "link to nothing" in found["cat/gone.jpg"]
    assert "a link that fails" in found["cat/self.jpg"] and "device" in found["dog/zero.jpg"]
    assert "socket" in found["cat/socket.jpg"]


def test_links_between_folders_never_run_in_circles(tmp_path: Path) -> None:
    root = make(tmp_path / "root", "cat/1.jpg", "dog/1.jpg")
    make(tmp_path / "elsewhere", "owl/1.jpg")
    (root / "cat" / "up").symlink_to(root)
    (root / "cat" / "here").symlink_to(".")
    (root / "dog" / "above").symlink_to(tmp_path)
    (root / "kitten").symlink_to(root / "cat")
    (root / "owl").symlink_to(tmp_path / "elsewhere" / "owl")
    source = open_source(root)
    assert ids(source) == ["cat/1.jpg", "dog/1.jpg", "owl/1.jpg"]
    found = reasons(source)
    assert set(found) == {"cat/up", "cat/here", "dog/above", "kitten"}
    for name in ("cat/up", "cat/here", "dog/above"):
        assert "symlink loop" in found[name]
    assert found["kitten"] == "the same folder as 'cat', which is listed already"


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "cat/1.jpg", "dog/1.jpg", "dog/locked/2.jpg")
    real = os.scandir

    def scandir(path: str | os.PathLike[str]) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("locked"):  # permissions bind nobody who runs tests as root
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    source = open_source(tmp_path)
    assert ids(source) == ["cat/1.jpg", "dog/1.jpg"]
    assert reasons(source) == {"dog/locked": "the folder cannot be listed: Permission denied"}


def test_names_of_every_kind(tmp_path: Path) -> None:
    strange = [
        "two words/a b.jpg",
        "new\nline/c\nd.jpg",
        "日本/猫.jpg",
        "emoji/🐱.jpg",
        "quote\"'/,;.jpg",
        "-dash/-1.jpg",
    ]
    source = open_source(make(tmp_path, *strange))
    assert sorted(ids(source)) == sorted(strange)
    assert "new\nline" in source.classes
    for item in source.items:
        assert item.path is not None and Path(item.path).read_bytes() == b"picture " + item.id.encode()


def test_decomposed_names_get_the_id_of_composed_ones(tmp_path: Path) -> None:
    """A Mac hands out NFD where Linux has NFC: the same dataset must get the same ids."""
    one = open_source(make(tmp_path / "linux", f"{NFC}/{NFC}.jpg", "other/1.jpg"))
    two = open_source(make(tmp_path / "mac", f"{NFD}/{NFD}.jpg", "other/1.jpg"))
    assert ids(one) == ids(two) and one.classes == two.classes == (NFC, "other")
    assert two.items[0].path is not None and Path(two.items[0].path).is_file()
    both = open_source(make(tmp_path / "both", f"cat/{NFC}.jpg", f"cat/{NFD}.jpg", "dog/1.jpg"))
    assert ids(both) == [f"cat/{NFC}.jpg", "dog/1.jpg"]
    assert "Unicode form" in reasons(both)[f"cat/{NFC}.jpg"]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS refuses such names")
def test_names_that_are_no_utf_8(tmp_path: Path) -> None:
    source = open_source(make(tmp_path, os.fsdecode(b"cat/caf\xe9.jpg"), os.fsdecode(b"d\xf8g/1.jpg")))
    assert ids(source) == [r"cat/caf\xe9.jpg", r"d\xf8g/1.jpg"]
    assert source.items[0].path is not None and Path(source.items[0].path).is_file()
    for item in source.items:
        item.id.encode()
        item.label.encode()
    assert len(source.fingerprint()) == 64


def test_groups(tmp_path: Path) -> None:
    make(tmp_path, "cat/video1/1.jpg", "cat/video1/2.jpg", "cat/video2/1.jpg", "dog/3.jpg")
    by_folder = open_source(tmp_path, options=SourceOptions(group_by="folder"))
    assert [item.group for item in by_folder.items] == ["cat/video1", "cat/video1", "cat/video2", None]
    by_pattern = open_source(tmp_path, options=SourceOptions(group_by=r"/(video\d+)/"))
    assert [item.group for item in by_pattern.items] == ["video1", "video1", "video2", None]
    assert any("1 pictures on their own" in notice for notice in by_pattern.notices)
    with pytest.raises(UsageError, match="matches no id"):
        open_source(tmp_path, options=SourceOptions(group_by="(patient)"))
    with pytest.raises(UsageError, match="no picture lies"):
        open_source(make(tmp_path / "flat", "cat/1.jpg", "dog/1.jpg"), options=SourceOptions(group_by="folder"))


def test_a_group_is_the_same_in_every_given_split(tmp_path: Path) -> None:
    make(tmp_path, "train/cat/v1/1.jpg", "test/cat/v1/2.jpg")
    source = open_source(tmp_path, options=SourceOptions(group_by="folder"))
    assert {item.group for item in source.items} == {"cat/v1"}


DATASET = ("dataset.json", "train-00000-of-00001.tfrecord", "train-00000-of-00001.idx")
RUN = (
    "config.toml",
    "metrics.jsonl",
    "tensorboard/events.out",
    "checkpoints/8.safetensors",
    "bundle/weights.safetensors",
)


def test_what_deeper_wrote_beside_the_pictures_is_passed_over(tmp_path: Path) -> None:
    """`deeper train .` leaves ./datasets and ./runs; started again it took them for classes."""
    make(tmp_path, "cat/1.jpg", "dog/1.jpg")
    before = open_source(tmp_path)
    make(tmp_path / "datasets" / "animals-1f", *DATASET)
    make(tmp_path / "runs" / "animals", *RUN)
    make(tmp_path / "runs" / "animals-learning-curve", *(f"25-0/{name}" for name in RUN), "learning-curve.png")
    make(tmp_path / "audits" / "animals", "policy.toml", "audit.json", "evidence.png")
    make(tmp_path / "runs" / "sweep" / "runs" / "animals", *RUN)
    (tmp_path / "runs" / "just-begun").mkdir()
    (tmp_path / "runs" / "animals" / "latest").symlink_to("nowhere")
    source = open_source(tmp_path)
    assert source.classes == ("cat", "dog") and ids(source) == ids(before) and list(source.rejected) == []
    assert source.fingerprint() == before.fingerprint()
    assert source.notices == ("passed over 'audits', 'datasets', 'runs': written by deeper, no pictures of yours",)


def test_what_deeper_wrote_beside_splits_is_passed_over(tmp_path: Path) -> None:
    make(tmp_path, *(f"{split}/{kind}/1.jpg" for split in ("train", "test") for kind in ("cat", "dog")))
    make(tmp_path / "datasets" / "animals-1f", *DATASET)
    make(tmp_path / "first", *RUN)
    source = open_source(tmp_path)
    assert {item.split for item in source.items} == {"train", "test"} and source.classes == ("cat", "dog")
    assert any("passed over 'datasets', 'first'" in notice for notice in source.notices)


def test_a_class_called_runs_stays_a_class(tmp_path: Path) -> None:
    make(tmp_path, "runs/1.jpg", "runs/snow/2.jpg", "lifts/1.jpg", "lifts/dataset.json", "lifts/config.toml")
    assert ids(open_source(tmp_path)) == ["lifts/1.jpg", "runs/1.jpg", "runs/snow/2.jpg"]
    make(tmp_path / "runs" / "first", *RUN)
    source = open_source(tmp_path)
    assert ids(source) == ["lifts/1.jpg", "runs/1.jpg", "runs/snow/2.jpg"]
    make(tmp_path / "runs" / "snow" / "second", *RUN)
    (tmp_path / "runs" / "1.jpg").unlink()
    assert ids(open_source(tmp_path)) == ["lifts/1.jpg", "runs/snow/2.jpg"]
    assert any("passed over 'runs/first'" in notice for notice in source.notices)


def test_a_folder_of_nothing_but_what_deeper_wrote(tmp_path: Path) -> None:
    make(tmp_path / "datasets" / "animals-1f", *DATASET)
    with pytest.raises(SourceError, match=r"no pictures, only what deeper wrote \('datasets'\); wanted one sub-folder"):
        open_source(tmp_path)


def test_names_of_classes_are_no_option_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="classes are for arrays that hold indices"):
        open_source(make(tmp_path, "a/1.jpg", "b/1.jpg"), options=SourceOptions(classes=("cat", "dog")))


def test_the_fingerprint_follows_content_and_not_the_place(tmp_path: Path) -> None:
    root = make(tmp_path / "here", "cat/1.jpg", "dog/1.jpg")
    first = open_source(root).fingerprint()
    root.rename(tmp_path / "there")
    assert open_source(tmp_path / "there").fingerprint() == first
    make(tmp_path / "there", "dog/2.jpg")
    second = open_source(tmp_path / "there").fingerprint()
    assert second != first
    os.utime(tmp_path / "there" / "dog" / "2.jpg", ns=(1, 1))
    assert open_source(tmp_path / "there").fingerprint() != second


def test_a_real_set(data: Path) -> None:
    source = open_source(data / "flowers12")
    counts = {split: sum(item.split == split for item in source.items) for split in ("train", "test")}
    assert counts == {"train": 12 * 60, "test": 12 * 20} and len(source.classes) == 12
    assert list(source.rejected) == []


def test_sources_import_no_torch() -> None:
    code = (
        "import sys; from deeper.records.sources import open_source, folder, table, arrays, idx, named;"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=patient(60)).returncode == 0


def test_messages_stay_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(make(tmp_path / "bad\nname", "x\ny.jpg"))
    assert not re.search(r"[\n\r\x1b]", str(caught.value))


def test_splits_inside_the_class_folders_are_said(tmp_path: Path) -> None:
    make(tmp_path / "a", "rose/train/1.jpg", "rose/test/2.jpg", "tulip/train/1.jpg", "tulip/test/2.jpg")
    (notice,) = (one for one in open_source(tmp_path / "a").notices if "named like splits" in one)
    assert "'rose', 'tulip'" in notice and "above the classes" in notice
    make(tmp_path / "b", "rose/train/1.jpg", "tulip/1.jpg", "daisy/2.jpg")  # one of three may well be about trains
    assert not any("named like splits" in one for one in open_source(tmp_path / "b").notices)
