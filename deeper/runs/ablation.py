"""A run trained again, with all its distortions and without one of them: the arms of an ablation, as run folders.

OUT/with/seed-1 … seed-K, OUT/without-NAME/seed-1 … seed-K: fresh runs with the run's own options, of as many steps. Where
that is too dear, OUT/with-STEPS and OUT/without-NAME-STEPS: both arms go on from the run's weights for equal steps.
A run that is finished is used again, one that was interrupted goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from deeper import bundle, files
from deeper.errors import RunError, UsageError, nearest, printable
from deeper.monitor import Console
from deeper.runs.folder import Config, Run, is_run, relative_dataset
from deeper.runs.interrupts import Interrupted, Interrupts
from deeper.runs.judging import open_network
from deeper.runs.machine import versions
from deeper.runs.place import held
from deeper.runs.plan import stages_of
from deeper.runs.restoring import is_finished
from deeper.runs.result import Result
from deeper.runs.sameness import differences
from deeper.runs.training import resume
from deeper.runs.work import Work
from deeper.training.options import thawed
from deeper.training.schedules import Constant

# Of the run's own rate: what a network that has been trained is moved on with.
CONTINUED_RATE = 0.1
# Fewer could not be told from chance: five against five can be dealt in 252 ways.
LEAST_SEEDS = 5


def arm(
    run: Run,
    out: Path,
    *,
    without: str | None,
    seeds: int,
    steps: int | None = None,
    notice: Callable[[str], None] = lambda text: None,
) -> list[Run]:
    """The runs of one arm, trained as far as they are not there yet. `without`: a distortion's name; None for the arm that
    keeps all. `steps`: continue from the run's weights for so many, instead of training anew.

    Raises: UsageError, for a distortion that the run was not trained with, or fewer than five seeds; RunError, when other
    runs lie there; Interrupted, when training is (the same call goes on).
    """
    names = [one.name for one in run.config.options.distortions]
    if without is not None and without not in names:
        raise UsageError(
            f"{printable(run.path)} was not trained with {printable(without)!r}{nearest(without, names or ['none'])}"
        )
    if seeds < LEAST_SEEDS:
        raise UsageError(f"{seeds} runs per arm; wanted at least {LEAST_SEEDS}, or chance cannot be told from cause")
    if steps is not None and steps < 1:
        raise UsageError(f"{steps} steps; wanted at least 1")
    kind = ("with" if without is None else f"without-{without}") + (f"-{steps}" if steps else "")
    runs = []
    for number in range(1, seeds + 1):
        place = out / kind / f"seed-{number}"
        config = _config(run, place, without, number, steps)
        if is_run(place):
            _refuse_other(Run(place), config)
        done = _finished(place)
        if not done:
            notice(f"ablation: {kind}, run {number} of {seeds}")
            result = _trained(run, place, config, steps)
            # Also where the signal came too late for this run to stop.
            if result.reason == "interrupted" or Interrupts.received is not None:
                raise Interrupted(f"interrupted in {printable(place)}; the same command goes on from there")
        runs.append(Run(place))
    return runs


def _config(run: Run, place: Path, without: str | None, number: int, steps: int | None) -> Config:
    old = run.config.options
    # Never the run's own seed: its errors are what the arms are judged by.
    options = replace(
        old,
        seed=old.seed + number,
        minutes=None,
        keep=1,
        distortions=tuple(one for one in old.distortions if one.name != without),
    )
    if steps is not None:
        slower = replace(old.optimizer, rate=old.optimizer.rate * CONTINUED_RATE)
        options = replace(
            options,
            batch=stages_of(run.config)[-1].batch,
            optimizer=slower,
            schedule=Constant(),
            fine_tuning=thawed(old.fine_tuning),
            stages=(),
            early_stopping=None,
            keep_best=False,
        )
    return replace(
        run.config,
        options=options,
        stage_steps=() if steps is not None else run.config.stage_steps,
        dataset=relative_dataset(run.path / run.config.dataset, place),
        steps=steps or run.config.steps,
        versions=versions(),
    )


def _refuse_other(there: Run, wanted: Config) -> None:
    have = there.config
    different = differences(
        have,
        wanted.dataset_hash,
        wanted.options,
        fold=wanted.fold,
        share=wanted.share,
        policy=wanted.policy,
        origin=wanted.weights,
    )
    if have.steps not in (0, wanted.steps):
        different.append("number of steps")
    if different:
        raise RunError(
            f"{printable(there.path)} was trained with another {', '.join(different)}: it belongs to another ablation; "
            "delete it"
        )


def _finished(place: Path) -> bool:
    # A bundle is written at each better validation too: one that was killed over its last holds earlier weights.
    return is_run(place) and bundle.is_bundle(place / "bundle") and is_finished(Run(place))


def _trained(run: Run, place: Path, config: Config, steps: int | None) -> Result:
    if is_run(place) and Run(place).steps():
        return resume(place, quiet=True)
    with files.storage(place):
        place.mkdir(parents=True, exist_ok=True)
    with held(place):
        # One that continues begins with the run's weights, whatever that began with itself.
        work = Work(place, config, run.dataset(), None, Console(quiet=True), (), begun=steps is not None)
        if steps is not None:
            # Those that are inspected: the bundle's.
            weights = open_network(run.path, run, None, None).network.state_dict()
            work.state.model.load_state_dict(weights)
            if work.state.averaged:
                with torch.no_grad():
                    for name, tensor in work.state.averaged.tensors.items():
                        tensor.copy_(weights[name])
        work.begin()
        return work.go()
