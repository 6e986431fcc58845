"""`deeper inspect`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from deeper.cli.screen import bare_table, results
from deeper.errors import UsageError, printable

if TYPE_CHECKING:
    from rich.console import Console

    from deeper.inspection import Inspection

# Slices and pairs that are printed; --json has all of them.
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Find out why a run errs: which training distortion made its errors look like another class, with controls.

    Example: deeper inspect runs/first --out reports/first
    """

    run: tyro.conf.Positional[Path]
    """A run folder, or a bundle (then a dataset is needed)."""
    source: tyro.conf.Positional[str | None] = None
    """Another dataset or source than the run's own."""
    split: str | None = None
    """validation when not given (of a fold, what it held out). test only to look: pictures that you choose by no longer
    tell how good the run is, so no policy is written."""
    out: Path | None = None
    """Folder for report.html, inspection.json, pictures and policy.toml; RUN/inspection/SPLIT when not given, where SPLIT
    is "decision" unless --split was given. A name that ends in .html is the report's; all else goes to
    RUN/inspection/SPLIT then."""
    ablate: str | None = None
    """Distortions, separated by commas: fresh runs are trained with and without each, for the one question that may say
    "explains". Finished runs are used again."""
    seeds: int | None = None
    """Runs per arm of --ablate, 5 when not given."""
    steps: int | None = None
    """With --ablate: continue both arms from the run's weights for so many steps (removal effect)."""
    against: Path | None = None
    """Another run: what it mends and what it breaks."""
    grad_cam: bool = False
    """Show for the 200 surest errors where the network looked, for the given class and for the true one."""
    checkpoint: str | None = None
    """best, last or a step; the finished bundle when not given."""
    device: str = "auto"
    """cpu, cuda or cuda:1; auto takes a GPU where there is one."""
    model: str | None = None
    """The import path of a network of your own, where a bundle needs it."""
    json: bool = False
    """Print one JSON object (docs/json.md describes its keys)."""


def main(arguments: Arguments) -> None:
    """Inspect, write, print."""
    names = tuple(name.strip() for name in arguments.ablate.split(",")) if arguments.ablate is not None else ()
    if arguments.seeds is not None and not names:
        raise UsageError("--seeds goes with --ablate NAME: it says how many runs each arm has")
    if arguments.steps is not None and not names:
        raise UsageError("--steps goes with --ablate NAME: it says how long both arms are continued")
    from rich.console import Console

    from deeper import inspection
    from deeper.cli.bar import bar

    out, report = _places(arguments)
    progress = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with bar("training the judge") as shown:
        found = inspection.inspect(
            arguments.run,
            arguments.source,
            split=arguments.split,
            out=out,
            ablate=names,
            seeds=5 if arguments.seeds is None else arguments.seeds,
            steps=arguments.steps,
            against=arguments.against,
            grad_cam=arguments.grad_cam,
            checkpoint=arguments.checkpoint,
            device=arguments.device,
            model=arguments.model,
            progress=shown,
            notice=lambda text: progress.print(text, style="dim", soft_wrap=True),
        )
    written = _write(found, out, report, arguments)
    if arguments.json:
        print(json.dumps(inspection.to_plain(found), allow_nan=False))
        return
    console = results()
    low, high = found.evaluation.interval
    console.print(
        f"{found.evaluation.accuracy * 100:.2f} % ({low * 100:.2f}–{high * 100:.2f}), {len(found.wrong):,} errors on "
        f"{printable(found.split)} of {printable(arguments.run)}\n",
        style="bold",
        soft_wrap=True,
    )
    _before(console, found)
    console.print(found.verdict, style="bold", soft_wrap=True)
    _evidence(console, found)
    _causes(console, found)
    _slices(console, found)
    _against(console, found)
    console.print()
    for note in found.notes:
        console.print(printable(note, 400), style="dim", soft_wrap=True)
    console.print(f"\nwritten: {', '.join(printable(path) for path in written)}", soft_wrap=True)


def _places(arguments: Arguments) -> tuple[Path, Path]:
    """Folder and report. Raises: StorageError, before any work is done, for what must not be replaced."""
    from deeper.inspection.report import refuse_stranger
    from deeper.inspection.writing import REPORT
    from deeper.runs.folder import is_run

    own = arguments.run / "inspection" / (arguments.split or "decision")
    if not is_run(arguments.run):
        # A bundle is three files and nothing else.
        own = Path("reports") / (arguments.run.resolve().name or "bundle") / (arguments.split or "decision")
    if arguments.out is None or arguments.out.suffix.lower() != ".html":
        out = arguments.out or own
        return out, out / REPORT
    refuse_stranger(arguments.out)
    return own, arguments.out


def _write(found: Inspection, out: Path, report: Path, arguments: Arguments) -> list[Path]:
    """What is not written yet; all of it, in the order in which it is named to the user."""
    from deeper.inspection import board_folder, write_board
    from deeper.inspection.report import write_report
    from deeper.inspection.writing import DESCRIPTION
    from deeper.runs import Run
    from deeper.runs.folder import is_run

    paths = [write_report(found, report), out / DESCRIPTION]
    if found.policy_path:
        paths.append(Path(found.policy_path))
    if is_run(arguments.run):
        steps = Run(arguments.run).steps()
        folder = board_folder(arguments.run, arguments.split or "decision")
        paths.append(write_board(found, folder, steps[-1] if steps else 0))
    return paths


def _before(console: Console, found: Inspection) -> None:
    before = found.evaluation.before_correction
    if before is not None:
        low, high = before["interval"]
        console.print(
            f"{before['accuracy'] * 100:.2f} % ({low * 100:.2f}–{high * 100:.2f}) with the labels before correction: "
            f"{before['relabelled']:,} relabelled; {before['excluded']:,} excluded pictures are in neither\n",
            soft_wrap=True,
        )


def _evidence(console: Console, found: Inspection) -> None:
    if found.judge is None or not found.evidence:
        return

    table = bare_table()
    table.add_column("distortion in training")
    for name in ("collide", "95 %", "placebos", "of correct", "p (Holm)", "rescued (weak)"):
        table.add_column(name, justify="right")
    for one in found.evidence:
        low, high = one.collided_interval
        table.add_row(
            one.description,
            f"{one.collided} of {one.errors}",
            f"{round(low * one.errors)}–{round(high * one.errors)}",
            ", ".join(str(placebo.collided) for placebo in one.placebos) or "none",
            f"{one.correct_collided} of {one.correct}",
            f"{one.adjusted_p_value:.2g}",
            f"{one.rescued} (placebo {one.placebo_rescued})",
        )
    console.print()
    console.print(table)


def _causes(console: Console, found: Inspection) -> None:
    for one in found.evidence:
        if one.cause is not None:
            console.print(f"\n{one.cause.verdict}", soft_wrap=True)


def _slices(console: Console, found: Inspection) -> None:
    worse = [one for one in found.slices if one.worse]
    if worse:
        shown = "; ".join(
            f"{printable(one.name, 60)} {one.accuracy:.2%} (the rest {one.rest_accuracy:.2%})" for one in worse[:_SHOWN]
        )
        console.print(f"\nsignificantly worse: {shown}", soft_wrap=True)


def _against(console: Console, found: Inspection) -> None:
    other = found.against
    if other is not None:
        low, high = other.interval
        console.print(
            f"\nagainst {printable(other.run)}: it mends {len(other.mended)} of these errors and breaks "
            f"{len(other.broken)}; this run minus it {other.difference * 100:+.2f} points "
            f"({low * 100:+.2f} to {high * 100:+.2f}), p = {other.p_value:.2g}",
            soft_wrap=True,
        )
