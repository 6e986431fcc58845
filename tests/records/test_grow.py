"""`--add`: old shards untouched, old pictures where they were, and a dataset that is sound at every moment."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeper import files
from deeper.cli import main as cli_main
from deeper.errors import DatasetError, UsageError
from deeper.records import BuildOptions, Dataset, SourceOptions, build, open_source
from deeper.records import info as dataset_info
from deeper.records.lock import locked
from deeper.records.sources import Item, Rejected, Source
from deeper.records.verify import verify

Make = Callable[..., Source]
Arrays = Callable[..., list[Item]]
ADD = BuildOptions(add=True)


@pytest.fixture
def made(tmp_path: Path, listing: Make, array_items: Arrays) -> Path:
    out = tmp_path / "made"
    build(listing(array_items(60)), out, options=BuildOptions(shard_megabytes=0.004))
    return out


def places(folder: Path) -> dict[str, str]:
    dataset = Dataset(folder)
    return {identifier: name for name in dataset.info.splits for identifier in dataset.split(name).ids}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_old_shards_and_places_stay_and_all_numbers_are_those_of_the_whole(
    made: Path, listing: Make, array_items: Arrays
) -> None:
    before, old_places = contents(made), places(made)
    new = array_items(90, prefix="new", size=10, seed=1)
    report = build(listing(new), made, options=ADD)
    assert (report.found, report.kept, report.skipped, report.rejected) == (90, 90, 0, 0)
    after = contents(made)
    for name, data in before.items():
        if name != "dataset.json":
            assert after[name] == data
    assert old_places.items() <= places(made).items()
    assert verify(made).sound
    dataset = Dataset(made)
    pixels = (
        np.concatenate([dataset.split("train").picture(row).ravel() for row in range(len(dataset.split("train")))])
        / 255
    )
    np.testing.assert_allclose(dataset.info.mean, [pixels.mean()], rtol=1e-12)
    np.testing.assert_allclose(dataset.info.deviation, [pixels.std()], rtol=1e-9)
    assert dataset.info.sizes.largest == (10, 10)
    assert dataset.info.count == 150 == sum(report.splits.values())
    # What TensorFlow's users write to find the shards of a split, in the order of dataset.json.
    listed = [shard.file for shard in dataset.info.splits["train"].shards]
    assert sorted(path.name for path in made.glob("train-*.tfrecord")) == sorted(listed) == listed


def test_growing_is_deterministic(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    for name, workers in (("one", 1), ("four", 4)):
        build(listing(array_items(60)), tmp_path / name)
        build(listing(array_items(1200, prefix="new", seed=1)), tmp_path / name, options=replace(ADD, workers=workers))
    assert contents(tmp_path / "one") == contents(tmp_path / "four")


def test_the_same_again_changes_nothing(made: Path, listing: Make, array_items: Arrays) -> None:
    before = contents(made)
    report = build(listing(array_items(60)), made, options=ADD)
    assert (report.found, report.kept, report.skipped) == (60, 0, 60)
    assert any("60 pictures are in the dataset already" in notice for notice in report.notices)
    assert contents(made) == before


def test_some_new_among_the_same(made: Path, listing: Make, array_items: Arrays) -> None:
    report = build(listing(array_items(60) + array_items(6, prefix="new", seed=2)), made, options=ADD)
    assert (report.found, report.kept, report.skipped) == (66, 6, 60)
    assert verify(made).records == 66


def test_an_id_that_stands_for_another_picture_is_refused(made: Path, listing: Make, array_items: Arrays) -> None:
    before = contents(made)
    items = array_items(60)
    items[7] = replace(items[7], array=255 - items[7].array)
    with pytest.raises(
        DatasetError, match=r"1 ids .* other pictures or classes .*first: picture:0007.*59 others are the same"
    ):
        build(listing(items), made, options=ADD)
    items = array_items(60)
    items[8] = replace(items[8], label="c0")
    with pytest.raises(DatasetError, match="picture:0008"):
        build(listing(items), made, options=ADD)
    assert contents(made) == before


def test_unknown_classes_are_refused_by_name_or_appended(made: Path, listing: Make, array_items: Arrays) -> None:
    before = contents(made)
    new = [
        replace(item, label="C1" if number % 2 else "zebra")
        for number, item in enumerate(array_items(20, prefix="new"))
    ]
    with pytest.raises(DatasetError, match="no class 'C1', 'zebra'; did you mean 'c1'.*--new-classes"):
        build(listing(new), made, options=ADD)
    assert contents(made) == before
    old = Dataset(made)
    labels = dict(zip(old.split("train").ids, old.split("train").labels.tolist(), strict=True))
    report = build(listing(new), made, options=replace(ADD, new_classes=True))
    assert report.classes == ("c0", "c1", "c2", "C1", "zebra")
    grown = Dataset(made)
    assert (
        labels.items() <= dict(zip(grown.split("train").ids, grown.split("train").labels.tolist(), strict=True)).items()
    )
    assert grown.info.splits["train"].per_class[3:] == (8, 8)
    assert grown.info.splits["test"].per_class[3:] == (1, 1)
    assert verify(made).sound


def test_a_subset_of_the_classes_keeps_the_indices(made: Path, listing: Make, array_items: Arrays) -> None:
    new = [replace(item, label="c2") for item in array_items(9, prefix="new")]
    build(listing(new), made, options=ADD)
    assert Dataset(made).classes == ("c0", "c1", "c2")
    assert verify(made).sound


def test_groups_stay_together(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    def grouped(prefix: str) -> list[Item]:
        return [
            replace(item, group=f"plant {number // 3}") for number, item in enumerate(array_items(90, prefix=prefix))
        ]

    build(listing(grouped("old")), tmp_path / "out")
    build(listing(grouped("new")), tmp_path / "out", options=ADD)
    dataset = Dataset(tmp_path / "out")
    where: dict[str | None, set[str]] = {}
    for name in dataset.info.splits:
        for group in dataset.split(name).groups:
            where.setdefault(group, set()).add(name)
    assert len(where) == 30
    assert all(len(splits) == 1 for splits in where.values())


def test_colour_joins_a_grey_dataset_as_grey(made: Path, listing: Make, save: Callable[..., Item]) -> None:
    report = build(listing([save(f"{number}.png", "c0") for number in range(6)]), made, options=ADD)
    assert any("6 colour pictures are read as grey" in notice for notice in report.notices)
    dataset = Dataset(made)
    assert dataset.info.channels == 1
    split = dataset.split("train")
    pixels = np.concatenate([split.picture(row).ravel() for row in range(len(split))]) / 255
    np.testing.assert_allclose(dataset.info.mean, [pixels.mean()], rtol=1e-12)
    with pytest.raises(UsageError, match="has 1 channels"):
        build(listing([save("x.png", "c0")]), made, options=replace(ADD, channels=3))


def test_given_splits_draw_nothing_and_say_so(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    splits = ("train", "validation", "test")
    items = [replace(item, split=splits[number // 20]) for number, item in enumerate(array_items(60))]
    build(listing(items), tmp_path / "out")
    report = build(listing(array_items(60, prefix="new", seed=1)), tmp_path / "out", options=ADD)
    assert report.splits == {"train": 80, "validation": 20, "test": 20}
    assert sum("none of the new pictures" in notice for notice in report.notices) == 2
    report = build(listing(array_items(300, prefix="more", seed=2)), tmp_path / "out", options=replace(ADD, test=0.2))
    assert report.splits["validation"] == 20
    assert 40 < report.splits["test"] - 20 < 80


def test_rejected_pictures_are_listed_once(made: Path, listing: Make, array_items: Arrays) -> None:
    bad = Item("bad.jpg", "c0", None, None, made / "nowhere.jpg", None)
    for number in (1, 2):
        source = listing([*array_items(3, prefix=f"new{number}", seed=number), bad])
        source.rejected = [Rejected("loop", "a symlink loop")]
        report = build(source, made, options=ADD)
        assert (report.found, report.kept, report.rejected) == (5, 3, 2)
    with (made / "rejected.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["id", "loop", "bad.jpg"]
    assert Dataset(made).info.rejected == 2
    assert Dataset(made).info.additions == 2
    assert verify(made).sound


def test_rejections_alone_are_listed_too(made: Path, listing: Make, array_items: Arrays) -> None:
    bad = Item("bad.jpg", "c0", None, None, made / "nowhere.jpg", None)
    source = listing([*array_items(3, prefix="new"), bad])
    build(listing(array_items(3, prefix="new")), made, options=ADD)
    report = build(source, made, options=ADD)
    assert (report.kept, report.skipped, report.rejected) == (0, 3, 1)
    with (made / "rejected.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["id", "bad.jpg"]
    assert verify(made).sound


def test_no_dataset_to_add_to(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        build(listing(array_items(3)), tmp_path / "nothing", options=ADD)


@pytest.mark.parametrize("moment", ["write_rejected", "save"])
def test_a_failure_at_the_end_leaves_the_dataset_as_it_was(
    made: Path, listing: Make, array_items: Arrays, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    before = contents(made)
    bad = Item("bad.jpg", "c0", None, None, made / "nowhere.jpg", None)
    target = dataset_info if moment == "save" else sys.modules["deeper.records.rejected"]

    def fail(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(target, moment, fail)
    with pytest.raises(KeyboardInterrupt):
        build(listing([*array_items(30, prefix="new"), bad]), made, options=ADD)
    assert contents(made) == before
    monkeypatch.undo()
    assert verify(made).sound


def test_a_kill_between_the_files_and_the_description_is_mended_by_the_next_addition(
    made: Path, listing: Make, array_items: Arrays
) -> None:
    code = (
        "import os, signal, sys, numpy as np; from pathlib import Path\n"
        "from deeper.records import BuildOptions, build, open_source, info\n"
        "info.save = lambda *rest: os.kill(os.getpid(), signal.SIGKILL)\n"
        "pictures = np.zeros((9, 4, 4), np.uint8)\n"
        "names = np.array(['c0', 'c1', 'c2'] * 3)\n"
        "build(open_source((pictures, names)), Path(sys.argv[1]), options=BuildOptions(add=True))\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(made)], check=False).returncode == -9
    assert any("does not list" in problem.what for problem in verify(made).problems)
    assert Dataset(made).info.count == 60
    report = build(listing(array_items(6, prefix="new")), made, options=ADD)
    assert any("left by an addition that was cut off" in notice for notice in report.notices)
    assert verify(made).sound
    assert not [name for name in os.listdir(made) if name.startswith(".")]


def test_an_interrupt_after_the_description_is_in_place_keeps_what_was_added(
    made: Path, listing: Make, array_items: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = files.fsync_folder

    def fsync_then_interrupt(path: Path) -> None:
        synced(path)
        if Path(path) == made and dataset_info.load(made).additions == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(files, "fsync_folder", fsync_then_interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(listing(array_items(30, prefix="new", seed=1)), made, options=ADD)
    monkeypatch.undo()
    report = verify(made)
    assert (report.sound, report.records) == (True, 90)


def test_an_addition_that_waited_begins_from_what_is_there_then(
    made: Path, listing: Make, array_items: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deeper.records import grow

    first = True

    @contextmanager
    def locked_late(folder: Path) -> Iterator[None]:
        nonlocal first
        if first:
            first = False
            build(listing(array_items(30, prefix="other", seed=1)), made, options=ADD)
        with locked(folder):
            yield

    monkeypatch.setattr(grow, "locked", locked_late)
    build(listing(array_items(30, prefix="new", seed=2)), made, options=ADD)
    report = verify(made)
    assert (report.sound, report.records) == (True, 120)


def test_a_grown_dataset_keeps_its_group_by(tmp_path: Path) -> None:
    """Pictures of a plant that was seen before join it, without the rule being said again; another rule is refused."""
    rng = np.random.default_rng(0)
    for part, numbers in (("first", (0, 1)), ("more", (2, 3))):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            for plant in range(20):
                for number in numbers:
                    picture = Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8))
                    picture.save(tmp_path / part / name / f"plant{name}{plant:02d}_{number}.png")
    out = tmp_path / "made"
    rule = "(plant.[0-9]+)_"
    cli_main(["build", str(tmp_path / "first"), "--out", str(out), "--group-by", rule])
    for wrong in ("folder", "(plant.)"):
        with pytest.raises(UsageError, match=r"was built with --group-by '\(plant.*leave --group-by out"):
            build(str(tmp_path / "more"), out, options=replace(ADD, group_by=wrong))
    ungrouped = open_source(tmp_path / "more")
    with pytest.raises(UsageError, match="no picture of the source has a group"):
        build(ungrouped, out, options=ADD)
    by_class = open_source(tmp_path / "more", options=SourceOptions(group_by="(plant.)"))
    with pytest.raises(UsageError, match=r"was opened with group_by '\(plant\.\)'; open the source with"):
        build(by_class, out, options=ADD)
    cli_main(["build", str(tmp_path / "more"), "--out", str(out), "--add"])
    dataset = Dataset(out)
    where: dict[str | None, set[str]] = {}
    for name in dataset.info.splits:
        for group in dataset.split(name).groups:
            where.setdefault(group, set()).add(name)
    assert dataset.info.count == 160
    assert len(where) == 40
    assert all(len(splits) == 1 for splits in where.values())
    build(str(tmp_path / "more"), out, options=ADD)  # from Python, unopened, the same rule holds


def test_another_seed_or_other_channels_are_refused(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    """New pictures are drawn by the dataset's seed; another one was taken and not used."""
    out, new = tmp_path / "out", array_items(30, prefix="new", seed=1)
    build(listing(array_items(60)), out, options=BuildOptions(seed=5))
    before = contents(out)
    with pytest.raises(UsageError, match=r"was built with seed 5, .*leave --seed out with --add"):
        build(listing(new), out, options=replace(ADD, seed=6))
    with pytest.raises(UsageError, match=r"was built with seed 5, "):
        build(listing(new), out, options=replace(ADD, seed=0))
    colour = open_source((np.zeros((3, 8, 8), np.uint8), ["c0", "c1", "c2"]), options=SourceOptions(channels=3))
    with pytest.raises(UsageError, match="has 1 channels"):
        build(colour, out, options=ADD)
    assert contents(out) == before
    assert build(listing(new[:20]), out, options=replace(ADD, seed=5)).kept == 20
    assert build(listing(new), out, options=ADD).kept == 10


def test_two_additions_at_once_are_refused(made: Path, listing: Make, array_items: Arrays) -> None:
    with locked(made), pytest.raises(DatasetError, match="another process is changing"):
        build(listing(array_items(3, prefix="new")), made, options=ADD)


def test_the_same_bytes_under_another_id_are_not_taken_twice(tmp_path: Path) -> None:
    """Another parent folder gives other ids: half of the pictures would have come to lie in two splits."""
    generator = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "one" / label).mkdir(parents=True)
        for number in range(20):
            pixels = generator.integers(0, 256, (9, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "one" / label / f"{number}.png")
    build(str(tmp_path / "one"), tmp_path / "out")
    shutil.copytree(tmp_path / "one", tmp_path / "two" / "train")
    report = build(str(tmp_path / "two"), tmp_path / "out", options=ADD)
    assert (report.found, report.kept, report.skipped) == (40, 0, 40)
    # In another class it is a person's to decide; a new picture joins as ever.
    Image.fromarray(generator.integers(0, 256, (9, 8, 3), np.uint8)).save(
        tmp_path / "two" / "train" / "dog" / "new.png"
    )
    shutil.copy(tmp_path / "one" / "cat" / "0.png", tmp_path / "two" / "train" / "dog" / "a cat.png")
    report = build(str(tmp_path / "two"), tmp_path / "out", options=ADD)
    assert (report.kept, report.skipped) == (2, 40)
    assert any(
        "in the dataset already under another class" in notice and "a cat" in notice for notice in report.notices
    )
    assert verify(tmp_path / "out").sound


def test_what_joins_a_grouped_dataset_without_groups_is_said(made: Path, listing: Make, array_items: Arrays) -> None:
    grouped = [replace(item, group=f"g{number // 3}") for number, item in enumerate(array_items(9, prefix="g", seed=1))]
    build(listing(grouped), made, options=ADD)
    report = build(listing(array_items(6, prefix="alone", seed=2)), made, options=ADD)
    assert any("belong to groups (such as 'g0')" in notice for notice in report.notices)
    more = [replace(item, group="g1") for item in array_items(6, prefix="more", seed=3)]
    assert not any("belong to groups" in notice for notice in build(listing(more), made, options=ADD).notices)


def test_a_split_that_the_dataset_lacks_is_drawn_from_what_joins(
    tmp_path: Path, listing: Make, array_items: Arrays
) -> None:
    build(listing(array_items(1000)), tmp_path / "out", options=BuildOptions(test=0))
    more = array_items(400, prefix="new", seed=1)
    report = build(listing(more), tmp_path / "out", options=replace(ADD, test=0.1))
    assert 20 < report.splits["test"] < 60
