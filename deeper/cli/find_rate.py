"""`deeper find-rate`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from deeper.cli.assignments import over
from deeper.errors import printable, typed

if TYPE_CHECKING:
    from deeper.runs import FoundRate


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Search the learning rate: a short training whose rate rises from step to step, and what its loss shows.

    Example: deeper find-rate datasets/mine --out rates

    Give the same model, recipe and options that you will train with. Leaves no run behind.
    """

    source: tyro.conf.Positional[str]
    """A dataset folder, or anything that `deeper build` takes."""
    out: Path | None = None
    """A folder for the figure (rates.png, rates.svg), rates.csv and rates.json."""
    model: str | None = None
    """A network (`deeper models` lists them) or your own as package.module:Class."""
    recipe: str | None = None
    """A named set of options: fast (the default), fine-tune (the default with --weights), guide (as in 2017; of the
    Inceptions with a flip), best (for small pictures); or MINE.toml, your own."""
    low: float = 1e-6
    """The rate of the first step."""
    high: float = 10.0
    """The rate of the last step, if the loss has not diverged before."""
    steps: int = 140
    """Steps from the first rate to the last, at least 40; the more, the surer."""
    seed: int | None = None
    """Decides initial weights, order, distortions and dropout."""
    weights: str | None = None
    """What to begin with, as in `deeper train`: a file, a published name, or a run or bundle."""
    distort: tuple[str, ...] = ()
    """Add distortions to the recipe's, e.g. horizontal_flip or rotation=15."""
    no_distort: tuple[str, ...] = ()
    """Take distortions out of the recipe; `all` takes out every one."""
    policy: Path | None = None
    """A policy.toml, as `deeper audit` writes it: classes that a distortion must leave alone. It adds no distortion; name
    those with --distort."""
    batch: int | None = None
    """Pictures in one step."""
    optimizer: Literal["sgd", "adamw", "rmsprop"] | None = None
    """Another optimizer than the recipe's, with its own defaults."""
    size: int | None = None
    """Side of the network's input in pixels."""
    precision: Literal["auto", "bf16", "fp32"] | None = None
    """bf16 halves the memory and, where the processor has it, the time; auto takes it there."""
    device: str | None = None
    """cpu, cuda or cuda:1; a GPU is taken where there is one."""
    workers: int | None = None
    """Decoding threads; the result does not depend on them."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE …")] = ()
    """Any other option by its name in config.toml, e.g. optimizer.weight_decay=0.05."""
    json: bool = False
    """Print one JSON object (docs/json.md describes its keys)."""


def main(arguments: Arguments) -> None:
    """Search and print."""
    from deeper.runs import find_rate

    found = find_rate(
        arguments.source,
        model=arguments.model,
        recipe=arguments.recipe,
        low=arguments.low,
        high=arguments.high,
        steps=arguments.steps,
        seed=arguments.seed,
        weights=arguments.weights,
        distort=arguments.distort,
        no_distort=arguments.no_distort,
        policy=arguments.policy,
        options=over(
            {
                "batch": arguments.batch,
                "optimizer": arguments.optimizer,
                "height": arguments.size,
                "width": arguments.size,
                "precision": arguments.precision,
            },
            arguments.set,
            seed=arguments.seed,
        ),
        device=arguments.device or "auto",
        workers=arguments.workers,
        out=arguments.out,
        quiet="progress" if arguments.json else False,
    )
    if arguments.json:
        print(json.dumps(found.to_plain(), allow_nan=False))
        return
    _report(found, arguments)


def _report(found: FoundRate, arguments: Arguments) -> None:
    search = found.search
    what = f"{printable(found.model)} on {printable(found.dataset)}, {found.optimizer}, batches of {found.batch:,}"
    if search.suggestion is None:
        print(f"no rate can be read off for {what}: {search.reason}")
    else:
        print(f"learning rate {search.suggestion:.2g} for {what}")
        print(
            f"midway between the steepest fall of the loss, at {search.steepest:.2g}, and its lowest point, at "
            f"{search.lowest:.2g}; the recipe's is {found.recipe_rate:.2g}"
        )
    if search.diverged is not None:
        print(f"the loss diverged at {search.diverged:.2g}, after {len(search.rates):,} steps")
    if arguments.out is not None:
        print(f"figure and numbers: {printable(arguments.out)}/rates.png, .svg, .csv, .json")
    if search.suggestion is not None:
        given = [
            ("--model", arguments.model),
            ("--recipe", arguments.recipe),
            ("--weights", arguments.weights),
            ("--batch", arguments.batch),
            ("--optimizer", arguments.optimizer),
            ("--size", arguments.size),
            ("--seed", arguments.seed),
            ("--policy", arguments.policy),
            ("--precision", arguments.precision if arguments.precision != "auto" else None),
            ("--device", arguments.device),
        ]
        words = [word for flag, value in given if value is not None for word in (flag, str(value))]
        several = (("--distort", arguments.distort), ("--no-distort", arguments.no_distort), ("--set", arguments.set))
        words += [word for flag, values in several for value in values for word in (flag, value)]
        command = ["deeper", "train", arguments.source, *words, "--rate", f"{search.suggestion:.2g}"]
        print(f"next: {' '.join(map(typed, command))}")
        print(
            "it is the peak of the schedule; half of it and twice it are worth a try (deeper compare --split validation)"
        )
