"""What a build looks at before and after the work: doubled ids, nothing usable, classes without pictures."""

from __future__ import annotations

from collections.abc import Sequence

from deeper.errors import SourceError, printable
from deeper.records.info import SPLITS, DatasetInfo
from deeper.records.options import BuildOptions
from deeper.records.sources import Item, Rejected, Source
from deeper.records.writing import TINY, Written

# Where the largest class has so many times the pictures of the smallest, plain accuracy says little about that one.
LOPSIDED = 10


def usable_items(source: Source) -> tuple[list[Item], list[Rejected]]:
    """The items with ids that occur once, and what is refused before anything is read."""
    items: list[Item] = []
    rejected = list(source.rejected)
    seen: set[str] = set()
    for item in source.items:
        if item.id in seen:
            rejected.append(Rejected(item.id, "the id occurs twice; the first is kept"))
        else:
            seen.add(item.id)
            items.append(item)
    return items, rejected


def refuse_nothing(written: Written, rejected: Sequence[Rejected]) -> None:
    """Raises: SourceError, when no picture is left."""
    if written.kept:
        return
    first = f" (first: {printable(rejected[0].id)}: {printable(rejected[0].reason)})" if rejected else ""
    raise SourceError(
        f"none of the {len(rejected):,} pictures of the source can be used{first}; give a source with JPEG, PNG or "
        "other pictures that Pillow reads"
    )


def class_notices(info: DatasetInfo, options: BuildOptions) -> list[str]:
    """Warnings about classes with few pictures. Raises: SourceError, for one that train lacks."""
    notices: list[str] = []
    train = info.splits["train"]
    totals = [sum(split.per_class[index] for split in info.splits.values()) for index in range(len(info.classes))]
    missing = [name for name, count in zip(info.classes, train.per_class) if not count]
    if missing:
        text = f"no picture to train on for {_names(missing)}"
        if options.missing_class == "refuse":
            raise SourceError(
                f"{text}; add pictures, take the class out of the source, or go on with --missing-class warn"
            )
        notices.append(f"{text}: no network can learn it")
    single = [name for name, count in zip(info.classes, totals) if count == 1]
    if single:
        notices.append(f"a single picture of {_names(single)}: it trains, and nothing tests it")
    for split in SPLITS[1:]:
        if split not in info.splits:
            continue
        lacking = [
            name
            for name, count, total in zip(info.classes, info.splits[split].per_class, totals)
            if not count and total > 1
        ]
        if lacking:
            notices.append(f"{split} has no picture of {_names(lacking)}: its results say nothing about that")
    fewest, most = min(range(len(totals)), key=totals.__getitem__), max(range(len(totals)), key=totals.__getitem__)
    if 0 < totals[fewest] * LOPSIDED <= totals[most]:
        notices.append(
            f"{_names([info.classes[most]])} has {totals[most] / totals[fewest]:.0f} times the pictures of "
            f"{_names([info.classes[fewest]])}: look at balanced accuracy, and try deeper train --class-weights balanced"
        )
    if len(info.classes) == 1:
        notices.append(f"a single class, {_names(info.classes)}: there is nothing to tell apart")
    return notices


def size_notices(written: Written) -> list[str]:
    """A warning about pictures that are hardly any. They are kept: a network takes what it is given."""
    if not written.tiny:
        return []
    width, height, identifier = min(written.tiny, key=lambda one: one[0] * one[1])
    many = f"{len(written.tiny):,} kept pictures are" if len(written.tiny) > 1 else "a kept picture is"
    smallest = f"the smallest {printable(identifier, 80)}, {width}×{height}"
    return [f"{many} under {TINY} pixels wide or high, {smallest}: see whether it belongs there"]


def _names(names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(repr(printable(name, 60)) for name in names[:limit])
    word = "class" if len(names) == 1 else "classes"
    return f"{word} {shown}" + (f" and {len(names) - limit} more" if len(names) > limit else "")
