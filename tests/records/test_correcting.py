"""`build(…, corrections)`: relabelled and left out, remembered, and nobody changes the split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deeper.errors import SourceError, UsageError
from deeper.records import BuildOptions, Dataset, build
from deeper.records.corrections import Corrections, Decision
from deeper.records.sources import Item, Source
from deeper.records.verify import verify

Make = Callable[..., Source]
Arrays = Callable[..., list[Item]]


def places(dataset: Dataset) -> dict[str, str]:
    return {identifier: name for name in dataset.info.splits for identifier in dataset.split(name).ids}


def labels(dataset: Dataset) -> dict[str, str]:
    found = {}
    for name in dataset.info.splits:
        split = dataset.split(name)
        found.update({one: dataset.classes[label] for one, label in zip(split.ids, split.labels)})
    return found


def written(path: Path, *decisions: Decision) -> tuple[Path, ...]:
    log = Corrections(path)
    for one in decisions:
        log.decide(one)
    return (path,)


def test_applied_and_remembered(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    items = array_items(300, classes=3)
    build(listing(items), tmp_path / "before")
    before = Dataset(tmp_path / "before")
    home = places(before)
    tested = next(item for item in items if home[item.id] == "test")
    trained = [item for item in items if home[item.id] == "train"]
    other = next(name for name in before.classes if name != tested.label)
    corrections = written(
        tmp_path / "c.csv",
        Decision(id=tested.id, kind="relabel", given=tested.label, to=other),
        Decision(id=trained[0].id, kind="exclude", given=trained[0].label),
        Decision(id=trained[1].id, kind="unsure"),
        Decision(id=trained[2].id, kind="keep"),
        Decision(id="elsewhere", kind="keep"),
    )
    report = build(listing(items), tmp_path / "after", options=BuildOptions(corrections=corrections))
    after = Dataset(tmp_path / "after")
    assert (report.found, report.kept, report.excluded, report.relabelled) == (300, 299, 1, 1)
    said = "corrections: 1 relabelled; 1 excluded; 1 unsure, kept as they are; 1 of pictures that the source does not"
    assert any(line.startswith(said) for line in report.notices)
    assert labels(after) == {
        **{one: label for one, label in labels(before).items() if one != trained[0].id},
        tested.id: other,
    }
    assert places(after) == {one: split for one, split in home.items() if one != trained[0].id}
    info = after.info.corrections
    assert info is not None
    assert [(one.id, one.split, one.was, one.now) for one in info.relabelled] == [
        (tested.id, "test", tested.label, other)
    ]
    assert [(one.id, one.split, one.was) for one in info.excluded] == [(trained[0].id, "train", trained[0].label)]
    assert verify(tmp_path / "after").sound
    assert before.info.corrections is None and "corrections" not in (tmp_path / "before" / "dataset.json").read_text()


def test_the_same_bytes_again_whenever_it_was_decided(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    items = array_items(40)
    contents = []
    for number, when in enumerate(("2020-01-01", "2026-01-01")):
        decision = Decision(id=items[3].id, kind="exclude", given=items[3].label, when=when)
        paths = written(tmp_path / f"{number}.csv", decision)
        build(listing(items), tmp_path / str(number), options=BuildOptions(corrections=paths))
        contents.append({path.name: path.read_bytes() for path in (tmp_path / str(number)).iterdir()})
    assert contents[0] == contents[1]


def test_later_files_hold_and_corrections_of_corrections_fit(
    tmp_path: Path, listing: Make, array_items: Arrays
) -> None:
    items = array_items(60, classes=3)
    first, second, third = ("c0", "c1", "c2") if items[0].label == "c0" else (items[0].label, "c0", "c2")
    one = written(tmp_path / "1.csv", Decision(id=items[0].id, kind="relabel", given=first, to=second))
    two = written(tmp_path / "2.csv", Decision(id=items[0].id, kind="relabel", given=second, to=third))
    build(listing(items), tmp_path / "out", options=BuildOptions(corrections=(*one, *two)))
    assert labels(Dataset(tmp_path / "out"))[items[0].id] == third
    with pytest.raises(SourceError, match="another class in this source"):
        build(listing(items), tmp_path / "alone", options=BuildOptions(corrections=two))
    assert not (tmp_path / "alone").exists()


@pytest.mark.parametrize("together", [False, True], ids=["two files", "one file"])
@pytest.mark.parametrize(
    ("later", "label"),
    [
        (["keep"], "c1"),
        (["unsure"], "c1"),
        (["relabel"], "c2"),
        (["relabel", "keep"], "c1"),
        (["exclude"], None),
        (["exclude", "keep"], "c1"),
    ],
)
def test_a_review_of_the_corrected_dataset_goes_on_from_it(
    tmp_path: Path, listing: Make, array_items: Arrays, later: list[str], label: str | None, together: bool
) -> None:
    items = array_items(60, classes=3)
    one = items[0].id
    first = Decision(id=one, kind="relabel", given="c0", to="c1")
    second = [Decision(id=one, kind=kind, given="c1", to="c2" if kind == "relabel" else "") for kind in later]
    if together:
        paths = written(tmp_path / "both.csv", first, *second)
    else:
        paths = (*written(tmp_path / "1.csv", first), *written(tmp_path / "2.csv", *second))
    build(listing(items), tmp_path / "out", options=BuildOptions(corrections=paths))
    dataset = Dataset(tmp_path / "out")
    assert labels(dataset).get(one) == label
    assert dataset.info.corrections is not None
    changed = [*dataset.info.corrections.relabelled, *dataset.info.corrections.excluded]
    assert [(each.id, each.was) for each in changed] == [(one, "c0")]


def test_what_was_left_out_stays_out_when_the_source_is_appended(
    tmp_path: Path, listing: Make, array_items: Arrays
) -> None:
    items = array_items(40)
    other = next(item.label for item in items if item.label != items[1].label)
    paths = written(
        tmp_path / "c.csv",
        Decision(id=items[0].id, kind="exclude"),
        Decision(id=items[1].id, kind="relabel", given=items[1].label, to=other),
    )
    build(listing(items[:30]), tmp_path / "out", options=BuildOptions(corrections=paths))
    report = build(listing(items), tmp_path / "out", options=BuildOptions(add=True))
    assert (report.kept, report.skipped, report.excluded) == (10, 29, 1)
    dataset = Dataset(tmp_path / "out")
    assert items[0].id not in labels(dataset) and labels(dataset)[items[1].id] == other
    assert dataset.info.corrections is not None and verify(tmp_path / "out").sound


def test_corrections_that_leave_nothing(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    items = array_items(4, classes=2)
    paths = written(tmp_path / "c.csv", *(Decision(id=item.id, kind="exclude") for item in items))
    with pytest.raises(SourceError, match="^the corrections leave out 4 of 4 pictures of the source: nothing is left"):
        build(listing(items), tmp_path / "out", options=BuildOptions(corrections=paths))
    bad = Item("bad.jpg", "c0", None, None, tmp_path / "nowhere.jpg", None)
    with pytest.raises(SourceError, match=r"leave out 4 of 5 .* the 1 others cannot be used \(first: bad.jpg"):
        build(listing([*items, bad]), tmp_path / "out", options=BuildOptions(corrections=paths))
    assert not (tmp_path / "out").exists()


def test_corrections_that_cannot_be_meant(tmp_path: Path, listing: Make, array_items: Arrays) -> None:
    items = array_items(20)
    cases = [
        (Decision(id="nobody", kind="exclude"), "none of the 1 corrected pictures is in this source"),
        (Decision(id=items[0].id, kind="relabel", to="rose"), "which is no class of the source"),
        (Decision(id=items[0].id, kind="exclude", given="rose"), "was 'rose', here"),
    ]
    for number, (decision, says) in enumerate(cases):
        paths = written(tmp_path / f"{number}.csv", decision)
        with pytest.raises(SourceError, match=says):
            build(listing(items), tmp_path / "out", options=BuildOptions(corrections=paths))
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="without --add"):
        BuildOptions(add=True, corrections=(tmp_path / "0.csv",))


def test_splits_that_are_drawn_otherwise_than_those_reviewed_are_said(
    tmp_path: Path, listing: Make, array_items: Arrays
) -> None:
    items = array_items(300, classes=3)
    reviewed = tmp_path / "reviewed"
    build(listing(items), reviewed, options=BuildOptions(seed=5, validation=0.2))
    home = places(Dataset(reviewed))
    one = next(item for item in items if home[item.id] == "train")
    corrections = written(reviewed / "corrections.csv", Decision(id=one.id, kind="exclude", given=one.label))
    same = BuildOptions(seed=5, validation=0.2, corrections=corrections)
    notices = build(listing(items), tmp_path / "same", options=same).notices
    assert not any("another split" in line for line in notices)
    notices = build(listing(items), tmp_path / "other", options=BuildOptions(corrections=corrections)).notices
    after = places(Dataset(tmp_path / "other"))
    others = sum(home[name] != split for name, split in after.items())
    taught = sum(home[name] == "test" and split == "train" for name, split in after.items())
    assert others > taught > 5
    said = (
        f"{others} pictures are in another split than in {reviewed}, {taught} of its test pictures are trained on now"
    )
    assert any(line.startswith(said) for line in notices)
    (reviewed / "dataset.json").write_text("{")
    build(listing(items), tmp_path / "alone", options=BuildOptions(corrections=corrections))
