"""What to label next, and pictures copied into a folder per class."""

from __future__ import annotations

import numpy as np
import pytest

from deeper.errors import UsageError
from deeper.prediction import Prediction
from deeper.prediction.ranking import rank_uncertain
from deeper.prediction.sorting import UNSURE, Sorter


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
    classes = ("../../etc", "a/b", "a-b", "_unsure", "...", "", "日本 語", "a\nb")
    picture = tmp_path / "p.png"
    picture.write_bytes(b"x")
    sorter = Sorter(tmp_path / "out", classes)
    places = []
    for index in range(len(classes)):
        logits = np.zeros(len(classes))
        logits[index] = 5
        places.append(sorter.place(answer(str(picture), *logits, classes=classes)))
    assert len({place.parent for place in places}) == len(classes)
    for place in places:
        assert place.resolve().parent.parent == (tmp_path / "out").resolve()
    assert UNSURE not in {place.parent.name for place in places}


def test_a_file_in_the_way_is_said(tmp_path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(UsageError, match="is no folder"):
        Sorter(tmp_path / "out", ("a", "b"))
