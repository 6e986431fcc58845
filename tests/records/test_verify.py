"""Every kind of harm is found by `verify`, and `repair` keeps all that is sound."""

from __future__ import annotations

import csv
import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deeper.errors import DatasetError
from deeper.records import BuildOptions, Dataset, build
from deeper.records import info as dataset_info
from deeper.records.lock import locked
from deeper.records.repair import repair
from deeper.records.salvage import stretches
from deeper.records.shards import ShardWriter
from deeper.records.sources import Item, Source
from deeper.records.tfrecord import frame, parse_index, read
from deeper.records.verify import verify

Make = Callable[..., Source]
Arrays = Callable[..., list[Item]]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, listing: Make, array_items: Arrays) -> Path:
    """60 pictures, several shards in train, an addition, one rejected file."""
    out = tmp_path_factory.mktemp("sound") / "set"
    bad = Item("bad.jpg", "c0", None, None, out / "nowhere", None)
    build(listing([*array_items(48), bad]), out, options=BuildOptions(shard_megabytes=0.004))
    build(listing(array_items(12, prefix="new", seed=1)), out, options=BuildOptions(add=True))
    return out


@pytest.fixture
def made(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "set")
    return tmp_path / "set"


def first_shard(made: Path, split: str = "train") -> Path:
    return made / dataset_info.load(made).splits[split].shards[0].file


def index_of(path: Path) -> list[tuple[int, int]]:
    return list(zip(*parse_index(path.with_suffix(".idx").read_bytes()), strict=True))


def flip(path: Path, position: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def pictures(folder: Path) -> dict[str, bytes]:
    """Every picture of the dataset, read as users read it."""
    dataset = Dataset(folder)
    found = {}
    for name in dataset.info.splits:
        split = dataset.split(name)
        for position, identifier in enumerate(split.ids):
            found[f"{name} {split.labels[position]} {identifier}"] = split.encoded(position)
    return found


def test_a_sound_dataset_is_sound_and_repair_leaves_it_alone(made: Path) -> None:
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in made.iterdir()}
    report = verify(made)
    assert report.sound
    assert (report.records, report.damaged, report.problems) == (60, 0, ())
    assert repair(made).aside is None
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in made.iterdir()} == before


# A record is 8 bytes of length, 4 of CRC, the Example, 4 of CRC; offsets from its begin, or from its end.
KINDS = {
    "length": 0,
    "length, high": 7,
    "length's CRC": 9,
    "protobuf": 13,
    "facts": 40,
    "picture": -30,
    "data's CRC": -2,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", ["first", "middle", "last"])
@pytest.mark.parametrize("index", ["sound", "missing", "damaged"])
def test_any_flipped_byte_costs_its_own_record_only(made: Path, kind: str, which: str, index: str) -> None:
    path = first_shard(made)
    records = index_of(path)
    row = {"first": 0, "middle": len(records) // 2, "last": len(records) - 1}[which]
    offset, size = records[row]
    before = pictures(made)
    identifier = Dataset(made).split("train").ids[row]
    flip(path, offset + KINDS[kind] if KINDS[kind] >= 0 else offset + size + KINDS[kind])
    if index == "missing":
        path.with_suffix(".idx").unlink()
    elif index == "damaged":
        path.with_suffix(".idx").write_bytes(b"0 20\nx\xff 1\n7 99999999999999999999999\n" + b"3 3\n")
    report = verify(made)
    (damage,) = [problem for problem in report.problems if problem.offset is not None]
    assert (damage.file, damage.offset, damage.size) == (path.name, offset, size)
    assert (report.damaged, report.records) == (1, 59)
    if kind not in ("protobuf", "facts"):
        assert damage.id == identifier
        assert identifier in str(damage)
    done = repair(made)
    assert done.records == 59
    assert verify(made).sound
    after = pictures(made)
    assert len(after) == 59
    assert after.items() <= before.items()
    assert next(key for key in before if key not in after).endswith(identifier)
    assert done.aside == made / "damaged"
    kept = (done.aside / path.name).read_bytes()
    assert len(kept) == sum(size for _, size in records)
    with (done.aside / "damaged.csv").open(newline="") as file:
        assert [path.name, str(offset), str(size)] in [row[:3] for row in csv.reader(file)]


def test_statistics_after_a_repair_are_those_of_what_is_left(made: Path) -> None:
    flip(first_shard(made), 50)
    repair(made)
    dataset = Dataset(made)
    split = dataset.split("train")
    values = np.concatenate([split.picture(row).ravel() for row in range(len(split))]) / 255
    np.testing.assert_allclose(dataset.info.mean, [values.mean()], rtol=1e-12)
    np.testing.assert_allclose(dataset.info.deviation, [values.std()], rtol=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_random_harm_anywhere_is_found_and_repaired(made: Path, seed: int) -> None:
    chance = random.Random(seed)
    before = pictures(made)
    paths = sorted(path for path in made.iterdir() if path.suffix == ".tfrecord")
    for _ in range(3):
        path = chance.choice(paths)
        data = bytearray(path.read_bytes())
        first = chance.randrange(len(data))
        match chance.choice(("flip", "cut", "zero", "insert", "remove")):
            case "flip":
                data[first] ^= chance.randrange(1, 256)
            case "cut":
                del data[first:]
            case "zero":
                data[first : first + 700] = bytes(len(data[first : first + 700]))
                data[first : first + 1] = b"\1"
            case "insert":
                data[first:first] = chance.randbytes(33)
            case _:
                del data[first : first + 21]
        path.write_bytes(data)
    assert not verify(made).sound
    repair(made)
    assert verify(made).sound
    assert pictures(made).items() <= before.items()


def test_damage_in_other_files(made: Path) -> None:
    before = pictures(made)
    path = first_shard(made)
    for harm, file, says in (
        (lambda: path.with_suffix(".idx").unlink(), path.with_suffix(".idx").name, "missing"),
        (lambda: flip(path.with_suffix(".idx"), 3), path.with_suffix(".idx").name, "does not match"),
        (lambda: (made / "rejected.csv").write_text("id,reason\n"), "rejected.csv", "has 0 pictures where"),
        (lambda: (made / "rejected.csv").unlink(), "rejected.csv", "missing"),
        (lambda: (made / "rejected.csv").write_text('id,reason\n"' + "x" * 200_000), "rejected.csv", "damaged"),
        (
            lambda: shutil.copy(path, made / "train-00009-of-00010.tfrecord"),
            "train-00009-of-00010.tfrecord",
            "not list",
        ),
        (
            lambda: flip(made / "dataset.json", (made / "dataset.json").read_bytes().index(b'"mean"') + 20),
            "dataset.json",
            "",
        ),
        (lambda: (made / "dataset.json").unlink(), "dataset.json", ""),
        (lambda: (made / "dataset.json").write_bytes(b"{"), "dataset.json", "no JSON"),
    ):
        harm()
        report = verify(made)
        assert [problem.file for problem in report.problems] == [file]
        assert says in report.problems[0].what
        assert report.records == 60
        repair(made)
        assert verify(made).sound
        assert pictures(made) == before


def test_a_lost_description_is_written_again_from_the_records(made: Path) -> None:
    before = dataset_info.load(made)
    (made / "dataset.json").unlink()
    done = repair(made)
    after = dataset_info.load(made)
    assert any("dataset.json was not as it was written" in notice for notice in done.notices)
    same = ("classes", "channels", "mean", "deviation", "moments", "sizes", "splits", "rejected", "additions")
    assert {name: getattr(after, name) for name in same} == {name: getattr(before, name) for name in same}


def test_a_changed_description_keeps_what_records_cannot_tell(made: Path) -> None:
    before = dataset_info.load(made)
    plain = json.loads((made / "dataset.json").read_text())
    plain["classes"] = ["x", "y", "z"]
    (made / "dataset.json").write_text(json.dumps(plain))
    done = repair(made)
    assert done.records == 60
    assert dataset_info.load(made) == before
    assert json.loads((made / "damaged" / "dataset.json").read_text())["classes"] == ["x", "y", "z"]


def test_a_missing_shard(made: Path) -> None:
    path = first_shard(made)
    count = len(index_of(path))
    before = pictures(made)
    path.unlink()
    report = verify(made)
    assert [(problem.file, problem.what) for problem in report.problems] == [(path.name, "missing")]
    assert report.records == 60 - count
    repair(made)
    assert verify(made).sound
    assert pictures(made).items() <= before.items()


def test_a_shard_that_was_swapped_for_another_sound_one(made: Path) -> None:
    path = first_shard(made)
    data = [record for _, record in read(path)]
    path.write_bytes(b"".join(map(frame, data[::-1])))
    report = verify(made)
    assert any("not the file that was written" in problem.what for problem in report.problems)
    assert report.damaged == 0
    assert repair(made).records == 60
    assert verify(made).sound


def rewrite(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(b"".join(frame(data) for data in change([record for _, record in read(path)])))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda data: [data[0].replace(b"c0", b"c9").replace(b"c1", b"c9").replace(b"c2", b"c9"), *data[1:]],
            "the record says 'c9'",
        ),
        (lambda data: [*data, data[0]], "its id stands in"),
        (lambda data: [b"nonsense", *data], "wire type|reaches beyond|ends within|lacks one"),
        (lambda data: [b"", *data], "lacks one of"),
    ],
)
def test_records_that_are_sound_in_themselves_and_wrong_here(
    made: Path, change: Callable[[list[bytes]], list[bytes]], says: str
) -> None:
    import re

    rewrite(first_shard(made), change)
    report = verify(made)
    assert any(re.search(says, problem.what) for problem in report.problems if problem.offset is not None)
    repair(made)
    assert verify(made).sound


def test_a_second_repair_keeps_the_first_ones_folder(made: Path) -> None:
    for number in (1, 2):
        flip(first_shard(made), 60)
        aside = repair(made).aside
        assert aside == made / ("damaged" if number == 1 else "damaged-2")
    assert (made / "damaged" / "damaged.csv").exists()
    assert verify(made).records == 58


def test_a_repaired_dataset_grows(made: Path, listing: Make, array_items: Arrays) -> None:
    flip(first_shard(made), 60)
    repair(made)
    lost = build(listing(array_items(48)), made, options=BuildOptions(add=True))
    assert (lost.kept, lost.skipped) == (1, 47)
    assert verify(made).sound
    assert verify(made).records == 60


def test_nothing_left(made: Path) -> None:
    for path in made.glob("*.tfrecord"):
        path.write_bytes(bytes(path.stat().st_size))
    assert verify(made).records == 0
    before = sorted(path.name for path in made.iterdir())
    with pytest.raises(DatasetError, match="no sound record is left"):
        repair(made)
    assert sorted(path.name for path in made.iterdir()) == before


def test_no_dataset_at_all(tmp_path: Path) -> None:
    for function in (verify, repair):
        with pytest.raises(DatasetError, match="has no dataset.json"):
            function(tmp_path)
        with pytest.raises(DatasetError, match="does not exist"):
            function(tmp_path / "nothing")


def test_a_newer_format_is_not_repaired_away(made: Path) -> None:
    plain = json.loads((made / "dataset.json").read_text())
    plain["format_version"] = 2
    (made / "dataset.json").write_text(json.dumps(plain))
    for function in (verify, repair):
        with pytest.raises(DatasetError, match="update deeper"):
            function(made)


def test_repair_waits_for_nobody(made: Path) -> None:
    flip(first_shard(made), 60)
    with locked(made), pytest.raises(DatasetError, match="another process"):
        repair(made)


def test_shards_are_cut_by_size(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path, "train", 100)
    records = [frame(bytes(number)) for number in (10, 20, 200, 1, 1, 50, 60)]
    writer.write(b"".join(records[:4]), [len(record) for record in records[:4]])
    writer.write(b"".join(records[4:]), [len(record) for record in records[4:]])
    shards = writer.finish()
    assert [shard.count for shard in shards] == [2, 1, 3, 1]
    assert [shard.file for shard in shards] == [f"train-0000{number}-of-00004.tfrecord" for number in range(4)]
    assert b"".join((tmp_path / shard.file).read_bytes() for shard in shards) == b"".join(records)
    assert shards[0].bytes == (tmp_path / shards[0].file).stat().st_size


def mean_of_train(folder: Path) -> float:
    split = Dataset(folder).split("train")
    return float(np.mean([split.picture(row) for row in range(len(split))])) / 255


def test_repair_measures_anew_where_a_file_lost_whole_records(made: Path) -> None:
    """A file that ends between two records holds no damaged byte."""
    path = made / dataset_info.load(made).splits["train"].shards[-1].file
    last, _ = index_of(path)[-1]
    path.write_bytes(path.read_bytes()[:last])
    repair(made)
    info = dataset_info.load(made)
    assert verify(made).sound
    assert info.moments.pixels == info.splits["train"].count * 64
    np.testing.assert_allclose(info.mean, [mean_of_train(made)], rtol=1e-12)


def test_a_repair_that_was_cut_off_before_the_description_measures_anew(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*rest: object) -> None:
        raise KeyboardInterrupt

    flip(first_shard(made), 200)
    with monkeypatch.context() as patch:
        patch.setattr(dataset_info, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            repair(made)
    repair(made)
    info = dataset_info.load(made)
    assert verify(made).sound
    assert info.moments.pixels == info.splits["train"].count * 64
    np.testing.assert_allclose(info.mean, [mean_of_train(made)], rtol=1e-12)


def test_statistics_of_other_pictures_are_found_and_repaired(made: Path) -> None:
    info = dataset_info.load(made)
    wrong = replace(info.moments, pixels=info.moments.pixels + 64)
    dataset_info.save(made, replace(info, moments=wrong, mean=wrong.mean(), deviation=wrong.deviation()))
    assert ["mean and deviation are of" in problem.what for problem in verify(made).problems] == [True]
    repair(made)
    assert verify(made).sound
    assert dataset_info.load(made).moments == info.moments


def test_megabytes_of_zeros_are_passed_over_at_once(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    """As a power cut leaves a file. Looked through byte by byte they took five seconds a megabyte."""
    build(listing(array_items(40)), tmp_path / "set")
    path = first_shard(tmp_path / "set")
    starts = index_of(path)
    data = bytearray(path.read_bytes())
    hole = starts[3][0] + starts[3][1] - 7  # ends within a record's own bytes
    path.write_bytes(data[: starts[3][0] + 5] + bytes(8 << 20) + data[hole:] + bytes(8 << 20))
    path.with_suffix(".idx").unlink()
    began = time.process_time()
    found = list(stretches(path))
    assert time.process_time() - began < 5
    assert sum(one.facts is not None for one in found) == len(starts) - 1
    assert sum(one.size for one in found) == path.stat().st_size
