"""`deeper compare`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from deeper.cli.screen import bare_table, results
from deeper.errors import printable
from deeper.figures import kind_of

if TYPE_CHECKING:
    from deeper.evaluation import Comparison, Pair
    from deeper.records import Dataset


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Compare runs on the same pictures: a table, paired tests, a vector figure, a LaTeX table.

    To choose between runs add --split validation: test pictures by which one chooses no longer tell how good the chosen
    run is.

    Example: deeper compare runs/a runs/b --split validation --figure comparison.pdf --latex comparison.tex
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Two or more run folders or bundles."""
    source: str | None = None
    """A dataset or source to compare on; each run's own when not given."""
    split: str | None = None
    """train, validation, test or all. When not given test; of a source without splits all its pictures, or the test
    pictures where a run was trained on that source. Without a source, validation of a run of `train --folds` is what it
    held out."""
    figure: Path | None = None
    """Write a figure: .svg, .pdf or .png."""
    latex: Path | None = None
    """Write LaTeX tables (they need the package booktabs)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """fp32 is exact; bf16 is quicker where the processor has it, and may change a doubtful answer."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""
    model: str | None = None
    """The import path of a network of your own, where a bundle needs it."""
    json: bool = False
    """Print one JSON object (docs/json.md describes its keys)."""


def main(arguments: Arguments) -> None:
    """Compare and print."""
    # Before the runs are judged: that may take minutes.
    if arguments.figure:
        kind_of(arguments.figure)
    from deeper.runs import compare_runs, judged_on

    split = arguments.split or "test"
    source: Dataset | str | None = arguments.source
    if arguments.source is not None and all(run.is_dir() for run in arguments.runs):
        source, split = judged_on(arguments.source, arguments.split, _notice, arguments.runs)
    comparison = compare_runs(
        arguments.runs,
        split=split,
        source=source,
        device=arguments.device,
        precision=arguments.precision,
        model=arguments.model,
        # Where a source was given, all was said when it was opened.
        notice=_notice if arguments.source is None else None,
    )
    if arguments.figure:
        from deeper.evaluation.comparison_figure import draw

        draw(comparison, arguments.figure)
    if arguments.latex:
        from deeper import files
        from deeper.evaluation.comparison_table import latex

        files.write_text(arguments.latex, latex(comparison))
    if arguments.json:
        print(json.dumps({"split": split, **comparison.to_plain()}, allow_nan=False))
    else:
        _print(comparison, arguments, split)


def _notice(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def _print(comparison: Comparison, arguments: Arguments, split: str) -> None:
    from rich.text import Text

    # Run names are free text: no markup, no emoji codes.
    console = results()
    total = next(iter(comparison.evaluations.values())).total
    name = "" if split == "all" else f"{printable(split)} "
    console.print(f"{len(comparison.evaluations)} runs on the same {total:,} {name}pictures\n")
    table = bare_table()
    for name in ("run", "accuracy, %", "95 % interval", "errors", "balanced, %", "macro-F1"):
        table.add_column(name, justify="left" if name == "run" else "right")
    for name, one in comparison.evaluations.items():
        low, high = one.interval
        table.add_row(
            Text(printable(name, 60)),
            f"{one.accuracy * 100:.2f}",
            f"{low * 100:.2f}–{high * 100:.2f}",
            f"{one.total - one.correct:,}",
            f"{one.balanced_accuracy * 100:.2f}",
            f"{one.macro_f1:.4f}",
        )
    console.print(table)
    console.print()
    for pair in comparison.pairs:
        console.print(_sentence(pair), soft_wrap=True)
    if len(comparison.pairs) > 1:
        console.print(
            f"p: exact McNemar, adjusted by Holm over {len(comparison.pairs)} pairs; each interval is of its pair alone",
            soft_wrap=True,
        )
    for path in (arguments.figure, arguments.latex):
        if path:
            console.print(f"wrote {printable(path)}", soft_wrap=True)


def _sentence(pair: Pair) -> str:
    low, high = pair.interval
    first, second = printable(pair.first, 60), printable(pair.second, 60)
    better, worse = (first, second) if pair.difference > 0 else (second, first)
    outside = not low <= 0 <= high
    if pair.differs:
        verdict = f"{better} is better than {worse}"
    elif outside:
        verdict = f"{better} may be better than {worse}, but that is not certain"
    else:
        verdict = f"no difference between {first} and {second} can be told"
    return (
        f"{verdict}: {first} − {second} = {pair.difference * 100:+.2f} points (95 % interval {low * 100:+.2f} to "
        f"{high * 100:+.2f}); right alone {pair.only_first:,} and {pair.only_second:,} times, p = {pair.adjusted:.2g}"
        + ("" if pair.differs == outside else " (the test is exact and decides; the interval is an approximation)")
    )
