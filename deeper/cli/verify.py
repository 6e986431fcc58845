"""`deeper verify`: check every byte of a dataset, and repair it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    from deeper.records.repair import RepairReport
    from deeper.records.verify import Problem, VerifyReport

# The rest is counted, and all of it is in --json.
_SHOWN = 50


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Check every CRC, hash, count, index, label and name of a dataset; name each damaged record.

    Exit code 0 when all is sound, or was made sound by --repair; 4 when damage is found.

    Example: deeper verify datasets/mine --repair
    """

    dataset: tyro.conf.Positional[Path]
    """The dataset folder."""
    repair: bool = False
    """Rebuild the maximal sound dataset in place: sound records stay, damaged files go to the folder damaged/ in it."""
    json: bool = False
    """Print one JSON object: dataset, sound, records, damaged, bytes, problems (file, what, offset, size, id), and with
    --repair: repaired, aside, notices."""


def main(arguments: Arguments) -> None:
    """Check or repair, and print what was found. Raises: SystemExit(4), for damage that is still there."""
    from deeper.cli.bar import bar
    from deeper.records.repair import repair
    from deeper.records.verify import verify

    done: RepairReport | None = None
    with bar("checking") as progress:
        if arguments.repair:
            done = repair(arguments.dataset, progress)
            report = done.before
        else:
            report = verify(arguments.dataset, progress)
    if arguments.json:
        _print_json(report, done)
    else:
        _print_text(report, done)
    if not report.sound and done is None:
        raise SystemExit(4)


def _print_json(report: VerifyReport, done: RepairReport | None) -> None:
    facts = {
        "dataset": str(report.path),
        "sound": report.sound or done is not None,
        "records": report.records if done is None else done.records,
        "damaged": report.damaged,
        "bytes": report.bytes,
        "problems": [asdict(problem) for problem in report.problems],
    }
    if done is not None:
        facts["repaired"] = not report.sound
        facts["aside"] = None if done.aside is None else str(done.aside)
        facts["notices"] = list(done.notices)
    print(json.dumps(facts))


def _print_text(report: VerifyReport, done: RepairReport | None) -> None:
    from deeper.errors import printable, typed

    shown = printable(report.path)
    _print_problems(report.problems)
    if report.sound:
        print(f"{shown}: sound; {report.records:,} records, {report.bytes:,} bytes")
        return
    print(f"{shown}: {report.records:,} sound records, {report.damaged:,} damaged, {len(report.problems):,} problems")
    if done is None:
        print(f"next: deeper verify {typed(report.path)} --repair")
        return
    for line in done.notices:
        print(f"note: {line}")
    aside = "" if done.aside is None else f"; what was damaged is in {printable(done.aside)}"
    print(f"repaired: {done.records:,} records{aside}")


def _print_problems(problems: Sequence[Problem]) -> None:
    for problem in problems[:_SHOWN]:
        print(problem)
    if len(problems) > _SHOWN:
        print(f"… and {len(problems) - _SHOWN:,} more (--json has all)")
