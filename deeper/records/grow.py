"""`--add`: new pictures in new shards beside the old ones, which are not touched.

The new files are complete, synced and in place before `dataset.json`, replaced at the end, lists them: until then the
dataset is what it was.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deeper import files
from deeper.errors import DatasetError, UsageError, nearest, printable
from deeper.records import info as dataset_info
from deeper.records import rejected as rejections
from deeper.records.checks import class_notices, refuse_nothing, refuse_other_groups, size_notices, usable_items
from deeper.records.dataset import Dataset
from deeper.records.doubled import without_doubled
from deeper.records.info import SPLITS, DatasetInfo, Sizes, SplitInfo
from deeper.records.lock import locked
from deeper.records.options import BuildOptions, BuildReport
from deeper.records.reapplying import reapply
from deeper.records.sources import Item, Rejected, Source
from deeper.records.split import Member, assign_more
from deeper.records.stored import stored
from deeper.records.sums import sum_moments
from deeper.records.workers import Workers
from deeper.records.writing import Progress, Written, split_infos, worker_count, write_items


def grow(
    source: Source, out: Path, *, options: BuildOptions, progress: Progress | None = None, began: float | None = None
) -> BuildReport:
    """Append the pictures of `source` to the dataset `out`. Use through `build(…, options=BuildOptions(add=True))`.

    Old pictures keep their split; a new one joins its group's, else the split its own number says (`records.split`).
    One that is there already with the same bytes and class is skipped.
    Raises: DatasetError, for a class that the dataset does not have (unless `options.new_classes`), an id that stands
    for another picture there, or a dataset that is damaged or being changed.
    """
    began = time.perf_counter() if began is None else began
    kept_group_by(out, options.group_by)  # raises also what is to be said of a folder that is no dataset
    with locked(out), files.ended_by_sigterm(), files.storage(out):
        # Opened within the lock: another addition may have ended just before.
        dataset = Dataset(out)
        _refuse_ungrouped(dataset, source)
        return _grow(source, dataset, options, progress, began)


def kept_group_by(out: Path, given: str | None) -> str | None:
    """What the dataset `out` groups by, with which more pictures must be opened.

    Raises: UsageError, when `given` is something else; DatasetError, when `out` is no dataset.
    """
    kept = dataset_info.load(out).group_by
    if given is not None and given != kept:
        was = f"with --group-by {printable(kept)!r}" if kept is not None else "without --group-by"
        raise UsageError(
            f"the dataset {printable(out)} was built {was}, and --group-by {printable(given)!r} would tear its groups "
            "apart; leave --group-by out with --add, or build all pictures anew"
        )
    return kept


def _refuse_ungrouped(dataset: Dataset, source: Source) -> None:
    """Raises: UsageError, for an opened source that does not say what belongs together as the dataset does."""
    kept = dataset.info.group_by
    if kept is not None:
        built = f"the dataset {printable(dataset.path)} was built with --group-by {printable(kept)!r}"
        refuse_other_groups(source, kept, built)


def _grow(
    source: Source, dataset: Dataset, options: BuildOptions, progress: Progress | None, began: float
) -> BuildReport:
    info = dataset.info
    if options.channels not in (None, info.channels):
        raise UsageError(f"the dataset has {info.channels} channels; --channels {options.channels} cannot change that")
    if options.seed not in (None, info.seed):
        raise UsageError(
            f"the dataset was built with seed {info.seed}, by which new pictures are drawn too; leave --seed out with "
            "--add, or build all pictures anew"
        )
    items, rejected = usable_items(source)
    workers = worker_count(items, options.workers)
    again = reapply(items, info.corrections, dataset.path, workers)
    items = again.items
    rejected += again.rejected
    classes = _classes(dataset, items, source, options)
    index_of = {name: index for index, name in enumerate(classes)}
    fresh, same, unusable = _sorted_out(dataset, items, workers)
    fresh, doubled, elsewhere = without_doubled(dataset, fresh, workers)
    same += doubled
    drawn = _drawn(info, options)
    new, old, agreeing = [_member(item) for item in fresh], _old_members(dataset), drawn == info.drawn
    assignment = assign_more(new, old, drawn, info.seed, agreeing=agreeing)
    number = info.additions + 1
    notices = list(source.notices) + list(assignment.notices) + elsewhere
    if fresh and all(item.group is None for item in fresh) and (example := _a_group(dataset)) is not None:
        notices.append(
            f"pictures of the dataset belong to groups (such as {printable(example, 60)!r}) and none of the new ones does: "
            "each is on its own, and may be of the same thing as a picture of another split"
        )
    with _aside(dataset, number, notices) as folder:
        with Workers(workers) as pool:
            written = write_items(
                fresh,
                assignment.splits,
                index_of,
                folder,
                channels=info.channels,
                seed=info.seed,
                shard_bytes=int(options.shard_megabytes * 1e6),
                pool=pool,
                added=number,
                progress=progress,
            )
        rejected += unusable + written.rejected
        before = rejections.read_rejected(dataset.path)
        listed = rejections.joined(before, rejected, accepted=[item.id for item in items])
        if written.kept:
            info = replace(
                _joined(dataset, classes, written), drawn=drawn, additions=number, versions=dataset_info.versions()
            )
            notices += class_notices(info, options) + size_notices(written)
        elif not same and not again.excluded:
            refuse_nothing(written, rejected)
        # Also where there is nothing to add but names: what the report counts must be found in the list.
        if written.kept or listed != before:
            info = replace(info, rejected=len(listed))
            with _in_place(folder, dataset.path):
                rejections.write_rejected(dataset.path, listed)
                dataset_info.save(dataset.path, info)
    return BuildReport(
        path=dataset.path,
        found=len(source.items) + len(source.rejected),
        kept=written.kept,
        rejected=len(rejected),
        skipped=same,
        excluded=again.excluded,
        splits={name: split.count for name, split in info.splits.items()},
        classes=info.classes,
        seconds=time.perf_counter() - began,
        notices=tuple(notices + _notices(info, written, same, again.excluded)),
    )


def _classes(dataset: Dataset, items: Sequence[Item], source: Source, options: BuildOptions) -> tuple[str, ...]:
    used = {item.label for item in items}
    new = [name for name in source.classes if name in used and name not in dataset.classes]
    if new and not options.new_classes:
        names = ", ".join(repr(printable(name, 60)) for name in new[:8]) + (
            f" and {len(new) - 8} more" if new[8:] else ""
        )
        raise DatasetError(
            f"the dataset {printable(dataset.path)} has no class {names}{nearest(new[0], dataset.classes)}; rename it in "
            "the source, or append it with --new-classes"
        )
    return (*dataset.classes, *new)


def _sorted_out(dataset: Dataset, items: Sequence[Item], workers: int) -> tuple[list[Item], int, list[Rejected]]:
    """What is new; how many are there already, byte for byte; and what has a known id and cannot be read.

    Raises: DatasetError, for an id that stands for another picture in the dataset.
    """
    places = {
        identifier: (name, position)
        for name in dataset.info.splits
        for position, identifier in enumerate(dataset.split(name).ids)
    }
    unusable: list[Rejected] = []
    changed: list[str] = []
    same = 0
    for item, encoded in stored([item for item in items if item.id in places], workers):
        name, position = places[item.id]
        split = dataset.split(name)
        if isinstance(encoded, Rejected):
            unusable.append(encoded)
        elif split.facts[position].text == item.label and encoded == split.encoded(position):
            same += 1
        else:
            changed.append(item.id)
    if changed:
        raise DatasetError(
            f"{len(changed):,} ids of the source stand for other pictures or classes in {printable(dataset.path)} (first: "
            f"{printable(changed[0])}); rename these files (of arrays: put the old ones first in the new file), or build a new "
            f"dataset ({same:,} others are the same)"
        )
    return [item for item in items if item.id not in places], same, unusable


def _drawn(info: DatasetInfo, options: BuildOptions) -> dict[str, float]:
    drawn = dict(info.drawn)
    for name, share in (("validation", options.validation), ("test", options.test)):
        if share is None:
            continue
        if share >= 1:
            raise UsageError(f"--{name} {share} with --add; wanted a share below 1, as 0.1")
        drawn.pop(name, None)
        if share:
            drawn[name] = share
    if sum(drawn.values()) >= 1:
        raise UsageError(
            f"validation and test take {sum(drawn.values()):.3g} of the new pictures; nothing is left to train on"
        )
    return drawn


def _member(item: Item) -> Member:
    return Member(item.id, item.label, item.group, item.split)


def _old_members(dataset: Dataset) -> list[Member]:
    return [
        Member(facts.id, facts.text, facts.group, name)
        for name in dataset.info.splits
        for facts in dataset.split(name).facts
    ]


def _a_group(dataset: Dataset) -> str | None:
    groups = (group for name in dataset.info.splits for group in dataset.split(name).groups)
    return next((group for group in groups if group is not None), None)


def _joined(dataset: Dataset, classes: tuple[str, ...], written: Written) -> DatasetInfo:
    """The dataset's description with the new shards behind the old ones."""
    info = dataset.info
    added = split_infos(written, len(classes))
    splits = {}
    for name in SPLITS:
        old, new = info.splits.get(name), added.get(name)
        shards = (*(old.shards if old else ()), *(new.shards if new else ()))
        counts = [0] * len(classes)
        for part in (old, new):
            for label, count in enumerate(part.per_class if part else ()):
                counts[label] += count
        if shards or name == "train":
            splits[name] = SplitInfo(count=sum(counts), per_class=tuple(counts), shards=shards)
    moments = sum_moments([info.moments, written.sums.moments(info.channels)])
    heights, widths = list(written.heights), list(written.widths)
    for name in info.splits:
        heights += dataset.split(name).heights.tolist()
        widths += dataset.split(name).widths.tolist()
    return replace(
        info,
        classes=classes,
        splits=splits,
        moments=moments,
        mean=moments.mean(),
        deviation=moments.deviation(),
        sizes=Sizes.of(heights, widths),
    )


@contextmanager
def _aside(dataset: Dataset, number: int, notices: list[str]) -> Iterator[Path]:
    """A folder within the dataset for what is not finished; nothing of it remains."""
    listed = {shard.file for split in dataset.info.splits.values() for shard in split.shards}
    for path in sorted(dataset.path.iterdir()):
        # What a killed addition left: files of this number, which no dataset.json ever listed, and its folder.
        unfinished = re.fullmatch(rf"(train|validation|test)-added{number:03d}-.*\.(tfrecord|idx)", path.name)
        if path.name.startswith(".adding-"):
            shutil.rmtree(path, ignore_errors=True)
        elif unfinished and path.with_suffix(".tfrecord").name not in listed:
            path.unlink()
            notices.append(f"removed {path.name}, left by an addition that was cut off")
    folder = dataset.path / f".adding-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _in_place(folder: Path, target: Path) -> Iterator[None]:
    """Move the files to the dataset for the block; when it raises before `dataset.json` lists them, take them back and
    `rejected.csv` with them. From then on they belong to the dataset."""
    moved: list[Path] = []
    listing, description = target / rejections.FILE, target / dataset_info.FILE
    before = listing.read_bytes() if listing.is_file() else None
    described = description.read_bytes()
    try:
        for path in sorted(folder.iterdir()):
            with path.open("rb") as file:
                os.fsync(file.fileno())
            moved.append(target / path.name)
            path.rename(moved[-1])
        files.fsync_folder(target)
        yield
    except BaseException:
        if description.read_bytes() != described:
            raise
        for path in moved:
            path.unlink(missing_ok=True)
        if before is not None and listing.read_bytes() != before:
            files.write_bytes(listing, before)
        raise


def _notices(info: DatasetInfo, written: Written, same: int, excluded: int) -> list[str]:
    notices = []
    if same:
        notices.append(f"{same:,} pictures are in the dataset already, byte for byte, and were skipped")
    if excluded:
        notices.append(f"{excluded:,} pictures were left out by the dataset's corrections, and stay out")
    if written.channels[3] and info.channels == 1:
        notices.append(f"{written.channels[3]:,} colour pictures are read as grey, as the dataset is grey")
    for name in ("validation", "test"):
        if written.kept and name not in info.drawn and not written.count(name):
            notices.append(
                f"{name}: none of the new pictures, as the dataset's own was given, not drawn (--{name} 0.1 draws)"
            )
    return notices
