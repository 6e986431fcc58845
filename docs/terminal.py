"""What a command shows in a terminal, as a picture for the documentation: its colours, and its line that moves.

The command runs in a pseudo-terminal. Of what a terminal obeys, what our verbs write is enough: carriage return, lines
up, erase a line, colours.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

# Colours and bold stay in the text for rich to read; the rest moves or erases.
_CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\r\n|\r|\n")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def screen_of(command: Sequence[str], *, folder: Path, columns: int, until: str, environment: Mapping[str, str]) -> str:
    """Run a command until its screen shows `until` (a regular expression), then interrupt it: that screen, with colours.
    A command that ends before shows what it ended with."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**environment, "TERM": "xterm-256color", "COLUMNS": str(columns)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    written = b""
    shown = ""
    # Linux answers EIO when the other side is closed.
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65536):
            written += piece
            shown = screen(written.decode("utf-8", "replace"))
            if re.search(until, _COLOURS.sub("", shown)):
                break
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):
        while os.read(ours, 65536):
            pass
    process.wait(60)
    os.close(ours)
    return shown


def screen(written: str) -> str:
    """The lines that stand there after all of it was written, colours kept."""
    lines, row, at = [""], 0, 0
    for found in _CONTROL.finditer(written):
        lines[row] += written[at : found.start()]
        at = found.end()
        code, letter = found.group(1), found.group(2)
        if found.group() == "\n" or found.group() == "\r\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif found.group() == "\r":
            # What follows writes over the line; ours always erase it first or write as much again.
            lines[row] = ""
        elif letter == "A":
            row = max(0, row - int(code or 1))
        elif letter == "K":
            lines[row] = ""
        elif letter == "m":
            lines[row] += found.group()
    lines[row] += written[at:]
    return "\n".join(lines).rstrip()


def page_of(command: str, shown: str, columns: int) -> str:
    """An HTML page of a dark terminal: the command as it was typed, and below it what it shows."""
    from rich.console import Console
    from rich.terminal_theme import MONOKAI
    from rich.text import Text

    console = Console(record=True, file=io.StringIO(), width=columns, force_terminal=True, color_system="truecolor")
    console.print(Text.assemble(("$ ", "green"), (command, "bold")))
    console.print(Text.from_ansi(shown))
    style = "background:#16181d;color:#e6e6e6;margin:0;padding:22px 26px;font:15px/1.5 'DejaVu Sans Mono',monospace"
    return console.export_html(
        theme=MONOKAI,
        inline_styles=True,
        code_format=f'<body style="margin:0"><pre id="terminal" style="{style}">{{code}}</pre></body>',
    )
