"""What to label next, and pictures copied into a folder per class."""

from __future__ import annotations

import os
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest

from deeper.cli.predict import _uncopied
from deeper.errors import StorageError, UsageError
from deeper.images import decode
from deeper.prediction import Failed, Named, Pause, Prediction
from deeper.prediction.ranking import rank_uncertain
from deeper.prediction.sorting import UNSURE, Frames, Sorter


def answer(source: str, *logits: float, unsure: str = "", classes: tuple[str, ...] = ("a", "b", "c")) -> Prediction:
    return Prediction(classes, np.array(logits, np.float32), source, 1.0, unsure)


def test_the_least_decided_come_first() -> None:
    given = [
        answer("sure", 9, 0, 0),
        answer("torn", 2, 2, -5),
        answer("blank", 1, 1, 1, unsure="blank: there is next to nothing in it"),
        answer("between", 2, 1, 0, unsure="no class is probable enough (67%, …)"),
        answer("torn too", 2, 2, -5),
    ]
    ranked = rank_uncertain(given)
    assert [one.source for one in ranked] == ["torn", "torn too", "between", "sure", "blank"]
    assert (ranked[0].first, ranked[0].second, ranked[0].margin) == ("a", "b", 0)
    assert ranked[2].margin == pytest.approx((np.e**2 - np.e) / (np.e**2 + np.e + 1))
    assert [one.source for one in rank_uncertain(given, 2)] == ["torn", "torn too"]
    assert [one.index for one in ranked] == [1, 4, 3, 0, 2]
    same = rank_uncertain([answer("frame", 9, 0, 0), answer("frame", 0, 0.1, 0)])
    assert [(one.source, one.first, one.index) for one in same] == [("frame", "b", 1), ("frame", "a", 0)]
    assert rank_uncertain([]) == []


def test_pictures_are_copied_and_nothing_is_overwritten(tmp_path) -> None:
    first, second = tmp_path / "one" / "x.png", tmp_path / "two" / "x.png"
    for path, data in ((first, b"first"), (second, b"second")):
        path.parent.mkdir()
        path.write_bytes(data)
    sorter = Sorter(tmp_path / "out", ("a", "b", "c"))
    assert sorter.place(answer(str(first), 1, 0, 0)) == tmp_path / "out" / "a" / "x.png"
    assert sorter.place(answer(str(second), 1, 0, 0)) == tmp_path / "out" / "a" / "x-2.png"
    # Again: nothing is copied twice.
    assert sorter.place(answer(str(second), 1, 0, 0)) == tmp_path / "out" / "a" / "x-2.png"
    assert sorter.place(answer(str(first), 0, 1, 0, unsure="blank")) == tmp_path / "out" / UNSURE / "b" / "x.png"
    assert (tmp_path / "out" / "a" / "x.png").read_bytes() == b"first"
    assert sorted(path.name for path in (tmp_path / "out" / "a").iterdir()) == ["x-2.png", "x.png"]


def test_hostile_class_names_stay_inside_and_apart(tmp_path) -> None:
    classes = (
        "../../etc",
        "a/b",
        "a-b",
        "_unsure",
        "...",
        "",
        "日本 語",
        "a\nb",
        "Rose",
        "rose",
        "_Unsure",
        "가",
        "\u1100\u1161",
    )
    picture = tmp_path / "p.png"
    picture.write_bytes(b"x")
    sorter = Sorter(tmp_path / "out", classes)
    places = []
    for index in range(len(classes)):
        logits = np.zeros(len(classes))
        logits[index] = 5
        places.append(sorter.place(answer(str(picture), *logits, classes=classes)))
    # Also where a system tells no capitals from small letters, and composes letters.
    assert len({normalize("NFC", place.parent.name).casefold() for place in places}) == len(classes)
    for place in places:
        assert place.resolve().parent.parent == (tmp_path / "out").resolve()
    assert UNSURE not in {place.parent.name for place in places}


def test_a_file_in_the_way_is_said(tmp_path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UsageError, match="is no folder"):
        Sorter(tmp_path / "out", ("a", "b"))


def test_thousands_of_one_name_are_each_looked_at_once(tmp_path, monkeypatch) -> None:
    count, read = 60, 0
    sources = [tmp_path / "photos" / f"{number:03}" / "image.jpg" for number in range(count)]
    for number, path in enumerate(sources):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"%03d" % number)  # of one size
    plain = Path.read_bytes

    def counted(path: Path) -> bytes:
        nonlocal read
        read += 1
        return plain(path)

    def never(descriptor: int) -> None:
        raise AssertionError("copies wait for the disk")

    monkeypatch.setattr(Path, "read_bytes", counted)
    monkeypatch.setattr(os, "fsync", never)
    sorter = Sorter(tmp_path / "out", ("a", "b", "c"))
    placed = [sorter.place(answer(str(path), 1, 0, 0)) for path in sources]
    assert [path.name for path in placed[:3]] == ["image.jpg", "image-2.jpg", "image-3.jpg"]
    assert len(set(placed)) == count and read <= 2 * count
    assert all(plain(path) == plain(source) for path, source in zip(placed, sources, strict=True))
    # Sorting again, in another order: every one is found, and nothing is copied.
    again = Sorter(tmp_path / "out", ("a", "b", "c"))
    assert [again.place(answer(str(path), 1, 0, 0)) for path in reversed(sources)] == placed[::-1]
    assert len(list((tmp_path / "out" / "a").iterdir())) == count and read <= 4 * count
    # A name that has become free is used, and what somebody put there meanwhile stays.
    placed[1].unlink()
    (tmp_path / "out" / "a" / f"image-{count + 1}.jpg").write_bytes(b"other")
    new = tmp_path / "new" / "image.jpg"
    new.parent.mkdir()
    new.write_bytes(b"new")
    third = Sorter(tmp_path / "out", ("a", "b", "c"))
    assert third.place(answer(str(new), 1, 0, 0)).name == "image-2.jpg"
    new.write_bytes(b"newer")
    assert third.place(answer(str(new), 1, 0, 0)).name == f"image-{count + 2}.jpg"


def test_a_picture_that_is_gone_is_said(tmp_path) -> None:
    sorter = Sorter(tmp_path / "out", ("a", "b", "c"))
    gone = _uncopied(sorter, Frames(sorter.folder), 0, answer(str(tmp_path / "gone.png"), 1, 0, 0))
    assert gone == "no such file or directory"


def test_frames_are_held_until_they_are_placed(tmp_path) -> None:
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    frames = Frames(tmp_path / "out")
    given = ["a.png", Named("v.mp4@0.00s", pixels), Pause(), Failed("b.png", "bad"), Named("v.mp4@0.00s", 255 - pixels)]
    assert list(frames.held(iter(given))) == given
    assert not list((tmp_path / "out").iterdir())  # whoever is killed leaves nothing behind
    taken = [frames.take(number) for number in range(4)]
    assert taken[0] is None and taken[2] is None and frames.take(1) is None
    np.testing.assert_array_equal(decode(taken[1]), pixels)
    np.testing.assert_array_equal(decode(taken[3]), 255 - pixels)
    # Where they cannot be held, that is said of each, and stops nothing.
    (tmp_path / "file").write_text("in the way")
    blocked = Frames(tmp_path / "file" / "out")
    assert len(list(blocked.held(iter(given)))) == 5
    with pytest.raises(StorageError):
        blocked.take(1)


def test_a_name_that_another_process_takes_meanwhile_stays_its_own(tmp_path, monkeypatch) -> None:
    (tmp_path / "x.jpg").write_bytes(b"ours")
    theirs = tmp_path / "sorted" / "a" / "x.jpg"
    link = os.link

    def late(source, target):
        theirs.write_bytes(b"theirs")
        monkeypatch.setattr(os, "link", link)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    placed = Sorter(tmp_path / "sorted", ("a", "b", "c")).place(answer(str(tmp_path / "x.jpg"), 9, 0, 0))
    assert theirs.read_bytes() == b"theirs"
    assert placed.name == "x-2.jpg" and placed.read_bytes() == b"ours"
    assert sorted(one.name for one in theirs.parent.iterdir()) == ["x-2.jpg", "x.jpg"]


def test_what_could_not_be_copied_does_not_count_as_there(tmp_path, monkeypatch) -> None:
    sorter = Sorter(tmp_path / "sorted", ("a", "b", "c"))
    for folder, data in (("one", b"1"), ("two", b"2"), ("three", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jpg").write_bytes(data)
    sorter.place(answer(str(tmp_path / "one" / "x.jpg"), 9, 0, 0))
    with monkeypatch.context() as broken:
        broken.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        broken.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(StorageError):
            sorter.place(answer(str(tmp_path / "two" / "x.jpg"), 9, 0, 0))
    placed = sorter.place(answer(str(tmp_path / "three" / "x.jpg"), 9, 0, 0))
    assert placed.read_bytes() == b"2"
