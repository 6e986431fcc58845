"""One run: plan → pictures → loop → monitor, checkpoints, bundle. `train` starts one, `resume` goes on with one.

What a resume goes by, first wins: 1. `config.toml` (options, dataset, frozen step count); 2. the newest checkpoint
that can be read; 3. the flags of the resuming call, which can only change workers and device.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from deeper.distortions import Policy
from deeper.errors import RunError, UsageError, printable
from deeper.monitor import Console
from deeper.records import Dataset
from deeper.runs.dataset import dataset_for
from deeper.runs.folder import Config, Fold, Run, is_run, relative_dataset
from deeper.runs.plan import Plan, make_plan
from deeper.runs.work import Handler, Result, Work
from deeper.training.events import Notice
from deeper.training.precision import choose_device, choose_precision


def train(
    source: str | Path | Dataset,
    *,
    model: str | None = None,
    recipe: str | None = None,
    out: str | Path | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    seed: int | None = None,
    distort: Sequence[str] = (),
    no_distort: Sequence[str] = (),
    policy: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    workers: int | None = None,
    fold: Fold | None = None,
    quiet: bool = False,
    handlers: Sequence[Handler] = (),
) -> Result:
    """Train a network on `source` into a run folder.

    `source`: a dataset folder, or anything `deeper.build` takes. `options`: dotted names of `Options` to values.
    `handlers`: called with every event, after the built-in ones.

    Raises: UsageError, SourceError, DatasetError; RunError, when `out` already holds a run; DivergedError.
    """
    if epochs is not None and minutes is not None:
        raise UsageError("both epochs and minutes were given; give the one that should decide")
    target = Path(out) if out is not None else None
    if target is not None and is_run(target):
        raise RunError(
            f"{printable(target)} already holds a run; go on with it by `deeper train --resume {printable(target)}`, "
            "or give another --out"
        )
    console = Console(quiet=quiet)

    def say(text: str) -> None:
        console.handle(Notice(text=text))

    dataset = dataset_for(source, notice=say, progress=console.progress("building"))
    given = {**(options or {}), "epochs": epochs, "minutes": minutes, "seed": seed}
    plan = make_plan(dataset, model=model, recipe=recipe, distort=distort, no_distort=no_distort, overrides=given)
    target = target or _free_name(dataset, plan)
    device = choose_device(device)
    precision, why = choose_precision(plan.options.precision, device)
    for reason in (*plan.reasons, why):
        say(reason)
    chosen_policy = Policy.load(policy) if policy else None
    config = Config(
        dataset=relative_dataset(dataset.path, target),
        dataset_hash=dataset.info.hash,
        steps=0,
        height=plan.height,
        width=plan.width,
        precision=precision,
        device=device,
        fold=fold,
        policy=chosen_policy.to_plain() if chosen_policy else None,
        versions={"python": platform.python_version(), "torch": torch.__version__},
        options=plan.options,
    )
    work = Work(target, config, dataset, workers, console, handlers)
    work.begin()
    return work.go()


def resume(
    path: str | Path,
    *,
    device: str | None = None,
    workers: int | None = None,
    quiet: bool = False,
    handlers: Sequence[Handler] = (),
) -> Result:
    """Go on with an interrupted run from its newest readable checkpoint, to the bit as if it had not been interrupted.

    On another device or machine it goes on too, but not bit-identically, and says so.

    Raises: RunError, when there is no run, or its dataset is another one now.
    """
    run = Run(path)
    console = Console(quiet=quiet)
    config = run.config
    if device is not None and choose_device(device) != config.device:
        console.handle(
            Notice(text=f"going on on {choose_device(device)} instead of {config.device}: not bit-identical")
        )
        config = replace(config, device=choose_device(device))
    work = Work(run.path, config, run.dataset(), workers, console, handlers)
    work.restore(run)
    return work.go()


def _free_name(dataset: Dataset, plan: Plan) -> Path:
    stem = f"{dataset.info.name}-{plan.options.model.rpartition(':')[2]}-{plan.options.recipe}"
    number = 1
    while True:
        path = Path("runs") / (stem if number == 1 else f"{stem}-{number}")
        if not path.exists():
            return path
        number += 1
