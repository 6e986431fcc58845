"""A source → a dataset folder, made aside and renamed into place: it is there whole or not at all."""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deeper import files
from deeper.errors import DatasetError, SourceError, StorageError, printable
from deeper.records import info as dataset_info
from deeper.records.info import FORMAT_VERSION, SPLITS, DatasetInfo, Sizes, SplitInfo
from deeper.records.options import BuildOptions, BuildReport
from deeper.records.sources import Item, Rejected, Source
from deeper.records.split import Assignment, Member, assign
from deeper.records.writing import Progress, Written, ended_by_sigterm, worker_count, write_items

REJECTED = "rejected.csv"
DEFAULTS = BuildOptions()


def build(
    source: Source, out: str | Path, *, options: BuildOptions = DEFAULTS, progress: Progress | None = None
) -> BuildReport:
    """Make the dataset `out` from `source`, or with `options.add` append to it.

    Two builds of one source with the same options are byte-identical, for any number of workers. `progress` is called
    with (pictures done, pictures in all). Stopped at any moment, it leaves nothing behind and what existed unharmed.
    Raises: SourceError, when no picture is usable or a class has none to train on; DatasetError, when `out` is not
    what it should be; StorageError, when it cannot be written.
    """
    if options.add:
        from deeper.records.grow import grow

        return grow(source, Path(out), options=options, progress=progress)
    began = time.perf_counter()
    out = Path(out)
    _refuse_existing(out)
    items, rejected = usable_items(source)
    members = [Member(item.id, item.label, item.group, item.split) for item in items]
    assignment = assign(members, options)
    index_of = {name: index for index, name in enumerate(source.classes)}
    with ended_by_sigterm(), files.new_folder(out) as folder:
        written = write_items(
            items,
            assignment.splits,
            index_of,
            folder,
            channels=options.channels,
            seed=options.seed,
            shard_bytes=int(options.shard_megabytes * 1e6),
            workers=worker_count(items, options.workers),
            progress=progress,
        )
        rejected += written.rejected
        refuse_nothing(written, rejected)
        info = _describe(source, options, assignment, written, len(rejected))
        notices = [*_source_notices(source), *assignment.notices, *_channel_notices(options, written)]
        notices += class_notices(info, options)
        write_rejected(folder, rejected)
        dataset_info.save(folder, info)
    return BuildReport(
        path=out,
        found=len(source.items) + len(source.rejected),
        kept=written.kept,
        rejected=len(rejected),
        skipped=0,
        splits={name: split.count for name, split in info.splits.items()},
        classes=info.classes,
        seconds=time.perf_counter() - began,
        notices=tuple(notices),
    )


def _refuse_existing(out: Path) -> None:
    try:
        if not out.exists() and not out.is_symlink():
            return
        if (out / dataset_info.FILE).exists():
            raise DatasetError(
                f"{printable(out)} holds a dataset already; append to it with --add, remove it, or give another --out"
            )
        if out.is_dir() and not any(out.iterdir()):
            return
    except OSError as error:
        raise StorageError(f"cannot write {printable(out)}: {error.strerror}; choose another place") from None
    raise DatasetError(f"{printable(out)} exists already and is no dataset; give another --out, or remove it")


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


def _describe(
    source: Source, options: BuildOptions, assignment: Assignment, written: Written, rejected: int
) -> DatasetInfo:
    channels = options.channels or (3 if written.channels[3] else 1)
    moments = written.moments(channels)
    return DatasetInfo(
        format_version=FORMAT_VERSION,
        name=source.name,
        source=source.description,
        classes=tuple(source.classes),
        channels=channels,
        mean=moments.mean(),
        deviation=moments.deviation(),
        moments=moments,
        sizes=Sizes.of(written.heights, written.widths),
        splits=split_infos(written, len(source.classes)),
        drawn=dict(assignment.drawn),
        seed=options.seed,
        group_by=options.group_by,
        rejected=rejected,
        versions=versions(),
    )


def split_infos(written: Written, classes: int) -> dict[str, SplitInfo]:
    """The splits that have pictures, and `train` in any case."""
    infos = {}
    for name in SPLITS:
        shards = written.shards.get(name, ())
        counts: Mapping[int, int] = written.per_class.get(name, Counter())
        if shards or name == "train":
            per_class = tuple(counts.get(label, 0) for label in range(classes))
            infos[name] = SplitInfo(count=sum(per_class), per_class=per_class, shards=shards)
    return infos


def versions() -> dict[str, str]:
    """Of the programs whose work is in the bytes."""
    found = {}
    for package in ("deeper", "numpy", "pillow", "simplejpeg"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_rejected(folder: Path, rejected: Sequence[Rejected]) -> None:
    """`rejected.csv`: a header, then id and reason; quoted where needed, so an id may hold anything."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "reason"))
    writer.writerows((item.id, " ".join(item.reason.split())) for item in rejected)
    files.write_bytes(folder / REJECTED, text.getvalue().encode("utf-8", "backslashreplace"))


def read_rejected(folder: Path) -> list[Rejected]:
    """The lines of `rejected.csv`; none where it is missing."""
    path = folder / REJECTED
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as text:
        return [Rejected(row[0], row[1]) for row in list(csv.reader(text))[1:] if len(row) == 2]


def _source_notices(source: Source) -> Sequence[str]:
    return tuple(source.notices)


def _channel_notices(options: BuildOptions, written: Written) -> list[str]:
    grey, colour = written.channels[1], written.channels[3]
    if options.channels == 1 and colour:
        return [f"{colour:,} colour pictures are read as grey, as --channels 1 asks"]
    if options.channels is None and grey and colour:
        return [
            f"{colour:,} colour and {grey:,} grey pictures: all are read with 3 channels; --channels 1 makes them grey"
        ]
    return []


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
    if len(info.classes) == 1:
        notices.append(f"a single class, {_names(info.classes)}: there is nothing to tell apart")
    return notices


def _names(names: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(repr(printable(name, 60)) for name in names[:limit])
    word = "class" if len(names) == 1 else "classes"
    return f"{word} {shown}" + (f" and {len(names) - limit} more" if len(names) > limit else "")
