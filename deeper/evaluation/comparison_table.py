"""The LaTeX table of `deeper compare`."""

from __future__ import annotations

from deeper.errors import printable
from deeper.evaluation.comparison import Comparison

_ESCAPES = {
    **{character: "\\" + character for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "-": "{-}",  # two in a row would become a dash
    "[": "{[}",  # behind a row's end it would be read as an option
}


def escaped(text: str) -> str:
    """`text` as LaTeX prints it literally, on one line."""
    return "".join(_ESCAPES.get(character, character) for character in printable(text, 60))


def latex(comparison: Comparison) -> str:
    """Two booktabs tabulars, for `\\input` inside a table: the runs with 95 % intervals, and their pairs.

    Raw text: accuracies and differences in per cent and points, Holm-adjusted exact McNemar p-values. Needs the package
    booktabs, and T1 font encoding for quotation marks in names.
    """
    runs = []
    for name, one in comparison.evaluations.items():
        low, high = one.interval
        runs.append(
            f"{escaped(name)} & {one.accuracy * 100:.2f} & {low * 100:.2f}--{high * 100:.2f} & {one.total - one.correct} & "
            f"{one.balanced_accuracy * 100:.2f} & {one.macro_f1:.4f} \\\\"
        )
    total = next(iter(comparison.evaluations.values())).total
    pairs = []
    for pair in comparison.pairs:
        low, high = pair.interval
        p_value = f"${pair.adjusted:.3f}$" if pair.adjusted >= 0.001 else "$<0.001$"
        pairs.append(
            f"{escaped(pair.first)} $-$ {escaped(pair.second)} & ${pair.difference * 100:+.2f}$ & "
            f"${low * 100:+.2f}$ to ${high * 100:+.2f}$ & {pair.only_first} & {pair.only_second} & {p_value} \\\\"
        )
    return "\n".join(
        [
            f"% Written by `deeper compare`: {total} pictures; needs \\usepackage{{booktabs}} and \\usepackage[T1]{{fontenc}}.",
            "\\begin{tabular}{lrcrrr}",
            "\\toprule",
            "Run & Accuracy (\\%) & 95\\,\\% interval & Errors & Balanced (\\%) & Macro F1 \\\\",
            "\\midrule",
            *runs,
            "\\bottomrule",
            "\\end{tabular}",
            "",
            "% Paired: exact McNemar tests, adjusted by Holm; Newcombe's intervals.",
            "\\begin{tabular}{lrcrrr}",
            "\\toprule",
            "Difference & Points & 95\\,\\% interval & Only first right & Only second right & $p$ \\\\",
            "\\midrule",
            *pairs,
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )
