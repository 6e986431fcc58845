"""What a build looks at before and after the work: doubled ids, nothing usable, classes without pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from deeper.errors import SourceError, UsageError, printable
from deeper.records.info import SPLITS, DatasetInfo
from deeper.records.options import BuildOptions
from deeper.records.sources import Item, Listing, Rejected, Source, SourceOptions
from deeper.records.writing import TINY, Written

# Where the largest class has so many times the pictures of the smallest, plain accuracy says little about that one.
LOPSIDED = 10


def asked_channels(source: Source, options: BuildOptions) -> int | None:
    """The channels to convert to, as the options say or what `source` was opened with.

    Raises: UsageError, where the two contradict each other.
    """
    opened = _opened_with(source)
    if opened is None or opened.channels is None:
        return options.channels
    if options.channels not in (None, opened.channels):
        raise UsageError(
            f"the source was opened with channels {opened.channels}, and the build asks for {options.channels}; say it once"
        )
    return opened.channels


def asked_group_by(source: Source, options: BuildOptions) -> str | None:
    """What the pictures of a new dataset are grouped by, as the options say or what `source` was opened with.

    Raises: UsageError, where the options say something that the source does not follow.
    """
    opened = _opened_with(source)
    if options.group_by is None:
        return opened.group_by if opened else None
    refuse_other_groups(source, options.group_by, f"the build asks for group_by {printable(options.group_by)!r}")
    return options.group_by


def refuse_other_groups(source: Source, group_by: str, asked: str) -> None:
    """Raises: UsageError, for a source that does not say what belongs together, or by another rule than `group_by`."""
    opened = _opened_with(source)
    if opened is not None and opened.group_by == group_by:
        return
    advice = "open the source with SourceOptions(group_by=…) of the same"
    if source.items and all(item.group is None for item in source.items):
        raise UsageError(f"{asked}, and no picture of the source has a group; {advice}")
    if opened is not None:
        how = "without group_by" if opened.group_by is None else f"with group_by {printable(opened.group_by)!r}"
        raise UsageError(f"{asked}, and the source was opened {how}; {advice}")


def _opened_with(source: Source) -> SourceOptions | None:
    """What `open_source` was told; None for a source that somebody made himself: only its items can be looked at."""
    return source.options if isinstance(source, Listing) else None


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


def refuse_nothing(written: Written, rejected: Sequence[Rejected], excluded: int = 0) -> None:
    """Raises: SourceError, when no picture is left. `excluded`: how many the corrections leave out."""
    if written.kept:
        return
    first = f" (first: {printable(rejected[0].id)}: {printable(rejected[0].reason)})" if rejected else ""
    if excluded:
        others = f", and the {len(rejected):,} others cannot be used{first}" if rejected else ""
        raise SourceError(
            f"the corrections leave out {excluded:,} of {excluded + len(rejected):,} pictures of the source{others}: "
            "nothing is left to build; take back some of these decisions"
        )
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
    folded = Counter(name.casefold() for name in info.classes)
    if similar := [name for name in info.classes if folded[name.casefold()] > 1]:
        notices.append(f"upper and lower case alone tell apart {_names(similar)}: is that meant?")
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
