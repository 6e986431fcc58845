"""`deeper evaluate`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from deeper.errors import printable

if TYPE_CHECKING:
    from deeper.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Judge a run on a split: accuracy with its 95 % interval, per class, confusions, calibration, the errors by name.

    Example: deeper evaluate runs/first --split test
    """

    run: tyro.conf.Positional[Path]
    """A run folder (an interrupted one too) or a bundle."""
    source: tyro.conf.Positional[str | None] = None
    """Another dataset or source than the run's own."""
    split: str = "test"
    """train, validation or test."""
    checkpoint: str | None = None
    """best, last or a step; the finished bundle when not given."""
    errors: int = 10
    """How many errors to print."""
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "auto"
    model: str | None = None
    """The import path of a network of your own, where a bundle needs it."""
    json: bool = False
    """Print one JSON object (docs/json.md describes its keys)."""


def main(arguments: Arguments) -> None:
    """Evaluate and print."""
    from deeper.runs import evaluate_run

    evaluation = evaluate_run(
        arguments.run,
        arguments.source,
        split=arguments.split,
        checkpoint=arguments.checkpoint,
        device=arguments.device,
        precision=arguments.precision,
        model=arguments.model,
    )
    if arguments.json:
        print(
            json.dumps({"run": str(arguments.run), "split": arguments.split, **evaluation.to_plain()}, allow_nan=False)
        )
        return
    _print(evaluation, arguments)


def _print(evaluation: Evaluation, arguments: Arguments) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    low, high = evaluation.interval
    console.print(
        f"[bold]{evaluation.accuracy:.2%}[/bold] of {evaluation.total:,} {escape(arguments.split)} pictures right "
        f"({evaluation.correct:,}; 95 % interval {low:.2%} to {high:.2%})"
    )
    console.print(
        f"balanced accuracy {evaluation.balanced_accuracy:.2%} · macro F1 {evaluation.macro_f1:.4f} · "
        f"top-{min(5, len(evaluation.classes))} {evaluation.top(5):.2%} · calibration error {evaluation.calibration_error:.4f}"
    )
    table = Table(
        "class", "pictures", "right", "recall", "precision", "F1", box=None, pad_edge=False, header_style="bold"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    shown = sorted(evaluation.per_class, key=lambda one: (one.recall is None, one.recall or 0, one.name))[:30]
    for result in shown:
        numbers = (
            f"{value:.2%}" if value is not None else "–" for value in (result.recall, result.precision, result.f1)
        )
        table.add_row(escape(printable(result.name, 40)), f"{result.support:,}", f"{result.correct:,}", *numbers)
    console.print(table)
    if len(evaluation.per_class) > len(shown):
        console.print(f"… the {len(evaluation.per_class) - len(shown)} better classes are left out")
    confused = evaluation.confused()[:5]
    if confused:
        pairs = "   ".join(f"{printable(true, 30)} → {printable(given, 30)} {count}" for true, given, count in confused)
        console.print(f"most confused: {escape(pairs)}")
    for mistake in evaluation.mistakes[: arguments.errors]:
        line = (
            f"  {printable(mistake.id, 60)}  is {printable(mistake.label, 30)}, given {printable(mistake.predicted, 30)} "
            f"({mistake.probability:.1%})"
        )
        console.print(escape(line), soft_wrap=True)
    left = len(evaluation.mistakes) - arguments.errors
    if left > 0:
        console.print(f"  … and {left:,} more errors: --errors {len(evaluation.mistakes)}, or --json")
