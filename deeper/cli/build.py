"""`deeper build`: pictures → a checked dataset of TFRecords."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

if TYPE_CHECKING:
    from deeper.records import BuildReport


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Make a dataset from pictures. Every file is decoded once; what cannot be used is listed in rejected.csv.

    Example: deeper build my_photos --out datasets/mine --group-by '(plant[0-9]+)'
    """

    source: tyro.conf.Positional[str]
    """A folder with one sub-folder per class (or train/, validation/ or val/, test/ above them), a .csv or .tsv of
    path,label[,split][,group], an .npz, a folder of IDX files, or one of mnist, fashion-mnist, digits."""
    out: Path | None = None
    """The dataset folder; datasets/NAME when not given. With --add: the dataset to append to."""
    validation: float | None = None
    """Share of the training pictures that become the validation split, or how many, but at least one of each class that
    has enough; 0 for none. Only where the source has no such split; 0.1 when not given."""
    test: float | None = None
    """The same for the test split; 0.1 when not given."""
    group_by: str | None = None
    """What keeps pictures together in one split: a column of the table, `folder`, or a regular expression with one
    group, searched in the picture's path below SOURCE: one match, one split. With --add: what the dataset was built with, which need not be said again."""
    add: bool = False
    """Append to the dataset; old shards are not touched and no old picture changes its split."""
    new_classes: bool = False
    """With --add: give classes that the dataset does not have the next indices."""
    channels: Literal[1, 3] | None = None
    """1 reads all pictures as grey, 3 as colour; 3 if any has colour when not given."""
    shape: tuple[int, int] | tuple[int, int, int] | None = None
    """Height and width (and channels) of a picture, where arrays hold it flat: --shape 28 28."""
    missing_class: Literal["refuse", "warn"] = "refuse"
    """What to do about a class without a picture in train."""
    seed: int | None = None
    """Decides which pictures go to validation and test, and the order of the training pictures; 0 when not given. Leave it
    out with --add: the dataset keeps its own."""
    shard_megabytes: float = 64
    """Size of one TFRecord file."""
    workers: int | None = None
    """Processes that decode; all processors when not given. The result does not depend on it."""
    corrections: tuple[Path, ...] = ()
    """A corrections.csv that `deeper review` wrote: pictures get their new class or are left out. The dataset keeps a
    record of who became what. With the other options of the first build no picture changes its split."""
    json: bool = False
    """Print one JSON object: out, found, kept, rejected, skipped, excluded, relabelled, splits, classes, seconds, notices."""


def main(arguments: Arguments) -> None:
    """List the source, build with a progress bar on standard error, and report."""
    from deeper.cli.bar import bar
    from deeper.records import BuildOptions, build

    options = BuildOptions(
        validation=arguments.validation,
        test=arguments.test,
        seed=arguments.seed,
        group_by=arguments.group_by,
        shard_megabytes=arguments.shard_megabytes,
        workers=arguments.workers,
        channels=arguments.channels,
        shape=arguments.shape,
        add=arguments.add,
        new_classes=arguments.new_classes,
        missing_class=arguments.missing_class,
        corrections=arguments.corrections,
    )
    with bar("reading pictures") as progress:
        report = build(arguments.source, arguments.out, options=options, progress=progress)
    if arguments.json:
        _print_json(report)
    else:
        _print_text(report)


def _print_json(report: BuildReport) -> None:
    facts = {
        "out": str(report.path),
        "found": report.found,
        "kept": report.kept,
        "rejected": report.rejected,
        "skipped": report.skipped,
        "excluded": report.excluded,
        "relabelled": report.relabelled,
        "splits": dict(report.splits),
        "classes": list(report.classes),
        "seconds": round(report.seconds, 3),
        "notices": list(report.notices),
    }
    print(json.dumps(facts))


def _print_text(report: BuildReport) -> None:
    from deeper.errors import printable, typed

    out = printable(report.path)
    for line in report.notices:
        print(f"note: {line}")
    pieces = [f"{report.kept:,} of {report.found:,} pictures kept"]
    if report.skipped:
        pieces.append(f"{report.skipped:,} there already")
    if report.relabelled or report.excluded:
        pieces.append(f"{report.relabelled:,} relabelled and {report.excluded:,} excluded (see {out}/dataset.json)")
    if report.rejected:
        pieces.append(f"{report.rejected:,} rejected (see {out}/rejected.csv)")
    classes = "1 class" if len(report.classes) == 1 else f"{len(report.classes):,} classes"
    splits = ", ".join(f"{name} {count:,}" for name, count in report.splits.items())
    print(f"{out}: {'; '.join(pieces)}; {classes}; {splits}; {report.seconds:.1f} s")
    if len(report.classes) < 2:
        print("next: give each kind of picture a folder of its own, at least two, and build again")
    else:
        print(f"next: deeper train {typed(report.path)}")
