"""Write what commands print into the pages that show them: `python docs/generate.py [PAGE …]`.

Every `console` block under docs/verbs is run in the folder that `docs/commands.py` prepares (24,000 of MNIST's digits as
a folder of pictures), those that tests leave out as well, and its output replaced by what came. The pages come in the
order in which people use the verbs, so that each finds what those before it have made. Names of this machine's folders,
its free ports and what a terminal draws over are taken out; long lines are wrapped. From ten minutes to half an hour of one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import sys
import tempfile
import textwrap
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import commands

# Of more lines than this the middle is left out: a page shows what a command prints, not all of it.
_LONGEST = 34
# Lines that a terminal draws over (a bar, with the time that is left), and a server's farewell.
_PASSING = re.compile(
    r"^(epoch .* left|judge: training .*|.*: [\d,]+( of [\d,]+)? after \d+ s|exporting to .*|self-test: .*|Shutting down|Waiting for application shutdown\.|"
    r"Application shutdown complete\.|Finished server process \[\d+\]|\{\"time\": .*\})$"
)


def shown(output: str, folder: Path, verb: str) -> list[str]:
    """Output as a page shows it: no folder of this machine, no bar that was drawn over, not too long."""
    output = output.replace(str(folder) + "/", "").replace(str(folder), ".").replace(str(Path.home()), "~")
    if data := os.environ.get("DEEPER_DATA"):
        output = output.replace(data, "/data")
    output = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    # A page's key is drawn anew each time, and shown to nobody.
    output = re.sub(r"\?key=[\w-]+", "?key=…", output)
    # Run here on any free port; a reader sees the one that it takes when nothing else is said.
    if verb in commands.SERVERS:
        output = re.sub(r"(127\.0\.0\.1|localhost):\d+", rf"\1:{_port(verb)}", output)
    lines = [line.split("\r")[-1].rstrip() for line in output.strip("\n").splitlines()]
    lines = [line for line in lines if not _PASSING.match(line)]
    if len(lines) > _LONGEST:
        begin, end = _LONGEST - 14, 12
        lines = [*lines[:begin], "", f"… {len(lines) - begin - end} lines …", "", *lines[-end:]]
    return [part for line in lines for part in wrapped(line)]


def wrapped(line: str) -> list[str]:
    """A long line of words as a terminal of `commands.COLUMNS` shows it, below its first column where it has two; the
    row of a table stays one line, which a page scrolls."""
    gaps = list(re.finditer(r"(?<=\S) {2,}(?=\S)", line))
    if len(line) <= commands.COLUMNS or len(gaps) > 1:
        return [line]
    indent = " " * (gaps[0].end() if gaps else 2)
    return textwrap.wrap(
        line, commands.COLUMNS, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _port(verb: str) -> int:
    from deeper.cli.flags import arguments_of

    return next(int(field.default) for field in dataclasses.fields(arguments_of(verb)) if field.name == "port")


def rewrite(page: Path, folder: Path) -> None:
    """Run the page's console blocks and write what they print below each command. Raises: RuntimeError, if one fails."""

    def block(found: re.Match[str]) -> str:
        lines = ["```console"]
        for line in found.group(1).splitlines():
            if not line.startswith("$ "):
                continue
            command = commands.Command(page, 0, line[2:])
            code, output = commands.run(command.words, folder)
            if code:
                raise RuntimeError(f"{command} → {code}: {output}")
            lines += ["", line] if len(lines) > 1 else [line]
            lines += shown(output, folder, command.words[1])
        return "\n".join([*lines, "```"])

    text = page.read_text("utf-8")
    page.write_text(re.sub(r"```console\n(.*?)```", block, text, flags=re.DOTALL), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write what commands print into the pages that show them.")
    parser.add_argument("pages", nargs="*", type=Path, help="all of docs/verbs when not given")
    parser.add_argument("--place", type=Path, help="a folder to prepare once and use again")
    arguments = parser.parse_args()
    from deeper.cli import VERBS

    chosen = arguments.pages or [commands.ROOT / "docs" / "verbs" / f"{verb}.md" for verb in VERBS]
    began, failed = time.perf_counter(), False
    with tempfile.TemporaryDirectory() as name:
        folder = arguments.place or Path(name)
        if not (folder / "datasets" / "photos").exists():
            commands.prepare_example(folder)
        for page in chosen:
            try:
                rewrite(page.resolve(), folder)
                print(f"{time.perf_counter() - began:4.0f} s  {page}", flush=True)
            except RuntimeError as error:
                failed = True
                print(f"FAILED {error}", file=sys.stderr, flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
