"""A source → a dataset folder, made aside and renamed into place: it is there whole or not at all."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import cast

from deeper import files
from deeper.errors import DatasetError, StorageError, UsageError, printable
from deeper.records import info as dataset_info
from deeper.records import rejected as rejections
from deeper.records.checks import (
    asked_channels,
    asked_group_by,
    class_notices,
    refuse_nothing,
    size_notices,
    usable_items,
)
from deeper.records.correcting import correct, moved
from deeper.records.corrections import read_corrections
from deeper.records.info import FORMAT_VERSION, CorrectionsInfo, DatasetInfo, Sizes
from deeper.records.options import BuildOptions, BuildReport
from deeper.records.reapplying import with_hashes
from deeper.records.sources import Source, SourceOptions, open_source
from deeper.records.split import Assignment, Member, assign
from deeper.records.workers import Workers, available_processors
from deeper.records.writing import Progress, Written, split_infos, worker_count, write_items

DEFAULTS = BuildOptions()


def build(
    source: Source | object,
    out: str | Path | None = None,
    *,
    options: BuildOptions = DEFAULTS,
    progress: Progress | None = None,
) -> BuildReport:
    """Make the dataset `out` from `source`, or with `options.add` append to it.

    `source`: one that `open_source` opened, or anything it opens: a name, a path, arrays. `out`: a folder; `datasets/` and
    the source's name when not given.

    Two builds of one source with the same options are byte-identical, for any number of workers. `progress` is called
    with (pictures done, pictures in all). Stopped at any moment, it leaves nothing behind and what existed unharmed.
    Raises: SourceError, when no picture is usable, a class has none to train on, or corrections are of another source;
    UsageError, when an opened source was opened with other options; DatasetError, when `out` is not what it should be;
    StorageError, when it cannot be written.
    """
    began = time.perf_counter()
    place = None if out is None else Path(out)
    with files.ended_by_sigterm(), Workers(options.workers or available_processors()) as pool:
        if options.add:
            return _add(source, place, options, progress, began)
        if isinstance(source, (str, Path)) and os.path.isdir(source):
            pool.start()  # while its files are listed
        opened = _opened(source, options)
        return _build(opened, place or _usual_place(opened), options, pool, progress, began)


def _add(
    source: Source | object, out: Path | None, options: BuildOptions, progress: Progress | None, began: float
) -> BuildReport:
    from deeper.records.grow import grow, kept_group_by

    opened = None
    if out is None:
        opened = _opened(source, options)
        out = _usual_place(opened)
    kept = kept_group_by(out, options.group_by)
    if opened is None or kept != options.group_by:
        opened = _opened(source, replace(options, group_by=kept))
    options = replace(options, channels=asked_channels(opened, options))
    return grow(opened, out, options=options, progress=progress, began=began)


def _build(
    source: Source, out: Path, options: BuildOptions, pool: Workers, progress: Progress | None, began: float
) -> BuildReport:
    options = replace(options, group_by=asked_group_by(source, options), channels=asked_channels(source, options))
    _refuse_existing(out)
    decisions = read_corrections(*options.corrections)
    items, rejected = usable_items(source)
    members = [Member(item.id, item.label, item.group, item.split) for item in items]
    assignment = assign(members, options)
    corrected = correct(items, assignment.splits, source.classes, decisions)
    index_of = {name: index for index, name in enumerate(source.classes)}
    files.remove_leftovers(out.parent, out.name)
    with files.new_folder(out) as folder:
        workers = worker_count(corrected.items, options.workers)
        if workers == 1:
            pool.dismiss()
        else:
            pool.start()
        corrections = with_hashes(corrected.info, items, workers) if corrected.info else None
        written = write_items(
            corrected.items,
            corrected.splits,
            index_of,
            folder,
            channels=options.channels,
            seed=options.seed or 0,
            shard_bytes=int(options.shard_megabytes * 1e6),
            pool=pool,
            progress=progress,
        )
        rejected += written.rejected
        refuse_nothing(written, rejected, len(corrected.info.excluded) if corrected.info else 0)
        info = _describe(source, options, assignment, written, len(rejected), corrections)
        notices = [*source.notices, *assignment.notices, *corrected.notices, *_channel_notices(options, written)]
        notices += moved(options.corrections, corrected.items, corrected.splits)
        notices += class_notices(info, options) + size_notices(written)
        rejections.write_rejected(folder, rejected)
        dataset_info.save(folder, info)
    return BuildReport(
        path=out,
        found=len(source.items) + len(source.rejected),
        kept=written.kept,
        rejected=len(rejected),
        skipped=0,
        excluded=len(corrected.info.excluded) if corrected.info else 0,
        relabelled=len(corrected.info.relabelled) if corrected.info else 0,
        splits={name: split.count for name, split in info.splits.items()},
        classes=info.classes,
        seconds=time.perf_counter() - began,
        notices=tuple(notices),
    )


def _opened(source: Source | object, options: BuildOptions) -> Source:
    if hasattr(source, "fingerprint"):
        if options.shape is not None:
            raise UsageError(
                f"shape {options.shape} is for a source that the build opens, and this one is open already; give it to "
                "open_source, as SourceOptions(shape=…)"
            )
        return cast(Source, source)
    asked = SourceOptions(shape=options.shape, channels=options.channels, group_by=options.group_by)
    return open_source(source, options=asked)


def _usual_place(source: Source) -> Path:
    return Path("datasets") / source.name


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


def _describe(
    source: Source,
    options: BuildOptions,
    assignment: Assignment,
    written: Written,
    rejected: int,
    corrections: CorrectionsInfo | None,
) -> DatasetInfo:
    channels = options.channels or (3 if written.channels[3] else 1)
    moments = written.sums.moments(channels)
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
        seed=options.seed or 0,
        group_by=options.group_by,
        rejected=rejected,
        corrections=corrections,
        versions=dataset_info.versions(),
    )


def _channel_notices(options: BuildOptions, written: Written) -> list[str]:
    grey, colour = written.channels[1], written.channels[3]
    if options.channels == 1 and colour:
        return [f"{colour:,} colour pictures are read as grey, as --channels 1 asks"]
    if options.channels is None and grey and colour:
        return [
            f"{colour:,} colour and {grey:,} grey pictures: all are read with 3 channels; --channels 1 makes them grey"
        ]
    return []
