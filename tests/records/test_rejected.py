"""`rejected.csv` after additions: what can be used by now is no longer in it, and nothing stands there twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deeper.records import BuildOptions, Dataset, build
from deeper.records.rejected import joined, read_rejected, write_rejected
from deeper.records.sources import Item, Rejected, Source
from deeper.records.verify import verify

Make = Callable[..., Source]
Arrays = Callable[..., list[Item]]
ADD = BuildOptions(add=True)


def test_any_id_and_reason_comes_back(tmp_path: Path) -> None:
    write_rejected(tmp_path, [Rejected('a,"b"\nc', "one\n  line"), Rejected("bad\udcff.png", "")])
    assert read_rejected(tmp_path) == [Rejected('a,"b"\nc', "one line"), Rejected("bad\\udcff.png", "")]


@pytest.mark.parametrize(
    ("new", "accepted", "lines"),
    [
        ([], [], "a1 b1 b2 c1"),
        ([], ["b", "d"], "a1 c1"),
        (["b3"], [], "a1 b3 c1"),
        (["d1", "a1"], [], "a1 b1 b2 c1 d1"),
        # An id that occurs twice: the first is kept, the second refused.
        (["b4", "b5"], ["a", "b"], "b4 b5 c1"),
    ],
)
def test_lines_are_replaced_by_id(new: list[str], accepted: list[str], lines: str) -> None:
    def listed(words: list[str]) -> list[Rejected]:
        return [Rejected(word[0], word) for word in words]

    found = joined(listed(["a1", "b1", "b2", "c1"]), listed(new), accepted)
    assert " ".join(one.reason for one in found) == lines


def test_a_picture_that_was_mended_is_listed_no_more(
    tmp_path: Path, listing: Make, array_items: Arrays, save: Callable[..., Item]
) -> None:
    mended, other, strange = save("mended.png", "c0"), save("other.png", "c0"), save("bad\udcff.png", "c0")
    items = [*array_items(30), mended, other, strange]
    data = Path(str(mended.path)).read_bytes()
    for item in items[30:]:
        Path(str(item.path)).unlink()
    build(listing(items), tmp_path / "out")
    assert [one.id for one in read_rejected(tmp_path / "out")] == ["mended.png", "other.png", "bad\\udcff.png"]
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    build(listing(items), tmp_path / "out", options=ADD)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    Path(str(mended.path)).write_bytes(data)
    Path(str(other.path)).write_bytes(b"")
    report = build(listing(items), tmp_path / "out", options=ADD)
    assert (report.found, report.kept, report.skipped, report.rejected) == (33, 1, 30, 2)
    lines = read_rejected(tmp_path / "out")
    assert [one.id for one in lines] == ["other.png", "bad\\udcff.png"]
    assert "empty" in lines[0].reason
    assert Dataset(tmp_path / "out").info.rejected == 2
    assert verify(tmp_path / "out").sound


def test_an_id_that_occurs_twice_stays_listed(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    items = array_items(30)
    items.append(items[0])
    build(listing(items), tmp_path / "out")
    for more in (items, array_items(9, prefix="new")):
        build(listing(more), tmp_path / "out", options=ADD)
        assert [one.id for one in read_rejected(tmp_path / "out")] == [items[0].id]
