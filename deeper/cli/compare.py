"""`deeper compare`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from deeper.errors import UsageError, printable

if TYPE_CHECKING:
    from deeper.evaluation import Comparison


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Compare runs on the same pictures: a table, paired tests, a vector figure, a LaTeX table.

    Example: deeper compare runs/a runs/b --figure comparison.svg --latex comparison.tex
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Two or more run folders or bundles."""
    source: str | None = None
    """A dataset or source to compare on; each run's own when not given."""
    split: str = "test"
    """train, validation or test."""
    figure: Path | None = None
    """Write a figure: .svg, .pdf or .png."""
    latex: Path | None = None
    """Write a LaTeX table (needs \\usepackage{booktabs})."""
    json: bool = False
    """Print one JSON object (docs/json.md describes its keys)."""


def main(arguments: Arguments) -> None:
    """Compare and print."""
    if len(arguments.runs) < 2:
        raise UsageError("name at least two runs to compare")
    if arguments.figure and arguments.figure.suffix not in (".svg", ".pdf", ".png"):
        raise UsageError(f"--figure {printable(arguments.figure)}: wanted a name that ends in .svg, .pdf or .png")
    from deeper.runs import compare_runs

    comparison = compare_runs(list(arguments.runs), split=arguments.split, source=arguments.source)
    if arguments.figure:
        from deeper.evaluation.comparison_figure import draw

        draw(comparison, arguments.figure)
    if arguments.latex:
        from deeper import files

        files.write_text(arguments.latex, latex(comparison))
    if arguments.json:
        print(json.dumps(comparison.to_plain(), allow_nan=False))
    else:
        _print(comparison)


_SPECIAL = {character: "\\" + character for character in "&%$#_{}"}
_RARE = {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}


def _escaped(text: str) -> str:
    return "".join({**_SPECIAL, **_RARE}.get(character, character) for character in printable(text, 60))


def latex(comparison: Comparison) -> str:
    """A booktabs table: accuracy in per cent with its 95 % interval, errors, balanced accuracy, macro F1."""
    rows = []
    for name, one in comparison.evaluations.items():
        low, high = one.interval
        rows.append(
            f"{_escaped(name)} & {one.accuracy * 100:.2f} ({low * 100:.2f}--{high * 100:.2f}) & {one.total - one.correct} & "
            f"{one.balanced_accuracy * 100:.2f} & {one.macro_f1:.4f} \\\\"
        )
    head = "Run & Accuracy, \\% (95\\,\\% interval) & Errors & Balanced, \\% & Macro F1 \\\\"
    return "\n".join(
        ["\\begin{tabular}{lrrrr}", "\\toprule", head, "\\midrule", *rows, "\\bottomrule", "\\end{tabular}", ""]
    )


def _print(comparison: Comparison) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table("run", "accuracy", "95 % interval", "errors", "balanced", "macro F1", box=None, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, one in comparison.evaluations.items():
        low, high = one.interval
        errors = f"{one.total - one.correct:,}"
        interval = f"{low:.2%} to {high:.2%}"
        balanced = f"{one.balanced_accuracy:.2%}"
        table.add_row(
            escape(printable(name, 60)), f"{one.accuracy:.2%}", interval, errors, balanced, f"{one.macro_f1:.4f}"
        )
    console.print(table)
    for pair in comparison.pairs:
        low, high = pair.interval
        verdict = "differ" if pair.p_value < 0.05 else "no difference can be told"
        line = (
            f"{printable(pair.first, 60)} − {printable(pair.second, 60)}: {pair.difference * 100:+.2f} points "
            f"({low * 100:+.2f} to {high * 100:+.2f}); only one right: {pair.only_first} and {pair.only_second}; "
            f"McNemar p = {pair.p_value:.3g}: {verdict}"
        )
        console.print(escape(line), soft_wrap=True)
