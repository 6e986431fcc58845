"""Building: bytes kept, statistics true, the same bytes for any number of workers."""

from __future__ import annotations

import csv
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeper import images
from deeper.errors import DatasetError, SourceError, UsageError
from deeper.images import jpeg
from deeper.records import BuildOptions, Dataset, SourceOptions, build, open_source
from deeper.records.encoding import read_file
from deeper.records.sources import Item, Source
from deeper.records.sources.idx import parse_idx
from deeper.records.verify import verify
from deeper.records.workers import Workers, _Crew

Make = Callable[..., Source]
Arrays = Callable[..., list[Item]]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_bytes_do_not_depend_on_the_workers(
    tmp_path: Path, listing: Make, array_items: Arrays, save: Callable[..., Item], workers: int
) -> None:
    items = array_items(1500) + [save(f"c1/{number}.jpg", "c1", size=(40 + number, 30)) for number in range(40)]
    items.append(Item("c1/broken.jpg", "c1", None, None, tmp_path / "nowhere", None))
    options = {"shard_megabytes": 0.1}
    build(listing(items), tmp_path / "one", options=BuildOptions(workers=1, **options))
    report = build(listing(items), tmp_path / "many", options=BuildOptions(workers=workers, **options))
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert len(Dataset(tmp_path / "many").info.splits["train"].shards) > 3
    assert (report.found, report.kept, report.rejected) == (1541, 1540, 1)


def test_jpeg_and_png_bytes_are_kept_and_others_become_png(
    tmp_path: Path, save: Callable[..., Item], listing: Make
) -> None:
    items = [
        save(f"x{number}{suffix}") for number, suffix in enumerate((".jpg", ".png", ".bmp", ".webp", ".gif", ".tif"))
    ]
    # The name does not matter: a PNG called .jpg stays a PNG.
    (tmp_path / "source" / "liar.jpg").write_bytes(items[1].path.read_bytes())
    items.append(Item("liar.jpg", "a", None, None, tmp_path / "source" / "liar.jpg", None))
    build(listing(items), tmp_path / "out", options=BuildOptions(validation=0, test=0))
    split = Dataset(tmp_path / "out").split("train")
    for item in items:
        position = split.ids.index(item.id)
        data = item.path.read_bytes()
        if images.is_kept(data):
            assert split.encoded(position) == data
        else:
            assert split.encoded(position).startswith(b"\x89PNG")
        np.testing.assert_array_equal(split.picture(position), images.decode(data, channels=3))


def test_every_file_is_opened_and_decoded_once(
    tmp_path: Path, save: Callable[..., Item], listing: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = [save(f"{number}.jpg") for number in range(10)]
    decoded, opened = [], []
    real_decode, real_open = jpeg.decode, os.open
    monkeypatch.setattr(jpeg, "decode", lambda data, *how: decoded.append(data) or real_decode(data, *how))
    monkeypatch.setattr(os, "open", lambda path, *flags: opened.append(str(path)) or real_open(path, *flags))
    build(listing(items), tmp_path / "out", options=BuildOptions(workers=1))
    assert sorted(decoded) == sorted(item.path.read_bytes() for item in items)
    assert sorted(path for path in opened if path.endswith(".jpg")) == sorted(str(item.path) for item in items)


def test_mean_and_deviation_are_those_of_the_training_pixels(
    tmp_path: Path, save: Callable[..., Item], listing: Make
) -> None:
    items = [
        save(f"{number}.png", size=(5 + number, 9), split="train" if number % 3 else "test") for number in range(12)
    ]
    build(listing(items), tmp_path / "out", options=BuildOptions(validation=0))
    pixels = (
        np.concatenate([np.asarray(Image.open(item.path)).reshape(-1, 3) for item in items if item.split == "train"])
        / 255
    )
    info = Dataset(tmp_path / "out").info
    np.testing.assert_allclose(info.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(info.deviation, pixels.std(axis=0), rtol=1e-9)
    assert (info.sizes.smallest, info.sizes.median, info.sizes.largest) == ((9, 5), (9, 10), (9, 16))


def test_a_file_whose_length_nobody_tells_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 40)
    real = os.fstat

    def untold(descriptor: int) -> os.stat_result:
        told = list(real(descriptor))
        told[stat.ST_SIZE] = 0
        return os.stat_result(told)

    monkeypatch.setattr("deeper.records.encoding.os.fstat", untold)
    assert read_file(str(tmp_path / "file")) == bytes(range(256)) * 40


def test_mixed_grey_and_colour_have_three_channels_unless_one_is_asked_for(
    tmp_path: Path, save: Callable[..., Item], listing: Make
) -> None:
    items = [save(f"{number}.png", mode="L" if number % 2 else "RGB") for number in range(10)]
    report = build(listing(items), tmp_path / "three")
    assert any("5 colour and 5 grey pictures: all are read with 3 channels" in notice for notice in report.notices)
    grey = build(listing(items), tmp_path / "one", options=BuildOptions(channels=1))
    assert any("5 colour pictures are read as grey" in notice for notice in grey.notices)
    for name, channels in (("three", 3), ("one", 1)):
        dataset = Dataset(tmp_path / name)
        split = dataset.split("train")
        pixels = np.concatenate([split.picture(position).reshape(-1, channels) for position in range(len(split))]) / 255
        assert dataset.info.channels == channels == len(dataset.info.mean)
        np.testing.assert_allclose(dataset.info.mean, pixels.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(dataset.info.deviation, pixels.std(axis=0), rtol=1e-9)


def test_pictures_of_one_value_do_not_divide_by_zero(tmp_path: Path, listing: Make) -> None:
    items = [Item(str(number), "a", None, None, None, np.full((4, 4), 7, np.uint8)) for number in range(4)]
    build(listing(items), tmp_path / "out")
    assert Dataset(tmp_path / "out").info.deviation == (1.0,)


def test_progress_ends_at_the_total(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    calls: list[tuple[int, int]] = []
    build(listing(array_items(700)), tmp_path / "out", progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (700, 700)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})


def test_classes_without_pictures(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    items = [*array_items(20, classes=2), *array_items(1, classes=1, prefix="rare")]
    items[-1] = Item("rare:0", "rare", None, None, None, items[-1].array)
    report = build(listing(items), tmp_path / "single")
    assert any("a single picture of class 'rare'" in notice for notice in report.notices)
    only_tested = [*items[:-1], Item("rare:0", "rare", "test", None, None, items[-1].array)]
    with pytest.raises(SourceError, match="no picture to train on for class 'rare'"):
        build(listing(only_tested), tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    warned = build(listing(only_tested), tmp_path / "warned", options=BuildOptions(missing_class="warn"))
    assert any("'rare': no network can learn it" in notice for notice in warned.notices)
    named = build(
        listing(items[:-1], classes=("c0", "c1", "none")),
        tmp_path / "named",
        options=BuildOptions(missing_class="warn"),
    )
    assert named.classes == ("c0", "c1", "none")


def test_one_class_is_warned_about(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    report = build(listing(array_items(10, classes=1)), tmp_path / "out")
    assert any("a single class, class 'c0': there is nothing to tell apart" in notice for notice in report.notices)


def test_a_class_that_a_split_lacks_is_named(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    items = [
        Item(
            item.id, item.label, "validation" if item.label == "c0" and number < 6 else "train", None, None, item.array
        )
        for number, item in enumerate(array_items(20, classes=2))
    ]
    report = build(listing(items), tmp_path / "out", options=BuildOptions(test=0))
    assert any("validation has no picture of class 'c1'" in notice for notice in report.notices)


def test_doubled_ids_are_rejected_and_counted(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    report = build(listing(array_items(10) + array_items(4)), tmp_path / "out")
    assert (report.found, report.kept, report.rejected) == (14, 10, 4)
    with (tmp_path / "out" / "rejected.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["id", "reason"]
    assert rows[1] == ["picture:0000", "the id occurs twice; the first is kept"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"validation": 1.5}, "neither a share below 1 nor a whole number"),
        ({"test": -0.1}, "neither a share"),
        ({"validation": 0.6, "test": 0.5}, "leave nothing to train on"),
        ({"shard_megabytes": 0}, "shards of 0 MB"),
        ({"workers": 0}, "0 workers"),
        ({"channels": 2}, "2 channels"),
        ({"new_classes": True}, "goes with add"),
        ({"validation": float("nan")}, "neither a share"),
    ],
)
def test_options_that_cannot_be_meant(options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        BuildOptions(**options)  # type: ignore[arg-type]


@pytest.fixture
def plants(tmp_path: Path, save: Callable[..., Item]) -> Path:
    """Two classes of ten plants with two colour pictures each, a folder for each plant."""
    for label in ("fern", "moss"):
        for plant in range(10):
            for view in range(2):
                save(f"{label}/{plant}/{view}.png", label)
    return tmp_path / "source"


def test_a_source_opened_by_another_rule_than_the_build_asks_for_is_refused(tmp_path: Path, plants: Path) -> None:
    for options, how in (
        (SourceOptions(), "no picture of the source has a group"),
        (SourceOptions(group_by="([a-z]+/[0-9]+)/"), r"was opened with group_by '\(\[a-z"),
    ):
        source = open_source(plants, options=options)
        with pytest.raises(UsageError, match=f"the build asks for group_by 'folder', and .*{how}.*SourceOptions"):
            build(source, tmp_path / "out", options=BuildOptions(group_by="folder"))
    (plants / "list.csv").write_text("path,label,group\nfern/0/0.png,fern,a\nmoss/0/0.png,moss,a\n")
    with pytest.raises(UsageError, match="the source was opened without group_by; open"):
        build(open_source(plants / "list.csv"), tmp_path / "out", options=BuildOptions(group_by="folder"))
    assert not (tmp_path / "out").exists()


def test_an_own_source_without_groups_is_refused_where_the_build_asks_for_some(
    tmp_path: Path, listing: Make, array_items: Arrays
) -> None:
    with pytest.raises(UsageError, match="the build asks for group_by 'folder', and no picture of the source has a"):
        build(listing(array_items(6)), tmp_path / "out", options=BuildOptions(group_by="folder"))
    grouped = [replace(item, group=str(number // 2)) for number, item in enumerate(array_items(40))]
    build(listing(grouped), tmp_path / "out", options=BuildOptions(group_by="plant"))
    assert Dataset(tmp_path / "out").info.group_by == "plant"


def test_what_a_source_was_opened_with_is_what_the_build_does(tmp_path: Path, plants: Path) -> None:
    source = open_source(plants, options=SourceOptions(group_by="folder", channels=1))
    build(source, tmp_path / "out")
    info = Dataset(tmp_path / "out").info
    assert (info.group_by, info.channels) == ("folder", 1)
    build(plants, tmp_path / "same", options=BuildOptions(group_by="folder", channels=1))
    assert contents(tmp_path / "same") == contents(tmp_path / "out")
    with pytest.raises(UsageError, match="opened with channels 1, and the build asks for 3; say it once"):
        build(source, tmp_path / "other", options=BuildOptions(channels=3))


def test_without_a_place_the_dataset_lies_in_datasets_by_the_name_of_its_source(
    tmp_path: Path, plants: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = build(plants, options=BuildOptions(group_by="folder"))
    assert report.path == Path("datasets/source")
    assert Dataset(report.path).info.group_by == "folder"
    again = build(plants, options=BuildOptions(add=True))
    assert (again.path, again.kept, again.skipped) == (report.path, 0, 40)


def test_pictures_that_lie_flat_in_their_arrays_are_built_with_their_shape(tmp_path: Path) -> None:
    flat = np.arange(40 * 12, dtype=np.uint8).reshape(40, 12)
    build((flat, np.arange(40) % 2), tmp_path / "out", options=BuildOptions(shape=(4, 3)))
    assert Dataset(tmp_path / "out").split("train").picture(0).shape == (4, 3, 1)
    source = open_source((flat, np.arange(40) % 2), options=SourceOptions(shape=(4, 3)))
    with pytest.raises(UsageError, match=r"shape \(4, 3\) is for a source that the build opens"):
        build(source, tmp_path / "other", options=BuildOptions(shape=(4, 3)))


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens when, on two processors: workers start, the source is opened, workers are dismissed."""
    seen: list[str] = []

    def noted(home: object, name: str) -> None:
        real = getattr(home, name)

        def call(*given: object, **named: object) -> object:
            seen.append(name)
            return real(*given, **named)

        monkeypatch.setattr(home, name, call)

    building = sys.modules["deeper.records.building"]
    monkeypatch.setattr(building, "available_processors", lambda: 2)
    monkeypatch.setattr("deeper.records.writing.available_processors", lambda: 2)
    noted(Workers, "start")
    noted(Workers, "dismiss")
    noted(building, "open_source")
    return seen


def test_workers_start_before_a_folder_is_listed_and_go_where_it_holds_little(
    tmp_path: Path, save: Callable[..., Item], order: list[str]
) -> None:
    for number in range(40):
        save(f"{'ab'[number % 2]}/{number}.png", str(number))
    build(tmp_path / "source", tmp_path / "ahead")
    assert order[:2] == ["start", "open_source"] and "dismiss" not in order
    order.clear()
    for number in range(20, 40):
        (tmp_path / "source" / "ab"[number % 2] / f"{number}.png").unlink()
    build(tmp_path / "source", tmp_path / "few")
    assert order[:3] == ["start", "open_source", "dismiss"]
    order.clear()
    build(open_source(tmp_path / "source"), tmp_path / "opened")
    assert order[0] == "dismiss"
    assert contents(tmp_path / "few") == contents(tmp_path / "opened")


def test_a_build_that_is_refused_leaves_no_workers(
    tmp_path: Path, plants: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crews = []
    monkeypatch.setattr("deeper.records.workers._Crew", lambda count: crews.append(_Crew(count)) or crews[-1])
    (tmp_path / "out").write_text("something else")
    with pytest.raises(DatasetError, match="exists already and is no dataset"):
        build(plants, tmp_path / "out", options=BuildOptions(workers=2))
    assert len(crews) == 1 and crews[0].process.poll() is not None


def test_an_existing_target_is_refused_and_unharmed(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    source = listing(array_items(10))
    build(source, tmp_path / "out")
    before = contents(tmp_path / "out")
    with pytest.raises(DatasetError, match="holds a dataset already; append to it with --add"):
        build(source, tmp_path / "out")
    assert contents(tmp_path / "out") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match="exists already and is no dataset"):
        build(source, tmp_path / "mine")
    assert contents(tmp_path / "mine") == {"thesis.txt": b"years of work"}
    (tmp_path / "empty").mkdir()
    build(source, tmp_path / "empty")
    assert verify(tmp_path / "empty").sound


def idx(data: Path, name: str) -> np.ndarray:
    import gzip

    return parse_idx(gzip.decompress((data / "mnist" / f"{name}.gz").read_bytes()), name)


def test_mnist(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPER_DATA", str(data))
    report = build(open_source("mnist"), tmp_path / "mnist")
    assert (report.found, report.kept, report.rejected) == (70_000, 70_000, 0)
    dataset = Dataset(tmp_path / "mnist")
    assert report.splits == {"train": 55_000, "validation": 5_000, "test": 10_000}
    assert dataset.classes == tuple("0123456789")
    pictures, labels = idx(data, "train-images-idx3-ubyte"), idx(data, "train-labels-idx1-ubyte")
    # The published figures are for all 60,000; ours train on the last 55,000 of them.
    assert (round(pictures.mean() / 255, 4), round(pictures.std() / 255, 4)) == (0.1307, 0.3081)
    np.testing.assert_allclose(dataset.info.mean, [pictures[5000:].mean() / 255], rtol=1e-12)
    np.testing.assert_allclose(dataset.info.deviation, [pictures[5000:].std() / 255], rtol=1e-9)
    assert list(dataset.info.splits["train"].per_class) == np.bincount(labels[5000:]).tolist()
    assert list(dataset.info.splits["validation"].per_class) == np.bincount(labels[:5000]).tolist()
    assert list(dataset.info.splits["test"].per_class) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    for name in ("train", "validation"):
        split = dataset.split(name)
        rows = np.array([int(identifier.split("/")[1]) for identifier in split.ids])
        np.testing.assert_array_equal(split.labels, labels[rows])
        for position in range(0, len(split), 997):
            np.testing.assert_array_equal(split.picture(position)[..., 0], pictures[rows[position]])
    # Stored in a drawn order: any stretch has all digits.
    assert len(set(dataset.split("train").labels[:200])) == 10


def test_flowers(tmp_path: Path, data: Path) -> None:
    report = build(open_source(data / "flowers12"), tmp_path / "flowers")
    assert report.splits == {"train": 648, "validation": 72, "test": 240}
    dataset = Dataset(tmp_path / "flowers")
    assert dataset.info.channels == 3
    assert dataset.info.sizes.smallest == dataset.info.sizes.largest == (224, 224)
    assert set(dataset.info.splits["validation"].per_class) == {6}
    split = dataset.split("test")
    for position in range(0, len(split), 40):
        assert split.encoded(position) == (data / "flowers12" / split.ids[position]).read_bytes()
