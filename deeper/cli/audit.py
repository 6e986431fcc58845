"""`deeper audit`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from deeper import files
from deeper.cli.screen import bare_table, results
from deeper.errors import UsageError, printable, typed

if TYPE_CHECKING:
    from rich.console import Console

    from deeper.audit.result import Audit

# Class names that one cell of the table shows.
_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Tell before any long training which distortions which classes can bear: flip a 2, and some will look like a 5.

    Example: deeper audit datasets/mine --distort horizontal_flip --out audits/mine; deeper train datasets/mine
    --distort horizontal_flip --policy audits/mine/policy.toml

    Small networks that never saw a distortion read training pictures before and after it; none reads a picture that it
    was trained on.
    """

    source: tyro.conf.Positional[str]
    """A dataset folder, or anything that `deeper build` takes."""
    distort: tuple[str, ...] = ()
    """Only these, as training draws them, e.g. horizontal_flip or rotation=45; all there are when not given."""
    margin: float | None = None
    """How many more pictures in a hundred may be read as another class, or no longer as their own, before it matters; 2
    for classes of 1,000 pictures or more, 10 for smaller ones."""
    per_class: int | None = None
    """At most so many training pictures of each class; when not given 1,500, and more where that leaves open what a turn
    does."""
    out: Path | None = None
    """A new folder for policy.toml, audit.json and evidence.png; audits/DATASET when not given."""
    seed: int = 0
    """Decides which pictures are looked at and how they are distorted."""
    json: bool = False
    """Print one JSON object (docs/json.md describes its keys)."""


def main(arguments: Arguments) -> None:
    """Audit, write, print."""
    import sys

    from deeper.cli.bar import bars
    from deeper.runs import dataset_for
    from deeper.runs.auditing import POLICY, audit

    def notice(text: str) -> None:
        print(text, file=sys.stderr)

    dataset = dataset_for(arguments.source, notice=notice)
    out = arguments.out or _free_name(dataset.info.name)
    with bars() as progress:
        found = audit(
            dataset,
            distort=arguments.distort,
            margin=_share(arguments.margin),
            per_class=arguments.per_class,
            out=out,
            seed=arguments.seed,
            progress=progress,
            notice=notice,
        )
    if arguments.json:
        print(json.dumps({"out": str(out), **found.to_plain()}, allow_nan=False))
        return

    console = results()
    _print(console, found)
    policy = found.policy()
    if uncovered := found.uncovered():
        named: dict[str, list[str]] = {}
        for one in uncovered:
            named.setdefault(one.description, []).append(printable(str(one.class_name), 30))
        listed = "; ".join(f"{what} ({', '.join(names)})" for what, names in list(named.items())[:8])
        more = f"; and {len(named) - 8} more" if len(named) > 8 else ""
        console.print(
            f"\nunsafe only when strong, so not in the policy, which names no strengths: {listed}{more}. For a recipe that "
            "goes so far audit just that, e.g. --distort rotation=180",
            soft_wrap=True,
        )
    console.print(f"\n{printable(out)}: {POLICY}, audit.json, evidence.png", soft_wrap=True)
    if policy.classes:
        spared: dict[str, list[str]] = {}
        for name, rule in policy.classes.items():
            for distortion in rule.never:
                spared.setdefault(distortion, []).append(printable(name, 30))
        told = "; ".join(f"{distortion} ({_listed(names, len(found.classes))})" for distortion, names in spared.items())
        console.print(f"the policy keeps away, shown or suspected to harm: {told}", soft_wrap=True)
        flags = "".join(f" --distort {typed(one)}" for one in arguments.distort)
        command = f"deeper train {typed(arguments.source)}{flags} --policy {typed(out / POLICY)}"
        console.print(f"next: {command}", soft_wrap=True)
    else:
        console.print("the policy forbids nothing", soft_wrap=True)


def _share(points: float | None) -> float | None:
    """Raises: UsageError, in the points that the user wrote."""
    if points is None:
        return None
    if not 0.1 <= points < 100:
        raise UsageError(f"--margin {points:g}: wanted percentage points from 0.1 to below 100, such as 2")
    return points / 100


def _free_name(name: str) -> Path:
    return next(path for path in files.numbered(Path("audits") / name) if not path.exists())


def _print(console: Console, found: Audit) -> None:
    from rich.text import Text

    low, high = found.judge.interval
    console.print(
        f"judge: {found.judge.accuracy * 100:.2f} % right out-of-fold ({low * 100:.2f}–{high * 100:.2f})"
        f"{', weak' if found.judge.weak else ''}; {found.intervals} intervals hold together at 95 %",
        soft_wrap=True,
    )
    for note in found.notes:
        console.print(f"note: {printable(note)}", soft_wrap=True)
    table = bare_table()
    for name in ("distortion", "safe", "undecided", "unsafe → looks like"):
        table.add_column(name)
    for description in dict.fromkeys(one.description for one in found.findings):
        names = found.classes_by_verdict(description)
        unsafe = [found.finding_on(description, name) for name in names["unsafe"]]
        unsafe.sort(key=lambda one: -one.entering.share)
        shown = [f"{printable(str(one.class_name), 20)}→{printable(str(one.target), 20)}" for one in unsafe]
        cells = (
            *(
                _listed([printable(name, 20) for name in names[key]], len(found.classes))
                for key in ("safe", "undecided")
            ),
            _listed(shown, len(found.classes)),
        )
        table.add_row(description, *(Text(cell) for cell in cells))
    console.print()
    console.print(table)


def _listed(names: list[str], classes: int) -> str:
    if len(names) == classes and classes > 2 and "→" not in names[0]:
        return "all"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
