"""Pictures that cannot be read, among others that can."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from deeper.errors import SourceError, UsageError
from deeper.prediction import Failed
from tests.prediction.test_classifier import png
from tests.sample_network import digits


def bad_pictures(tmp_path: Path) -> dict[str, object]:
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(png(digits("test", 60)[0][0])[:60])
    os.mkfifo(tmp_path / "fifo.png")
    return {
        "text.jpg": tmp_path / "text.jpg",
        "empty.png": tmp_path / "empty.png",
        "cut.png": tmp_path / "cut.png",
        "fifo.png": tmp_path / "fifo.png",
        "nowhere.png": tmp_path / "nowhere.png",
        tmp_path.name: tmp_path,
        "nul": "nul\0name",
        "picture 1": np.full((28, 28), np.nan),
        "picture 1: ": np.zeros((2, 2, 2, 2)),
        "a int": 3,
        "a NoneType": None,
    }


def test_a_bad_picture_in_a_list_is_named(classifier, images, tmp_path):
    for name, bad in bad_pictures(tmp_path).items():
        with pytest.raises(SourceError) as caught:
            classifier([images[0], bad, images[1]])
        assert name in str(caught.value) and "\n" not in str(caught.value) and "\0" not in str(caught.value)
        # Or skipped: its neighbours are answered as ever.
        answers = classifier([images[0], bad, images[1]], on_error="skip")
        assert isinstance(answers[1], Failed) and answers[1].reason
        assert [answer.label for answer in (answers[0], answers[2])] == [one.label for one in classifier(images[:2])]


def test_predict_many_gives_what_came_before_a_bad_one(classifier, images):
    stream = classifier.predict_many([images[0], images[1], b"no picture"])
    assert [next(stream).source, next(stream).source] == ["picture 0", "picture 1"]
    with pytest.raises(SourceError, match="picture 2"):
        next(stream)


@pytest.mark.parametrize("given", [3, None, {"a": 1}])
def test_what_is_no_picture_at_all(classifier, given):
    with pytest.raises(UsageError, match="is no picture"):
        classifier(given)


class Breaking:
    """A picture over which reading breaks in a way that nobody foresaw."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __array__(self, *given: object, **named: object) -> np.ndarray:
        raise self.error


def test_whatever_breaks_over_a_picture_stops_nothing(classifier, images) -> None:
    faults = [RuntimeError("odd\nthing"), MemoryError(), OSError(5, "input/output error"), RecursionError()]
    given = [images[0], *map(Breaking, faults), images[1]]
    found = list(classifier.predict_many(given, on_error="skip"))
    assert [isinstance(one, Failed) for one in found] == [False, True, True, True, True, False]
    assert found[1].reason == "cannot be read (RuntimeError: odd\\nthing)"
    assert found[2].reason == "needs more memory than there is"
    with pytest.raises(MemoryError):
        list(classifier.predict_many([images[0], Breaking(MemoryError())]))
