"""The console that results are printed on."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# Characters of a line in a pipe or a file, where there is no screen that a table would have to fit.
WIDE = 250


def note(text: str) -> None:
    """On standard error: what is no result."""
    print(text, file=sys.stderr)


def bare_table() -> Table:
    """Columns without lines around them."""
    from rich.table import Table

    return Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))


def results(markup: bool = False) -> Console:
    """On standard output. Class names and ids are other people's text: no `markup` unless all of it is ours, no emoji
    codes, no guessing of colours. In a pipe nothing is folded or cut to fit a screen, unless COLUMNS asks for it."""
    from rich.console import Console

    class Results(Console):
        def on_broken_pipe(self) -> None:
            """As for every other output: rich's own way ends with the exit code of an error."""
            raise

    console = Results(highlight=False, markup=markup, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    return console
