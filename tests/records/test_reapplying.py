"""`--add` to a corrected dataset: what was left out is known by its bytes, not by its id alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deeper.errors import DatasetError
from deeper.records import BuildOptions, Dataset, build
from deeper.records import info as dataset_info
from deeper.records.corrections import Corrections, Decision
from deeper.records.sources import Item, Source
from deeper.records.verify import verify

Make = Callable[..., Source]
Arrays = Callable[..., list[Item]]
ADD = BuildOptions(add=True)


def without(items: list[Item], out: Path, listing: Make, *, first: int = 1, workers: int = 1) -> None:
    """Build the dataset `out`, with the `first` items left out."""
    log = Corrections(out.parent / "c.csv")
    for item in items[:first]:
        log.decide(Decision(id=item.id, kind="exclude", given=item.label))
    build(listing(items), out, options=BuildOptions(corrections=(log.path,), workers=workers))
    log.path.unlink()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def forget_hashes(out: Path) -> None:
    """As an older version wrote it."""
    info = dataset_info.load(out)
    assert info.corrections is not None
    excluded = tuple(replace(one, sha256=None) for one in info.corrections.excluded)
    dataset_info.save(out, replace(info, corrections=replace(info.corrections, excluded=excluded)))


def test_another_picture_under_the_id_of_one_that_was_left_out_is_refused(
    tmp_path: Path, listing: Make, array_items: Arrays
) -> None:
    items = array_items(40)
    without(items, tmp_path / "out", listing)
    before = contents(tmp_path / "out")
    for other in (replace(items[0], array=255 - items[0].array), replace(items[0], label="c1")):
        with pytest.raises(DatasetError, match=r"1 ids .* corrections left out .*first: picture:0000\); rename"):
            build(listing([other, *items[1:]]), tmp_path / "out", options=ADD)
    assert contents(tmp_path / "out") == before
    report = build(listing(items), tmp_path / "out", options=ADD)
    assert (report.found, report.kept, report.skipped, report.excluded) == (40, 0, 39, 1)


def test_an_older_dataset_goes_by_id_and_class(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    items = array_items(40)
    without(items, tmp_path / "out", listing)
    forget_hashes(tmp_path / "out")
    excluded = json.loads((tmp_path / "out" / dataset_info.FILE).read_text())["corrections"]["excluded"]
    assert [sorted(one) for one in excluded] == [["id", "split", "was"]]
    other = replace(items[0], array=255 - items[0].array)
    report = build(listing([other, *items[1:]]), tmp_path / "out", options=ADD)
    assert (report.kept, report.skipped, report.excluded) == (0, 39, 1)
    with pytest.raises(DatasetError, match="corrections left out"):
        build(listing([replace(items[0], label="c1"), *items[1:]]), tmp_path / "out", options=ADD)


def test_an_addition_of_nothing_but_what_was_left_out_changes_nothing(
    tmp_path: Path, listing: Make, array_items: Arrays
) -> None:
    items = array_items(40)
    without(items, tmp_path / "out", listing, first=3)
    before = contents(tmp_path / "out")
    report = build(listing(items[:3]), tmp_path / "out", options=ADD)
    assert (report.found, report.kept, report.skipped, report.excluded) == (3, 0, 0, 3)
    assert "3 pictures were left out by the dataset's corrections, and stay out" in report.notices
    assert contents(tmp_path / "out") == before


def test_what_was_left_out_need_not_be_readable(
    tmp_path: Path, listing: Make, array_items: Arrays, save: Callable[..., Item]
) -> None:
    items = [save("0.png", "c0"), save("1.png", "c0"), *array_items(40)]
    assert items[0].path is not None and items[1].path is not None
    data = Path(items[1].path).read_bytes()
    Path(items[1].path).unlink()
    without(items, tmp_path / "out", listing, first=2)
    corrections = Dataset(tmp_path / "out").info.corrections
    assert corrections is not None
    assert [one.sha256 is None for one in corrections.excluded] == [False, True]
    # And the other way round: what had a hash cannot be read any more, and what had none has come.
    Path(items[0].path).unlink()
    Path(items[1].path).write_bytes(data)
    report = build(listing(items), tmp_path / "out", options=ADD)
    assert (report.found, report.kept, report.skipped, report.excluded, report.rejected) == (42, 0, 40, 1, 1)
    assert verify(tmp_path / "out").sound


def test_the_hashes_do_not_depend_on_the_workers(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    items = array_items(400)
    for name, workers in (("one", 1), ("four", 4)):
        without(items, tmp_path / name, listing, first=150, workers=workers)
        report = build(listing(items), tmp_path / name, options=replace(ADD, workers=workers))
        assert (report.skipped, report.excluded) == (250, 150)
    assert contents(tmp_path / "one") == contents(tmp_path / "four")
