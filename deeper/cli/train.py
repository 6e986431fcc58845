"""`deeper train`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from deeper.errors import UsageError

if TYPE_CHECKING:
    from deeper.runs import Result, Summary


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train a network on a dataset or a source; with --resume, go on with an interrupted run.

    Example: deeper train datasets/mine --minutes 20 --out runs/first

    What is not given is chosen by the recipe, and said. Ctrl-C ends cleanly with a checkpoint.
    """

    source: tyro.conf.Positional[str | None] = None
    """A dataset folder, or anything that `deeper build` takes: a folder of class folders, a CSV, `mnist`, …"""
    out: Path | None = None
    """The run folder; runs/DATASET-MODEL-RECIPE when not given."""
    model: str | None = None
    """A network (`deeper models` lists them) or your own as package.module:Class."""
    recipe: str | None = None
    """A named set of options: fast, best, guide, …"""
    epochs: float | None = None
    """Passes over the training pictures."""
    minutes: float | None = None
    """Train about this long instead: the first steps are timed, then the number of steps is fixed."""
    seed: int | None = None
    """Decides initial weights, order, distortions and dropout."""
    seeds: int | None = None
    """Train this many times with seeds following --seed; report mean and deviation."""
    folds: int | None = None
    """Cross-validate: train this many times, each validated on another part of the training and validation pictures."""
    distort: tuple[str, ...] = ()
    """Add distortions to the recipe's, e.g. horizontal_flip or rotation=15."""
    no_distort: tuple[str, ...] = ()
    """Take distortions out of the recipe; `all` takes out every one."""
    policy: Path | None = None
    """A policy.toml that says which classes a distortion must leave alone."""
    resume: Path | None = None
    """Go on with this run, bit-identically."""

    batch: int | None = None
    """Pictures in one step."""
    rate: float | None = None
    """Peak learning rate."""
    optimizer: Literal["sgd", "adamw", "rmsprop"] | None = None
    """Another optimizer than the recipe's, with its own defaults."""
    size: int | None = None
    """Side of the network's input in pixels."""
    label_smoothing: float | None = None
    class_weights: Literal["none", "balanced"] | None = None
    """balanced: rare classes count as much as frequent ones."""
    clip_norm: float | None = None
    """Largest allowed norm of the gradient."""
    early_stopping: int | None = None
    """Stop after this many validations without a better one, and keep the best weights."""
    precision: Literal["auto", "bf16", "fp32"] | None = None
    device: str | None = None
    """cpu, cuda or cuda:1; a GPU is taken where there is one."""
    workers: int | None = None
    """Decoding threads; the result does not depend on them."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE …")] = ()
    """Any other option by its name in config.toml, e.g. optimizer.weight_decay=0.05 averaging.decay=0.999."""
    json: bool = False
    """Print one JSON object at the end, and nothing else on standard output."""


def _assignments(arguments: Arguments) -> dict[str, Any]:
    given: dict[str, Any] = {
        "batch": arguments.batch,
        "optimizer": arguments.optimizer,
        "optimizer.rate": arguments.rate,
        "height": arguments.size,
        "width": arguments.size,
        "label_smoothing": arguments.label_smoothing,
        "class_weights": arguments.class_weights,
        "clip_norm": arguments.clip_norm,
        "early_stopping": arguments.early_stopping,
        "keep_best": True if arguments.early_stopping else None,
        "precision": arguments.precision,
    }
    for text in arguments.set:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {text!r}: wanted NAME=VALUE, e.g. optimizer.weight_decay=0.05")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    return given


def main(arguments: Arguments) -> None:
    """Train as `arguments` say; exits with 130 or 143 after an interrupt."""
    from deeper.runs import Fold, folds, repeat, resume, seed_names, train

    if (arguments.source is None) == (arguments.resume is None):
        raise UsageError("give a source or dataset to train on, or --resume RUN (not both)")
    if arguments.seeds and arguments.folds:
        raise UsageError("give --seeds or --folds, not both")
    quiet = arguments.json
    if arguments.resume is not None:
        _report(resume(arguments.resume, device=arguments.device, workers=arguments.workers, quiet=quiet), arguments)
        return
    assert arguments.source is not None
    source = arguments.source
    options = _assignments(arguments)

    def one(out: Path | None, seed: int | None, fold: Fold | None) -> Result:
        return train(
            source,
            model=arguments.model,
            recipe=arguments.recipe,
            out=out,
            epochs=arguments.epochs,
            minutes=arguments.minutes,
            seed=seed,
            distort=arguments.distort,
            no_distort=arguments.no_distort,
            policy=arguments.policy,
            options=options,
            device=arguments.device or "auto",
            workers=arguments.workers,
            fold=fold,
            quiet=quiet,
        )

    def again(path: Path) -> Result:
        return resume(path, device=arguments.device, workers=arguments.workers, quiet=quiet)

    if not (arguments.seeds or arguments.folds):
        _report(one(arguments.out, arguments.seed, None), arguments)
        return
    if arguments.out is None:
        raise UsageError("a series needs --out FOLDER to put its runs in")
    first = arguments.seed or 0
    if arguments.seeds:
        names = seed_names(first, arguments.seeds)
        summary = repeat(arguments.out, names, lambda path, number: one(path, first + number, None), again)
    else:
        assert arguments.folds
        parts = folds(arguments.folds)
        names = [f"fold-{part.index}" for part in parts]
        summary = repeat(arguments.out, names, lambda path, number: one(path, arguments.seed, parts[number]), again)
    _report_series(summary, arguments)


def _report(result: Result, arguments: Arguments) -> None:
    from deeper.runs import Interrupts

    run = result.run.path
    accuracy = float(result.validation.accuracy) if result.validation else None
    if arguments.json:
        print(
            json.dumps(
                {
                    "run": str(run),
                    "reason": result.reason,
                    "step": result.step,
                    "seconds": round(result.seconds, 3),
                    "validation_accuracy": accuracy,
                }
            )
        )
    elif result.reason == "interrupted":
        print(f"interrupted and saved at step {result.step:,}; go on with: deeper train --resume {run}")
    else:
        print(f"run: {run}\nnext: deeper evaluate {run} · deeper board {run} · deeper predict {run} FILE")
    if result.reason == "interrupted":
        sys.exit(128 + (Interrupts.received or 2))


def _report_series(summary: Summary, arguments: Arguments) -> None:
    if arguments.json:
        print(json.dumps(summary.to_plain()))
    else:
        for name, accuracy in zip(summary.names, summary.accuracies, strict=True):
            print(f"{name:>10}  {accuracy:.2%}")
        print(f"{'mean':>10}  {summary.mean:.2%} ± {summary.deviation:.2%} (deviation over {len(summary.names)} runs)")
    if not summary.complete:
        from deeper.runs import Interrupts

        sys.exit(128 + (Interrupts.received or 2))
