"""`deeper train`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from deeper.cli.assignments import over
from deeper.errors import UsageError, printable, typed

if TYPE_CHECKING:
    from deeper.records import Dataset
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
    """The run folder; runs/DATASET-MODEL-RECIPE when not given (DATASET: the name of the source it was built from). With
    --seeds or --folds it must be given, and holds one run for each."""
    model: str | None = None
    """A network (`deeper models` lists them) or your own as package.module:Class."""
    weights: str | None = None
    """Begin with weights instead of at random: a file (torch, safetensors, Keras, TF-Slim), a published name such as
    torchvision/inception_v3, or a run or bundle. The network comes with them; `docs/weights.md` tells more."""
    recipe: str | None = None
    """A named set of options: fast (the default), fine-tune (the default with --weights), guide (as in 2017; of the
    Inceptions with a flip), best (for small pictures). Or your own, MINE.toml, which says what is other than in one of these
    (`docs/how-to/own-recipe.md`)."""
    epochs: float | None = None
    """Passes over the training pictures."""
    minutes: float | None = None
    """Train about this long instead: the first steps are timed, then the number of steps is fixed (in a series by its first
    run, for all)."""
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
    """A policy.toml, as `deeper audit` writes it: classes that a distortion must leave alone. It adds no distortion; name
    those with --distort."""
    no_audit: bool = False
    """Do not check first which classes bear the recipe's flips and far rotations."""
    resume: Path | None = None
    """Go on with this run, bit-identically; only --device, --workers and --json may stand beside it."""

    batch: int | None = None
    """Pictures in one step."""
    rate: float | None = None
    """Peak learning rate."""
    optimizer: Literal["sgd", "adamw", "rmsprop"] | None = None
    """Another optimizer than the recipe's, with its own defaults."""
    size: int | None = None
    """Side of the network's input in pixels."""
    sizes: str | None = None
    """Progressive resizing: picture sizes to train at one after the other, each with its share of the pictures and its
    batch where wanted, e.g. 75:0.5:64,149:0.3,299. The last is the input's. A fourth part, e.g. 299:::0.2, shows that
    share of the training pictures only, the hardest. `off`: one size, whatever the recipe."""
    freeze_epochs: float | None = None
    """Fine-tuning: for so many epochs at first only the head trains (the last layer, auxiliary heads)."""
    freeze_until: str | None = None
    """Fine-tuning: layers before this endpoint stay as they are, e.g. Mixed_6a; `deeper models NAME` lists them."""
    layer_decay: float | None = None
    """Fine-tuning: lower rates for early layers, times this for each block away from the head, e.g. 0.8."""
    batch_norm: Literal["train", "frozen_statistics", "frozen"] | None = None
    """Fine-tuning: `frozen_statistics` keeps the running statistics of the weights, `frozen` scale and shift too."""
    no_recalibrate: bool = False
    """Leave batch norm's running statistics alone when evaluation differs from training because of them."""
    label_smoothing: float | None = None
    """Share of the wanted probability that is spread over all classes, 0 to below 1."""
    class_weights: Literal["none", "balanced"] | None = None
    """balanced: rare classes count as much as frequent ones."""
    clip_norm: float | None = None
    """Largest allowed norm of the gradient."""
    early_stopping: int | None = None
    """Stop after this many validations without a better one, and keep the weights that validated best. Without it a run
    keeps its last ones."""
    precision: Literal["auto", "bf16", "fp32"] | None = None
    """bf16 halves the memory and, where the processor has it, the time; auto takes it there."""
    device: str | None = None
    """cpu, cuda or cuda:1; a GPU is taken where there is one."""
    workers: int | None = None
    """Decoding threads; the result does not depend on them."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE …")] = ()
    """Any other option by its name in config.toml, e.g. averaging.decay=0.999. schedule=cosine takes another schedule,
    with its own defaults."""
    json: bool = False
    """Print one JSON object at the end, and nothing else on standard output."""


def _assignments(arguments: Arguments) -> dict[str, Any]:
    from deeper.training.stages import parse_stages
    from deeper.values import to_plain

    given: dict[str, Any] = {
        "batch": arguments.batch,
        "optimizer": arguments.optimizer,
        "optimizer.rate": arguments.rate,
        "height": arguments.size,
        "width": arguments.size,
        "fine_tuning.freeze_epochs": arguments.freeze_epochs,
        "fine_tuning.freeze_until": arguments.freeze_until,
        "fine_tuning.layer_decay": arguments.layer_decay,
        "fine_tuning.batch_norm": arguments.batch_norm,
        "recalibrate": "never" if arguments.no_recalibrate else None,
        "label_smoothing": arguments.label_smoothing,
        "class_weights": arguments.class_weights,
        "clip_norm": arguments.clip_norm,
        "early_stopping": arguments.early_stopping,
        "precision": arguments.precision,
    }
    if arguments.sizes:
        given["stages"] = to_plain(parse_stages(arguments.sizes))
    return over(given, arguments.set, epochs=arguments.epochs, minutes=arguments.minutes, seed=arguments.seed)


# What may differ when a run goes on; all else is as it was begun.
_WITH_RESUME = {"resume", "device", "workers", "json", "source"}


def _check(arguments: Arguments) -> None:
    if (arguments.source is None) == (arguments.resume is None):
        raise UsageError("give a source or dataset to train on, or --resume RUN (not both)")
    if arguments.seeds is not None and arguments.folds is not None:
        raise UsageError("give --seeds or --folds, not both")
    # A network of one's own may come with weights.
    random = arguments.weights is None and ":" not in (arguments.model or "") and arguments.resume is None
    for flag, value in (
        ("--freeze-epochs", arguments.freeze_epochs or None),
        ("--freeze-until", arguments.freeze_until),
        ("--batch-norm", None if arguments.batch_norm == "train" else arguments.batch_norm),
    ):
        if random and value is not None:
            raise UsageError(
                f"{flag} {printable(value)}: there is nothing to keep in random weights; give those to begin with (--weights), "
                "or leave it out"
            )
    for name, value in (("seeds", arguments.seeds), ("folds", arguments.folds)):
        if value is not None and value < 2:
            raise UsageError(f"--{name}: wanted at least 2, got {value}")
    if arguments.workers is not None and arguments.workers < 1:
        raise UsageError(f"--workers: wanted 1 or more, got {arguments.workers}")
    given = [
        f"--{field.name.replace('_', '-')}"
        for field in fields(arguments)
        if field.name not in _WITH_RESUME and getattr(arguments, field.name) != field.default
    ]
    if arguments.resume is not None and given:
        raise UsageError(
            f"--resume goes on with the run as its config.toml says: leave out {', '.join(given)}, or train anew into "
            "another --out"
        )


def main(arguments: Arguments) -> None:
    """Train as `arguments` say; exits with 130 or 143 after an interrupt."""
    _check(arguments)
    from deeper.runs import Fold, folds, repeat, resume, seed_names, train
    from deeper.runs.folder import is_run
    from deeper.runs.place import refuse_taken

    quiet: bool | Literal["progress"] = "progress" if arguments.json else False
    if arguments.resume is not None:
        _report(resume(arguments.resume, device=arguments.device, workers=arguments.workers, quiet=quiet), arguments)
        return
    assert arguments.source is not None
    source: str | Dataset = arguments.source
    options = _assignments(arguments)
    if arguments.seeds is not None and "seed" in options:
        raise UsageError("--set seed with --seeds: give the first of them by --seed, the others follow it")

    def one(out: Path | None, seed: int | None, fold: Fold | None, paced_by: Path | None = None) -> Result:
        return train(
            source,
            model=arguments.model,
            recipe=arguments.recipe,
            weights=arguments.weights,
            out=out,
            epochs=arguments.epochs,
            minutes=arguments.minutes,
            seed=seed,
            distort=arguments.distort,
            no_distort=arguments.no_distort,
            policy=arguments.policy,
            audit=not arguments.no_audit,
            options=options,
            device=arguments.device or "auto",
            workers=arguments.workers,
            fold=fold,
            paced_by=paced_by,
            existing="refuse" if arguments.seeds is None and arguments.folds is None else "resume",
            quiet=quiet,
        )

    def before(path: Path) -> Path | None:
        """A run of the series, by whose steps the others go: the first that is there."""
        there = (path.with_name(name) for name in names)
        return next((one for one in there if is_run(one)), None)

    def seeded(out: Path, number: int) -> Result:
        nonlocal source
        if not is_run(out):
            refuse_taken(out)  # before a dataset is built for it
        source = _judgeable(source, quiet)
        return one(out, first + number, None, before(out))

    if arguments.seeds is None and arguments.folds is None:
        _report(one(arguments.out, arguments.seed, None), arguments)
        return
    if arguments.out is None:
        raise UsageError("a series needs --out FOLDER to put its runs in")
    first = arguments.seed or 0
    if arguments.seeds is not None:
        names = seed_names(first, arguments.seeds)
        summary = repeat(arguments.out, names, seeded)
    else:
        assert arguments.folds is not None
        parts = folds(arguments.folds)
        names = [f"fold-{part.index}" for part in parts]
        summary = repeat(
            arguments.out, names, lambda path, number: one(path, arguments.seed, parts[number], before(path))
        )
    _report_series(summary, arguments)


def _judgeable(source: str | Dataset, quiet: bool | Literal["progress"]) -> Dataset:
    """The dataset behind `source`, which has validation pictures: else a series would fail after its first training."""
    from deeper.monitor import Console
    from deeper.runs import dataset_for
    from deeper.runs.repeated import refuse_unjudged
    from deeper.training.events import Notice

    console = Console(quiet=quiet)
    building = console.progress("building")
    dataset = dataset_for(source, notice=lambda text: console.handle(Notice(text=text)), progress=building)
    refuse_unjudged(dataset)
    return dataset


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
                    "batch_norm": result.batch_norm,
                }
            )
        )
    elif result.reason == "interrupted":
        print(f"interrupted and saved at step {result.step:,}; go on with: deeper train --resume {typed(run)}")
    else:
        again = typed(run)
        print(f"run: {printable(run, 1000)}")
        print(f"next: deeper evaluate {again} · deeper board {again} · deeper predict {again} FILE")
    if result.reason == "interrupted":
        sys.exit(128 + (Interrupts.received or 2))


def _report_series(summary: Summary, arguments: Arguments) -> None:
    if arguments.json:
        print(json.dumps(summary.to_plain()))
    else:
        for name, accuracy in zip(summary.names, summary.accuracies, strict=True):
            print(f"{name:>10}  {accuracy:.2%}")
        if summary.names:
            spread = f" ± {summary.deviation:.2%}" if len(summary.names) > 1 else ""
            count = f"deviation over {len(summary.names)} runs" if spread else "one run"
            print(f"{'mean':>10}  {summary.mean:.2%}{spread} ({count})")
        if not summary.complete:
            print("interrupted and saved; the same command goes on")
        elif arguments.out is not None:
            one = typed(arguments.out / summary.names[0])
            print(f"\nnext:  deeper evaluate {one} --split validation   each of them is a run of its own")
    if not summary.complete:
        from deeper.runs import Interrupts

        sys.exit(128 + (Interrupts.received or 2))
