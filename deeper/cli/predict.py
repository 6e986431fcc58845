"""`deeper predict`."""

from __future__ import annotations

import csv
import glob
import io
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from deeper.errors import SourceError, UsageError, printable

if TYPE_CHECKING:
    from deeper.prediction import Failed, Prediction

# What is taken from a folder. A file that is named itself is tried whatever it is called.
PICTURES = {
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".avif",
    ".heic",
    ".heif",
    ".ppm",
    ".pgm",
}
# Pictures at once: large enough for speed, small enough that the first answers come soon.
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Classify pictures with a trained run. A bad file stops nothing; it is named at the end.

    Exits with 3 only when no picture at all could be classified.

    Example: deeper predict runs/first photos/ 'more/*.jpg' --top 3
    """

    run: tyro.conf.Positional[Path]
    """A run folder or a bundle."""
    paths: tyro.conf.Positional[tuple[str, ...]]
    """Files, folders (searched through), patterns, or - for a list of files on standard input."""
    top: int = 1
    """How many classes to print for each picture."""
    json: bool = False
    """Print one JSON object: {"predictions": […], "failed": […]} (docs/json.md describes its keys)."""
    csv: bool = False
    """Print CSV: path, class, probability, and so on for --top."""
    device: str = "auto"
    model: str | None = None
    """The import path of a network of your own, where a bundle needs it."""


def find(paths: tuple[str, ...]) -> Iterator[str]:
    """The files that `paths` name, in order; what does not exist is yielded as it is, to be reported."""
    for path in paths:
        if path == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        elif os.path.isdir(path):
            for folder, folders, names in os.walk(path):
                folders.sort()
                yield from (
                    os.path.join(folder, name) for name in sorted(names) if Path(name).suffix.lower() in PICTURES
                )
        elif not os.path.lexists(path) and glob.has_magic(path):
            yield from sorted(glob.glob(path, recursive=True))
        else:
            yield path


def main(arguments: Arguments) -> None:
    """Classify and print, file by file."""
    if arguments.json and arguments.csv:
        raise UsageError("give --json or --csv, not both")
    if arguments.top < 1:
        raise UsageError(f"--top: wanted at least 1, got {arguments.top}")
    if not arguments.paths:
        raise UsageError("name at least one picture, folder or pattern, or - for a list on standard input")
    for stream in (sys.stdin, sys.stdout):
        # File names are bytes; those that are no UTF-8 pass through as they are.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")
    from deeper.prediction import Classifier, Failed

    classifier = Classifier(arguments.run, device=arguments.device, model=arguments.model, batch=BATCH)
    printer = _Json(arguments.top) if arguments.json else _Csv(arguments.top) if arguments.csv else _Text(arguments.top)
    failed: list[Failed] = []
    done = 0
    for result in classifier.predict_many(find(arguments.paths), on_error="skip"):
        if isinstance(result, Failed):
            failed.append(result)
        else:
            printer.print(result)
            done += 1
    printer.finish(failed)
    _report(arguments, done, failed)


def _report(arguments: Arguments, done: int, failed: list[Failed]) -> None:
    if not done and not failed:
        raise SourceError(
            f"no picture found in {', '.join(map(printable, arguments.paths))}; name files, folders or patterns"
        )
    if not done:
        first = f"{printable(failed[0].source)}: {failed[0].reason}"
        raise SourceError(f"none of the {len(failed):,} files could be classified; the first: {first}")
    if failed:
        print(f"{len(failed):,} of {done + len(failed):,} files could not be classified:", file=sys.stderr)
    for one in failed:
        print(f"  {printable(one.source)}: {one.reason}", file=sys.stderr)


class _Text:
    """One line for each picture, at once."""

    def __init__(self, top: int) -> None:
        self.top = top

    def print(self, one: Prediction) -> None:
        answers = "   ".join(f"{printable(label, 60)} {probability:.1%}" for label, probability in one.top(self.top))
        print(f"{printable(one.source)}: {answers}")

    def finish(self, failed: list[Failed]) -> None:
        """Nothing is left to print."""


class _Csv:
    """A header and one row for each picture, at once."""

    def __init__(self, top: int) -> None:
        self.top = top
        self.writer = csv.writer(sys.stdout, lineterminator="\n")
        numbers = [""] if top == 1 else [f"_{rank}" for rank in range(1, top + 1)]
        self.writer.writerow(["path", *(f"{name}{number}" for number in numbers for name in ("class", "probability"))])

    def print(self, one: Prediction) -> None:
        answers = (cell for label, probability in one.top(self.top) for cell in (label, f"{probability:.6f}"))
        self.writer.writerow([one.source, *answers])

    def finish(self, failed: list[Failed]) -> None:
        """Nothing is left to print."""


class _Json:
    """One object, written as it comes: memory does not grow with the number of pictures."""

    def __init__(self, top: int) -> None:
        self.top = top
        self.separator = ""
        print('{"predictions": [', end="")

    def print(self, one: Prediction) -> None:
        classes = [{"class": label, "probability": probability} for label, probability in one.top(self.top)]
        plain = {"path": one.source, "class": one.label, "probability": one.probability, "top": classes}
        print(f"{self.separator}{json.dumps(plain)}", end="")
        self.separator = ",\n"

    def finish(self, failed: list[Failed]) -> None:
        """Close the list and add the files that failed."""
        lost = [{"path": one.source, "reason": one.reason} for one in failed]
        print(f'], "failed": {json.dumps(lost)}}}')
