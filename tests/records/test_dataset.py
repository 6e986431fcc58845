"""Reading: what a split yields, and one clear line for each way in which a folder can be wrong."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from deeper import draws
from deeper.errors import DatasetError
from deeper.records import BuildOptions, Dataset, build
from deeper.records import info as dataset_info
from deeper.records.sources import Item, Source


@pytest.fixture
def made(tmp_path: Path, listing: Callable[..., Source], array_items: Callable[..., list[Item]]) -> Path:
    out = tmp_path / "made"
    build(listing(array_items(60)), out, options=BuildOptions(shard_megabytes=0.004))
    return out


def test_a_split_yields_what_was_built(made: Path, array_items: Callable[..., list[Item]]) -> None:
    dataset = Dataset(made)
    known = {item.id: item for item in array_items(60)}
    assert dataset.classes == ("c0", "c1", "c2")
    seen = []
    for name, info in dataset.info.splits.items():
        split = dataset.split(name)
        assert len(split) == info.count == len(split.ids) == len(split.labels) == len(split.keys)
        assert np.bincount(split.labels, minlength=3).tolist() == list(info.per_class)
        np.testing.assert_array_equal(split.keys, draws.keys(split.ids))
        assert set(split.heights) == set(split.widths) == {8}
        for position, identifier in enumerate(split.ids):
            np.testing.assert_array_equal(split.picture(position)[..., 0], known[identifier].array)
            assert dataset.classes[split.labels[position]] == known[identifier].label
        seen += split.ids
    assert sorted(seen) == sorted(known)
    assert dataset.split("train") is dataset.split("train")
    assert len(dataset.info.splits["train"].shards) > 1


def test_threads_may_read_one_split(made: Path) -> None:
    split = Dataset(made).split("train")
    alone = [split.encoded(position) for position in range(len(split))]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(split.encoded, list(range(len(split))) * 5)) == alone * 5


def test_positions_outside_are_refused(made: Path) -> None:
    split = Dataset(made).split("train")
    for position in (-1, len(split)):
        with pytest.raises(IndexError):
            split.encoded(position)


def test_a_grey_picture_has_the_datasets_channels(
    tmp_path: Path, listing: Callable[..., Source], array_items: Callable[..., list[Item]]
) -> None:
    build(listing(array_items(12)), tmp_path / "x", options=BuildOptions(channels=3))
    assert Dataset(tmp_path / "x").split("train").picture(0).shape == (8, 8, 3)


def test_json_holds_no_path_and_no_time(made: Path) -> None:
    text = (made / "dataset.json").read_text()
    assert str(made.parent) not in text
    assert not re.search(r"20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", text)
    numbers = map(float, re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", text))
    assert not [one for one in numbers if abs(one - time.time()) < 100 * 86400]
    info = dataset_info.load(made)
    assert json.loads(text)["hash"] == info.hash
    assert info.count == 60


def spoilt(made: Path, **changes: object) -> Path:
    plain = json.loads((made / "dataset.json").read_text())
    plain.update(changes)
    (made / "dataset.json").write_text(json.dumps(plain))
    return made


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"channels": 3}, "was changed after it was written"),
        ({"classes": ["a", "b", "c"]}, "was changed after it was written"),
        ({"classes": "a"}, "wanted a list"),
        ({"colour": 1}, "no option 'colour'"),
        ({"format_version": 2}, "update deeper"),
        ({"hash": None}, "was changed"),
    ],
)
def test_a_changed_description_is_refused(made: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        Dataset(spoilt(made, **changes))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"a":' * 5000])
def test_a_description_that_is_none_is_refused(made: Path, content: bytes) -> None:
    (made / "dataset.json").write_bytes(content)
    with pytest.raises(DatasetError, match="dataset.json is damaged.*--repair"):
        Dataset(made)


def test_shards_outside_the_folder_are_refused(made: Path) -> None:
    info = dataset_info.load(made)
    plain = json.loads((made / "dataset.json").read_text())
    plain["splits"]["train"]["shards"][0]["file"] = "../other.tfrecord"
    del plain["hash"]
    plain["hash"] = dataset_info._hash(plain)
    (made / "dataset.json").write_text(json.dumps(plain))
    assert plain["hash"] != info.hash
    with pytest.raises(DatasetError, match="no plain file name"):
        Dataset(made)


@pytest.mark.parametrize("name", ["../../elsewhere", "..", ""])
def test_a_name_that_leads_elsewhere_is_refused(made: Path, name: str) -> None:
    """Runs and audits are named after it."""
    plain = json.loads((made / "dataset.json").read_text())
    plain["name"] = name
    del plain["hash"]
    plain["hash"] = dataset_info._hash(plain)
    (made / "dataset.json").write_text(json.dumps(plain))
    with pytest.raises(DatasetError, match="is no name of a folder"):
        Dataset(made)


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist; build one with `deeper build"):
        Dataset(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="has no dataset.json"):
        Dataset(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="is no dataset"):
        Dataset(tmp_path / "file")


def test_no_such_split(made: Path) -> None:
    with pytest.raises(DatasetError, match="no split 'tests'; did you mean 'test'"):
        Dataset(made).split("tests")


def first_shard(made: Path) -> Path:
    return made / dataset_info.load(made).splits["train"].shards[0].file


def test_a_damaged_record_is_named_when_it_is_read(made: Path) -> None:
    path = first_shard(made)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    split = Dataset(made).split("train")
    last = dataset_info.load(made).splits["train"].shards[0].count - 1
    assert len(split.encoded(last - 1)) > 60
    with pytest.raises(
        DatasetError, match=rf"{path.name} at byte \d+: the data's CRC does not match; run `deeper verify"
    ):
        split.picture(last)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda path: path.unlink(), "tfrecord is missing"),
        (lambda path: path.with_suffix(".idx").unlink(), "idx is missing"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes where its index ends"),
        (lambda path: path.with_suffix(".idx").write_bytes(b"0 x"), "idx is damaged"),
        (lambda path: path.with_suffix(".idx").write_bytes(b""), "bytes where its index ends"),
    ],
)
def test_a_damaged_shard_is_refused_when_it_is_opened(made: Path, harm: Callable[[Path], None], says: str) -> None:
    harm(first_shard(made))
    with pytest.raises(DatasetError, match=says):
        Dataset(made).split("train")


def test_a_copied_dataset_is_the_same_dataset(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "copy")
    assert Dataset(tmp_path / "copy").info == Dataset(made).info
