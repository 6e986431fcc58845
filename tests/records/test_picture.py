"""What a record holds: the keys, and the quick way to the facts against the thorough one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeper.records import example, picture
from deeper.records.picture import Facts

# Any text, lone surrogates too: file names that are no UTF-8 arrive like that.
texts = st.text(st.characters(), max_size=160)
facts = st.builds(
    Facts,
    id=texts,
    label=st.integers(0, 100_000),
    text=texts,
    height=st.integers(1, 70_000),
    width=st.integers(1, 70_000),
    channels=st.sampled_from((1, 3)),
    group=st.none() | texts,
)


def test_the_keys_are_those_of_the_inception_tools() -> None:
    data = picture.encode(Facts("train/cat 1.jpg", 0, "cat", 3, 4, 3, None), b"\xff\xd8\xff", "JPEG")
    assert example.decode(data) == {
        "image/channels": (3,),
        "image/class/label": (0,),
        "image/class/text": (b"cat",),
        "image/colorspace": (b"RGB",),
        "image/encoded": (b"\xff\xd8\xff",),
        "image/filename": (b"cat 1.jpg",),
        "image/format": (b"JPEG",),
        "image/height": (3,),
        "image/id": (b"train/cat 1.jpg",),
        "image/width": (4,),
    }


@given(facts, st.binary(min_size=1, max_size=400))
def test_round_trip(known: Facts, encoded: bytes) -> None:
    data = picture.encode(known, encoded, "PNG")
    assert picture.read_facts(b"before" + data, 6, 6 + len(data)) == known
    assert picture.read_encoded(data) == encoded


@given(facts, st.binary(min_size=1, max_size=400))
def test_the_glance_agrees_with_the_walk_or_declines(known: Facts, encoded: bytes) -> None:
    data = picture.encode(known, encoded, "PNG")
    glanced = picture._glance(data[:1024])
    assert glanced is None or glanced == picture._walk(data, 0, len(data))


def test_the_glance_does_not_decline_ordinary_records() -> None:
    for size in (60, 300, 100_000):
        data = picture.encode(Facts("train/00017", 7, "seven", 28, 28, 1, "writer 3"), bytes(size), "PNG")
        assert picture._glance(data[:1024]) is not None


def test_names_that_look_like_keys_do_no_harm() -> None:
    known = Facts("image/encoded", 1, "image/class/label", 1, 1, 1, "\x0a\x0dimage/encoded")
    data = picture.encode(known, b"image/id", "PNG")
    assert picture.read_facts(data, 0, len(data)) == known


def test_keys_in_another_order_are_read() -> None:
    features = example.decode(picture.encode(Facts("x", 1, "b", 2, 3, 1, None), b"p", "PNG"))
    data = example.encode(features)
    assert picture.read_facts(data, 0, len(data)) == Facts("x", 1, "b", 2, 3, 1, None)


@pytest.mark.parametrize("key", ["image/id", "image/class/label", "image/class/text", "image/height", "image/channels"])
def test_a_missing_key_is_refused(key: str) -> None:
    features = example.decode(picture.encode(Facts("x", 1, "b", 2, 3, 1, None), b"p", "PNG"))
    del features[key]
    data = example.encode(features)
    with pytest.raises(ValueError, match="it lacks one of"):
        picture.read_facts(data, 0, len(data))
