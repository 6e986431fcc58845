"""`deeper learn-curve`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from deeper.cli.assignments import over
from deeper.errors import UsageError, printable

if TYPE_CHECKING:
    from deeper.runs import LearningCurve


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Would more photographs help? Train on 25, 50 and 100 % of them, and see how the errors fall.

    Example: deeper learn-curve datasets/mine --minutes 10 --out runs/curve

    Every run is judged on the same validation pictures. The same command again goes on where it stopped, and trains
    nothing twice; more --seeds or other --shares add runs to those that are there.
    """

    source: tyro.conf.Positional[str]
    """A dataset folder, or anything that `deeper build` takes."""
    shares: str = "25,50,100"
    """Per cent of each class's training pictures; each share lies within the larger ones."""
    seeds: int = 3
    """Trainings of each share; they give the deviation."""
    equal: Literal["steps", "epochs"] = "steps"
    """What all runs have alike: as many steps as the whole set takes, so that they differ in pictures only, or epochs."""
    out: Path | None = None
    """A folder for the runs, the figure and the numbers; runs/DATASET-MODEL-RECIPE-learning-curve when not given."""
    model: str | None = None
    """A network (`deeper models` lists them) or your own as package.module:Class."""
    recipe: str | None = None
    """A named set of options: fast (the default), fine-tune (the default with --weights), guide (as in 2017; of the
    Inceptions with a flip), best (for small pictures); or MINE.toml, your own."""
    epochs: float | None = None
    """Passes over the whole training set."""
    minutes: float | None = None
    """Train the first run about this long instead, and the others as many steps."""
    seed: int = 0
    """The first seed."""
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
    rate: float | None = None
    """Peak learning rate."""
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
    """Train and print; exits with 130 or 143 after an interrupt."""
    try:
        shares = [float(word) for word in arguments.shares.split(",")]
    except ValueError:
        raise UsageError(
            f"--shares {printable(arguments.shares)}: wanted percentages with commas between them, such as 25,50,100"
        ) from None
    from deeper.runs import Interrupts, learn_curve

    curve = learn_curve(
        arguments.source,
        shares=shares,
        seeds=arguments.seeds,
        equal=arguments.equal,
        out=arguments.out,
        model=arguments.model,
        recipe=arguments.recipe,
        epochs=arguments.epochs,
        minutes=arguments.minutes,
        seed=arguments.seed,
        weights=arguments.weights,
        distort=arguments.distort,
        no_distort=arguments.no_distort,
        policy=arguments.policy,
        options=over(
            {
                "batch": arguments.batch,
                "optimizer.rate": arguments.rate,
                "height": arguments.size,
                "width": arguments.size,
                "precision": arguments.precision,
            },
            arguments.set,
            epochs=arguments.epochs,
            minutes=arguments.minutes,
            seed=arguments.seed,
        ),
        device=arguments.device or "auto",
        workers=arguments.workers,
        quiet="progress" if arguments.json else False,
    )
    if arguments.json:
        print(json.dumps({"path": str(curve.path), **curve.to_plain()}, allow_nan=False))
    else:
        _report(curve)
    if not curve.complete:
        sys.exit(128 + (Interrupts.received or 2))


def _report(curve: LearningCurve) -> None:
    print(f"accuracy on {curve.judged:,} validation pictures; all runs take equally many {curve.equal}")
    for point in curve.points:
        low, high = point.interval
        line = f"  {point.percent:>5g} %  {point.pictures:>9,} pictures  {point.mean * 100:6.2f} %"
        line += f"  (95 % interval {low * 100:.2f}–{high * 100:.2f}"
        if point.deviation is not None:
            line += f"; deviation between {len(point.accuracies)} seeds {point.deviation * 100:.2f}"
        print(f"{line})")
    if not curve.complete:
        print("interrupted and saved; the same command goes on")
        return
    if curve.answer is None:
        print("would more photographs help? cannot tell from two shares: add a third, e.g. --shares 25,50,100")
    else:
        print(f"would more photographs help? {curve.answer.text}")
    print(f"figure and numbers: {printable(curve.path)}/learning-curve.png, .svg, .csv, .json")
