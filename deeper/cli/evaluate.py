"""`deeper evaluate`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from deeper.cli.screen import bare_table, results
from deeper.errors import UsageError, printable, typed

if TYPE_CHECKING:
    from rich.console import Console

    from deeper.evaluation import Evaluation
    from deeper.records import Dataset

# Classes and confusions that are printed; --json has all of them.
CLASSES, CONFUSIONS = 30, 5


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Judge a run on a split: accuracy with its 95 % interval, per class, confusions, calibration, the errors by name.

    Example: deeper evaluate runs/first --split test
    """

    run: tyro.conf.Positional[Path]
    """A run folder (an interrupted one too) or a bundle."""
    source: tyro.conf.Positional[str | None] = None
    """Another dataset or source than the run's own."""
    split: str | None = None
    """train, validation, test or all. When not given test; of a source without splits all its pictures, or the test
    pictures where a run was trained on that source. Without a source, validation of a run of `train --folds` is what it
    held out."""
    checkpoint: str | None = None
    """best, last or a step; the finished bundle when not given."""
    errors: int = 10
    """How many errors to print."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """fp32 is exact; bf16 is quicker where the processor has it, and may change a doubtful answer."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""
    model: str | None = None
    """The import path of a network of your own, where a bundle needs it."""
    json: bool = False
    """Print one JSON object (docs/json.md describes its keys)."""


def main(arguments: Arguments) -> None:
    """Evaluate and print."""
    if arguments.errors < 0:
        raise UsageError(f"--errors: wanted 0 or more, got {arguments.errors}")
    from deeper.inspection.suspects import leak_warning
    from deeper.records import Dataset
    from deeper.runs import Run, evaluate_run, judged_on, knows

    split = arguments.split or "test"
    source: Dataset | str | None = arguments.source
    if arguments.source is not None and arguments.run.is_dir():  # else nothing is built only to be refused
        source, split = judged_on(arguments.source, arguments.split, _notice, [arguments.run])
    evaluation = evaluate_run(
        arguments.run,
        source,
        split=split,
        checkpoint=arguments.checkpoint,
        device=arguments.device,
        precision=arguments.precision,
        model=arguments.model,
        # Where a source was given, all was said when it was opened.
        notice=_notice if arguments.source is None else None,
        features=False,
    )
    if arguments.json:
        plain = {"run": str(arguments.run), "split": split, "checkpoint": arguments.checkpoint}
        print(json.dumps({**plain, **evaluation.to_plain()}, allow_nan=False))
        return

    console = results()
    _headline(console, evaluation, arguments, split)
    dataset = source if isinstance(source, Dataset) else Run(arguments.run).dataset()
    # Of other pictures nothing was learned, wherever they lie besides.
    if (warning := leak_warning(dataset.path, split)) and knows(arguments.run, dataset):
        console.print(f"note: {warning}", soft_wrap=True)
    _classes(console, evaluation)
    _confusions(console, evaluation)
    _calibration(console, evaluation)
    _errors(console, evaluation, arguments)


def _notice(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def _headline(console: Console, evaluation: Evaluation, arguments: Arguments, split: str) -> None:
    low, high = evaluation.interval
    judged = f"all pictures of {printable(arguments.source or 'its dataset')}" if split == "all" else printable(split)
    line = (
        f"{evaluation.accuracy * 100:.2f} % ({evaluation.correct:,} of {evaluation.total:,}; "
        f"95 % interval {low * 100:.2f}–{high * 100:.2f})"
    )
    where = (
        f"on {judged} by {printable(arguments.run)}" if split == "all" else f"on {judged} of {printable(arguments.run)}"
    )
    console.print(f"{line} {where}", style="bold", soft_wrap=True)
    before = evaluation.before_correction
    if before:
        low, high = before["interval"]
        left_out = f"; {before['excluded']:,} excluded pictures are in neither" if before["excluded"] else ""
        console.print(
            f"with the labels before correction: {before['accuracy'] * 100:.2f} % ({before['correct']:,} of "
            f"{evaluation.total:,}; {low * 100:.2f}–{high * 100:.2f}); {before['relabelled']:,} relabelled{left_out}",
            soft_wrap=True,
        )
    tops = ", ".join(f"top-{k} {share * 100:.2f} %" for k, share in evaluation.top_accuracies.items() if k > 1)
    balanced = f"balanced accuracy {evaluation.balanced_accuracy * 100:.2f} %, macro-F1 {evaluation.macro_f1:.4f}"
    console.print(f"{balanced}{', ' if tops else ''}{tops}\n", soft_wrap=True)


def _classes(console: Console, evaluation: Evaluation) -> None:
    from rich.text import Text

    table = bare_table()
    for name in ("class", "pictures", "right", "recall, %", "95 % interval", "precision, %", "F1"):
        table.add_column(name, justify="left" if name == "class" else "right")
    # The worst first: that is where the reader has to look.
    ranked = sorted(evaluation.per_class, key=lambda one: (one.recall is None, one.recall or 0.0))
    for one in ranked[:CLASSES]:
        interval = "–".join(f"{bound * 100:.1f}" for bound in one.recall_interval) if one.recall_interval else "none"
        table.add_row(
            Text(printable(one.name, 40)),
            f"{one.support:,}",
            f"{one.correct:,}",
            "none" if one.recall is None else f"{one.recall * 100:.2f}",
            interval,
            "none" if one.precision is None else f"{one.precision * 100:.2f}",
            "none" if one.f1 is None else f"{one.f1:.4f}",
        )
    console.print(table)
    if len(ranked) > CLASSES:
        console.print(f"… and {len(ranked) - CLASSES:,} classes that do no worse: --json")


def _confusions(console: Console, evaluation: Evaluation) -> None:
    pairs = evaluation.confused()[:CONFUSIONS]
    if pairs:
        shown = ",  ".join(
            f"{printable(true, 30)} → {printable(given, 30)} ({count:,})" for true, given, count in pairs
        )
        console.print(f"\nmost confused: {shown}", soft_wrap=True)


def _calibration(console: Console, evaluation: Evaluation) -> None:
    gap = float(evaluation.confidence.mean()) - evaluation.accuracy
    error = evaluation.calibration_error
    if error < 0.02:
        word = "probabilities mean what they say"
    elif abs(gap) < error / 2:
        word = "too sure in places, too unsure in others"
    else:
        word = "it is surer than it is right" if gap > 0 else "it is more often right than it is sure"
    console.print(
        f"\ncalibration error {error:.4f} (15 bins): {word}; log loss {evaluation.negative_log_likelihood:.4f}, "
        f"Brier {evaluation.brier_score:.4f}",
        soft_wrap=True,
    )


def _errors(console: Console, evaluation: Evaluation, arguments: Arguments) -> None:
    mistakes = evaluation.mistakes
    if not mistakes:
        console.print("\nno errors")
    elif arguments.errors:
        shown = min(arguments.errors, len(mistakes))
        if shown < len(mistakes):
            console.print(f"\nthe {shown} surest of {len(mistakes):,} errors:")
        else:
            console.print("\nthe one error:" if shown == 1 else f"\nall {shown} errors, the surest first:")
    for one in mistakes[: arguments.errors]:
        console.print(
            f"  {printable(one.id, 60)}  is {printable(one.label, 30)}, taken for {printable(one.predicted, 30)} "
            f"({one.probability:.1%}; {printable(one.label, 30)} {one.true_probability:.1%})",
            soft_wrap=True,
        )
    # What is typed again must be safe to type.
    run = typed(arguments.run)
    steps = [(f"deeper compare {run} OTHER_RUN --split validation", "is it better than another, on the same pictures?")]
    if (arguments.run / "tensorboard").is_dir():  # a bundle alone has none
        steps.insert(0, (f"deeper board {run}", "misclassified pictures, statistics of every layer"))
    if mistakes and arguments.source is None:
        steps.insert(0, (f"deeper inspect {run}", "why: which training distortion the errors look like"))
    if len(mistakes) > arguments.errors:
        every = f"all {len(mistakes):,} errors" if len(mistakes) > 1 else "the one error"
        steps.insert(0, (f"{_again(arguments)} --json", f"{every}, the whole confusion matrix"))
    width = max(len(step) for step, _ in steps)
    console.print("\nnext:")
    for step, what in steps:
        console.print(f"  {step:<{width}}   {what}", soft_wrap=True)


def _again(arguments: Arguments) -> str:
    """The command that judges the same pictures by the same weights."""
    words = [f"deeper evaluate {typed(arguments.run)}"]
    if arguments.source is not None:
        words.append(typed(arguments.source))
    for flag in ("split", "checkpoint", "precision", "device", "model"):
        value = getattr(arguments, flag)
        if value != getattr(Arguments, flag):
            words.append(f"--{flag} {typed(value)}")
    return " ".join(words)
