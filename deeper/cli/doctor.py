"""`deeper doctor`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from deeper.cli.screen import results
from deeper.errors import DeeperError, how_to_install, printable

if TYPE_CHECKING:
    from deeper.doctor import Health


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What is installed, what this machine offers, which extras are missing, and a self-test from pictures to answers.

    Exits with 1 when a step of the self-test fails.

    Example: deeper doctor
    """

    skip_test: bool = False
    """Only look; leave the self-test of some ten seconds out."""
    json: bool = False
    """Print one JSON object (docs/json.md describes its keys)."""


def main(arguments: Arguments) -> None:
    """Look and print."""
    from deeper.doctor import examine

    def say(text: str) -> None:
        print(f"self-test: {text} …", file=sys.stderr)

    health = examine(self_test=not arguments.skip_test, notice=say)
    if arguments.json:
        print(json.dumps({**asdict(health), "sound": health.sound}))
    else:
        _print(health)
    if not health.sound:
        failed = next(check for check in health.checks if check.problem)
        raise DeeperError(f"the self-test fails where it should {failed.name}: {failed.problem}")


def _print(health: Health) -> None:
    from rich.markup import escape

    from deeper.doctor import EXTRAS

    console = results(markup=True)
    console.soft_wrap = True
    processor = health.processor
    console.print(
        "[bold]installed[/]   " + escape(", ".join(f"{name} {number}" for name, number in health.versions.items()))
    )
    console.print(
        f"[bold]processor[/]   {escape(processor['name'])}, {processor['processors']} usable; "
        + (", ".join(processor["instructions"]) or "no vector instructions known")
        + (f"; without {', '.join(processor['lacking'])}" if processor["lacking"] else "")
    )
    console.print(
        "[bold]kernels[/]     "
        + (
            f"{escape(printable(processor['compiler']))} compiles those that NielsenNet and the Inceptions train faster with"
            if processor["compiler"]
            else "no C++ compiler: NielsenNet and the Inceptions train slower; install g++ or clang++"
        )
    )
    console.print(f"[bold]training[/]    {processor['precision_reason']}")
    console.print("[bold]GPU[/]         " + (escape(", ".join(health.gpus)) or "none that torch can use"))
    console.print(
        "[bold]data[/]        "
        + (
            escape(printable(health.data or ""))
            or "DEEPER_DATA names no folder: named sets are downloaded, digits needs nothing"
        )
        + f"; {health.free_gigabytes:.0f} GB free here"
    )
    for name, there in health.extras.items():
        how = "" if there else "   " + escape(how_to_install(name))
        console.print(f"{'[green]✓[/]' if there else '[dim]–[/]'} {name:<11} {EXTRAS[name][1]}{how}")
    for check in health.checks:
        mark = "[red]✗[/]" if check.problem else "[green]✓[/]"
        console.print(f"{mark} {check.name}: {escape(check.problem) or f'{check.seconds:.1f} s'}", markup=True)
