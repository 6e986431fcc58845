"""`deeper export`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from deeper.cli.screen import results
from deeper.errors import UsageError, printable

if TYPE_CHECKING:
    from deeper.export import Exported, Row


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Write a trained network for other programs, each compared with the bundle at once and refused if it disagrees.

    Formats: onnx, openvino, openvino-int8, torch-export, savedmodel. All take uint8 pictures at the model's size
    (N × height × width × channels); normalisation is inside the graph. `check.py` in each folder lets anyone compare.

    Example: deeper export runs/first --to onnx,openvino,openvino-int8 --report
    """

    run: tyro.conf.Positional[Path]
    """A run folder or a bundle."""
    to: str | None = None
    """Formats, separated by commas."""
    out: Path | None = None
    """Where the exports go, a folder per format; when not given exports/ in the run, or in a bundle that stands alone."""
    report: bool = False
    """Then run torch and every export there on validation pictures: size, accuracy, differences, latency, throughput."""
    split: str | None = None
    """The split that --report judges on; validation when not given."""
    limit: int | None = None
    """At most so many pictures of it."""
    allow_changed: float | None = None
    """Largest share of answers that int8 may change, 0.01 when not given; an export that changes more is not kept."""
    tensorflow_python: str = sys.executable
    """The Python that has TensorFlow, for savedmodel."""
    model: str | None = None
    """The import path of a network of your own, where a bundle needs it."""
    json: bool = False
    """Print one JSON object (docs/json.md describes its keys)."""


def main(arguments: Arguments) -> None:
    """Export, report, print."""
    if arguments.to is None and not arguments.report:
        raise UsageError("name what to make: --to onnx,openvino,openvino-int8,torch-export,savedmodel; or --report")
    formats = [name.strip() for name in (arguments.to or "").split(",") if name.strip()]
    for flag, given in (("--split", arguments.split), ("--limit", arguments.limit)):
        if given is not None and not arguments.report:
            raise UsageError(f"{flag} goes with --report: it says which pictures that judges on")
    if arguments.allow_changed is not None and "openvino-int8" not in formats:
        raise UsageError("--allow-changed goes with --to openvino-int8: no other export may change an answer")
    split = arguments.split or "validation"
    from deeper.engines import exports_in
    from deeper.export import export, measure
    from deeper.export.report import split_to_judge

    def say(text: str) -> None:
        print(f"{text} …", file=sys.stderr)

    if arguments.report:
        # Before minutes go into exports: only a run has pictures to judge on.
        split_to_judge(arguments.run, split, arguments.limit)
    done: list[Exported] = []
    if arguments.to is not None:
        done = export(
            arguments.run,
            formats,
            out=arguments.out,
            model=arguments.model,
            **({} if arguments.allow_changed is None else {"allow_changed": arguments.allow_changed}),
            tensorflow_python=arguments.tensorflow_python,
            notice=say,
        )
    if not arguments.json:
        for one in done:
            print(
                f"{printable(one.path)}: {one.bytes / 1e6:.1f} MB; logits within {one.difference:.2g} of the bundle's, "
                f"{one.changed:,} of {one.compared:,} answers changed",
                flush=True,
            )
    rows: list[Row] = []
    if arguments.report:
        rows = measure(
            arguments.run,
            split=split,
            limit=arguments.limit,
            model=arguments.model,
            tensorflow_python=arguments.tensorflow_python,
            elsewhere=None if arguments.out is None else exports_in(arguments.out),
            notice=say,
        )
    if arguments.json:
        print(json.dumps({"exports": [_plain(one) for one in done], "report": [row.to_plain() for row in rows]}))
        return
    if rows:
        _table(rows, split)


def _plain(one: Exported) -> dict[str, Any]:
    return {
        "format": one.format,
        "path": str(one.path),
        "bytes": one.bytes,
        "largest_difference": one.difference,
        "changed_answers": one.changed,
        "compared": one.compared,
    }


def _table(rows: list[Row], split: str) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title=f"{rows[0].pictures:,} {split} pictures",
        caption="logits: largest difference from torch fp32, as a share of the largest logit; changed: answers; "
        "ms: one picture alone; a second: pictures, in batches",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("engine", no_wrap=True)
    for name in ("MB", "accuracy", "interval", "logits", "changed", "ms", "a second"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        low, high = row.accuracy_interval
        table.add_row(
            f"{row.engine} {row.precision}",
            f"{row.megabytes:.1f}",
            f"{row.accuracy:.2%}",
            f"{low:.1%}–{high:.1%}",
            f"{row.largest_difference:.1e}",
            f"{row.changed:,}",
            f"{row.latency:.2f}",
            f"{row.throughput:,.0f}",
        )
    results().print(table)
