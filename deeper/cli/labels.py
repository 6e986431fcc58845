"""`deeper labels`: pictures whose label somebody should look at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from deeper.cli.screen import bare_table, note, results
from deeper.errors import UsageError, printable, typed

if TYPE_CHECKING:
    from deeper.inspection.suspects import Doubts, Suspect


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Find doubtful labels, the same picture under two labels or in two splits, and pictures unlike all others.

    Writes suspects.csv, neighbours.csv and suspects.png; nothing is changed. Then: deeper review DATASET

    Example: deeper labels datasets/mine
    """

    source: tyro.conf.Positional[str]
    """A dataset folder, or a source, which is built first."""
    out: Path | None = None
    """Where the files go; labels/ in the dataset's folder when not given."""
    limit: int = 2000
    """Suspects to list at most."""
    show: int = 20
    """Suspects to print."""
    folds: int | None = None
    """Parts of the training split, each judged by networks that did not train on it; 2 from 20,000 pictures on, else
    5, when not given."""
    seeds: int = 1
    """Networks per part; more are slower and see better."""
    epochs: float | None = None
    """Of each network; more are slower and see better."""
    json: bool = False
    """Print one JSON object (docs/json.md describes its keys)."""


def main(arguments: Arguments) -> None:
    """Search, write the files and print the first suspects."""
    if arguments.show < 0:
        raise UsageError(f"--show: wanted 0 or more, got {arguments.show}")
    from deeper.audit.options import JudgeOptions
    from deeper.cli.bar import bars
    from deeper.inspection.label_sheet import write_found
    from deeper.inspection.labels import LabelOptions, find_doubts
    from deeper.runs import dataset_for

    options = LabelOptions(
        judge=JudgeOptions(folds=arguments.folds, seeds=arguments.seeds, epochs=arguments.epochs), limit=arguments.limit
    )
    say = note
    dataset = dataset_for(arguments.source, notice=say)
    with bars() as progress:
        doubts = find_doubts(dataset, options=options, progress=progress, notice=say)
    out = arguments.out or dataset.path / "labels"
    write_found(doubts, dataset, out, title=f"Doubtful pictures of {printable(dataset.path.name, 60)}")
    if arguments.json:
        print(json.dumps({"out": str(out), **doubts.to_plain()}, allow_nan=False))
    else:
        _print_text(doubts, dataset.path, out, arguments)


def _reason(one: Suspect) -> str:
    """A leak or a duplicate is worth nothing without the other picture's name."""
    reasons = ", ".join(one.reasons)
    return f"{reasons}: {printable(one.detail, 400)}" if {"leak", "duplicate"} & {*one.reasons} else reasons


def _print_text(doubts: Doubts, dataset: Path, out: Path, arguments: Arguments) -> None:
    from rich.text import Text

    console = results()
    counts = doubts.counts()
    words = (("label", "doubtful labels"), ("duplicate", "same picture, other label"), ("leak", "in two splits"))
    pieces = [f"{counts[key]:,} {what}" for key, what in (*words, ("outlier", "unlike all others"))]
    suspected = len(doubts.suspects) if doubts.suspected is None else doubts.suspected
    headline = f"{suspected:,} of {doubts.pictures:,} pictures deserve a look"
    console.print(f"{headline}: {', '.join(pieces)}", style="bold", soft_wrap=True)
    for text in doubts.notes:
        console.print(f"note: {text}", soft_wrap=True)
    shown = doubts.suspects[: arguments.show]
    if shown:
        table = bare_table()
        for column in ("", "id", "split", "given", "suggested", "doubt", "reason"):
            # On a narrow screen names are folded, the id last: it is what one looks for.
            table.add_column(
                column,
                justify="right" if column in ("", "doubt") else "left",
                no_wrap=column in ("", "split", "doubt"),
                min_width={"id": 20, "given": 10, "suggested": 10, "reason": 8}.get(column),
                overflow="fold",
            )
        for number, one in enumerate(shown, 1):
            cells = (printable(one.id, 60), one.split, printable(one.given, 30), printable(one.suggested or "–", 30))
            table.add_row(str(number), *map(Text, cells), f"{one.confidence:.3f}", Text(_reason(one)))
        console.print()
        console.print(table)
        if len(doubts.suspects) > len(shown):
            console.print(f"… and {len(doubts.suspects) - len(shown):,} more in {printable(out)}/suspects.csv")
    place = typed(dataset)
    extra = "" if arguments.out is None else f" --suspects {typed(out / 'suspects.csv')}"
    console.print(f"\n{printable(out)}/: suspects.csv, neighbours.csv, suspects.png", soft_wrap=True)
    if doubts.suspects:
        console.print(
            f"next:\n  deeper review {place}{extra}   look at them in the browser, and decide", soft_wrap=True
        )
