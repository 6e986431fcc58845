"""`deeper predict`."""

from __future__ import annotations

import csv
import glob
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from deeper.errors import SourceError, UsageError, printable

if TYPE_CHECKING:
    from deeper.prediction import Failed

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".ppm", ".pgm"}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Classify pictures with a trained run. A bad file stops nothing; it is named at the end.

    Example: deeper predict runs/first photos/ 'more/*.jpg' --top 3
    """

    run: tyro.conf.Positional[Path]
    """A run folder or a bundle."""
    paths: tyro.conf.Positional[tuple[str, ...]]
    """Files, folders (searched through), patterns, or - for a list of files on standard input."""
    top: int = 1
    """How many classes to print for each picture."""
    json: bool = False
    """Print one JSON object: {"predictions": […], "failed": […]}."""
    csv: bool = False
    """Print CSV lines: path, class, probability, and so on for --top."""
    device: str = "auto"
    model: str | None = None
    """The import path of a network of your own, where a bundle needs it."""


def find(paths: tuple[str, ...]) -> Iterator[str]:
    """The files that `paths` name, in order; what does not exist is yielded as it is, to be reported."""
    for path in paths:
        if path == "-":
            yield from (line.rstrip("\n") for line in sys.stdin if line.strip())
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
    from deeper.prediction import Classifier, Failed

    classifier = Classifier(arguments.run, device=arguments.device, model=arguments.model, batch=64)
    names: list[str] = []

    def noted() -> Iterator[str]:
        for name in find(arguments.paths):
            names.append(name)
            yield name

    writer = csv.writer(sys.stdout) if arguments.csv else None
    predictions: list[dict[str, Any]] = []
    failed: list[Failed] = []
    for number, result in enumerate(classifier.stream(noted())):
        name = names[number]
        if isinstance(result, Failed):
            failed.append(result)
            continue
        best = result.top(arguments.top)
        if arguments.json:
            predictions.append({"path": name, "predictions": [{"class": label, "probability": p} for label, p in best]})
        elif writer:
            writer.writerow([name, *(cell for label, p in best for cell in (label, f"{p:.6f}"))])
        else:
            answers = "   ".join(f"{printable(label, 60)} {p:.1%}" for label, p in best)
            print(f"{printable(name)}: {answers}")
        predictions = predictions if arguments.json else [{}]
    _finish(arguments, names, predictions, failed)


def _finish(arguments: Arguments, names: list[str], predictions: list[dict[str, Any]], failed: list[Failed]) -> None:
    if not names:
        raise SourceError(f"no picture found in {', '.join(map(printable, arguments.paths))}")
    if arguments.json:
        lost = [{"path": one.source, "reason": one.reason} for one in failed]
        print(json.dumps({"predictions": predictions, "failed": lost}))
    for one in failed:
        print(f"{one.source}: {one.reason}", file=sys.stderr)
    if not predictions:
        raise SourceError(
            f"none of the {len(names):,} files could be classified; the first: {failed[0].source}: {failed[0].reason}"
        )
