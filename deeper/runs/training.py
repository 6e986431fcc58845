"""One run: plan → pictures → loop → monitor, checkpoints, bundle. `train` starts one, `resume` goes on with one.

What a resume goes by, first wins: 1. `config.toml` (options, dataset, frozen step count); 2. the newest checkpoint
that can be read; 3. the flags of the resuming call, which can only change workers and device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from deeper import files
from deeper.distortions import Policy
from deeper.errors import UsageError, printable
from deeper.inference import check_device
from deeper.monitor import Console
from deeper.records import Dataset
from deeper.runs.auditing import warn_before_training
from deeper.runs.dataset import dataset_for
from deeper.runs.folder import Config, Fold, PictureFacts, Run, as_toml, is_run, relative_dataset
from deeper.runs.machine import changes, versions
from deeper.runs.pictures import has_validation
from deeper.runs.place import held, refuse_taken, reserved
from deeper.runs.plan import Plan, make_plan, stages_of
from deeper.runs.result import Handler, Result
from deeper.runs.sameness import refuse_other
from deeper.runs.work import Work
from deeper.training.events import Notice
from deeper.training.precision import choose_device, choose_precision


def train(
    source: str | Path | Dataset,
    *,
    model: str | None = None,
    recipe: str | Path | None = None,
    out: str | Path | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    seed: int | None = None,
    weights: str | Path | None = None,
    distort: Sequence[str] = (),
    no_distort: Sequence[str] = (),
    policy: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    workers: int | None = None,
    fold: Fold | None = None,
    share: float | None = None,
    paced_by: str | Path | None = None,
    audit: bool = True,
    existing: Literal["refuse", "resume"] = "refuse",
    quiet: bool | Literal["progress"] = False,
    handlers: Sequence[Handler] = (),
) -> Result:
    """Train a network on `source` into a run folder.

    `source`: a dataset folder, or anything `deeper.build` takes. `recipe`: a name, or the path of a `.toml` of one's own.
    `weights`: what to begin with instead of random
    weights: a file of torch, safetensors, Keras or TF-Slim, a published name such as `torchvision/inception_v3`, or a
    run or bundle; the network, its arguments and how pictures are shown come with them. `options`: dotted names of
    `Options` to values.
    `share`: train on this share of each class's training pictures only, in (0, 1]; smaller shares lie within larger
    ones. `paced_by`: a run of the same sizes, batches and minutes whose number of steps is taken, where `minutes` would
    have the first steps timed: runs of a series then train equally long, whatever else the machine does. `audit`: when
    the recipe flips or rotates far, first see by small networks which classes cannot bear it, and say so (not where
    `quiet` is True); the training is the same. `existing`: what to do where `out` holds a run already; "resume" goes on
    with it, provided that it is this very training. `quiet`: show nothing, or with "progress" no
    progress but notices and warnings. `handlers`: called with every event, after the built-in ones.

    Raises: UsageError, also for early stopping without validation pictures; SourceError, DatasetError; RunError, when
    `out` already holds a run (with "resume": of another training) or other files; DivergedError.
    """
    if fold is not None and share is not None:
        raise UsageError(
            "fold and share cannot be combined: a fold trains on all that it does not judge; leave one out"
        )
    target = Path(out) if out is not None else None
    going_on = existing == "resume" and target is not None and is_run(target)
    if target is not None and not going_on:
        refuse_taken(target)  # before a dataset is built for it
    console = Console(quiet=quiet)

    def say(text: str) -> None:
        console.handle(Notice(text=text))

    dataset = dataset_for(source, notice=say, progress=console.progress("building"))
    named = {"epochs": epochs, "minutes": minutes, "seed": seed}
    given = {**named, **(options or {}), **{name: value for name, value in named.items() if value is not None}}
    if weights is not None:
        given["weights"] = str(weights)
    plan = make_plan(
        dataset,
        model=model,
        recipe=recipe,
        distort=distort,
        no_distort=no_distort,
        overrides=given,
        progress=console.progress("downloading weights"),
    )
    chosen_policy = Policy.load(policy) if policy else None
    if target is not None and going_on:
        plain = chosen_policy.to_plain() if chosen_policy else None
        origin = plan.initial.origin if plan.initial else None
        refuse_other(target, dataset, plan.options, fold=fold, share=share, policy=plain, origin=origin)
        chosen_device = None if device == "auto" else device
        return resume(target, device=chosen_device, workers=workers, quiet=quiet, handlers=handlers)
    if (fold or share) and plan.initial is not None and plan.initial.dataset == dataset.info.hash:
        raise UsageError(
            f"the weights {printable(plan.initial.weights.name)} were trained on this very dataset, on the pictures too that "
            f"{'each fold holds out' if fold else 'a smaller share leaves out'}: the result would look better than it is; begin "
            "with weights from elsewhere, or with random ones"
        )
    if plan.options.early_stopping is not None and fold is None and not has_validation(dataset):
        raise UsageError(
            f"{printable(dataset.path)} has no validation pictures, by which early stopping decides; build it with "
            "--validation 0.1, or leave --early-stopping out"
        )
    stem = f"{dataset.info.name}-{plan.options.model.rpartition(':')[2]}-{plan.options.recipe}"
    with reserved(target, stem) as place:
        shown: dict[str, Callable[[int, int], None]] = {}

        def checked(what: str, done: int, total: int) -> None:
            if what not in shown:
                shown[what] = console.progress(what)
            shown[what](done, total)

        try:
            # From here on a termination leaves as little behind as Ctrl-C does.
            with files.ended_by_sigterm():
                config = configure(plan, dataset, place, device=device, policy=chosen_policy, notice=say)
                as_toml(config)  # it is written after the first steps only, which may take minutes
                config = replace(config, fold=fold, share=share)
                if paced_by is not None and plan.options.minutes is not None:
                    config = _paced(config, Run(paced_by))
                work = Work(place, config, dataset, workers, console, handlers)
                if audit and quiet is not True:
                    warn_before_training(dataset, plan.options, chosen_policy, say, checked)
                work.begin()
        except (KeyboardInterrupt, SystemExit):
            say("interrupted before the first step: there is nothing to go on with; the same command begins anew")
            raise
        return work.go()


def configure(
    plan: Plan,
    dataset: Dataset,
    target: Path,
    *,
    device: str,
    policy: Policy | None,
    notice: Callable[[str], None],
) -> Config:
    """What `config.toml` of a run in `target` will hold; the number of steps is fixed when the run begins. Says what
    was chosen and why."""
    device = choose_device(device)
    check_device(device)
    precision, why = choose_precision(plan.options.precision, device)
    for reason in (*plan.reasons, why):
        notice(reason)
    return Config(
        dataset=relative_dataset(dataset.path, target),
        dataset_hash=dataset.info.hash,
        pictures=PictureFacts.of(dataset),
        steps=0,
        height=plan.height,
        width=plan.width,
        precision=precision,
        device=device,
        policy=policy.to_plain() if policy else None,
        versions=versions(),
        weights=plan.initial.origin if plan.initial else None,
        options=plan.options,
    )


def _paced(config: Config, run: Run) -> Config:
    """`config` with the number of steps that was fixed when `run` began. Raises: UsageError, where that was trained at
    other sizes, in other batches or for other minutes."""
    first = run.config
    same = stages_of(first) == stages_of(config) and first.options.minutes in (None, config.options.minutes)
    if not same or not first.steps:
        raise UsageError(
            f"{printable(run.path)}, by whose steps this run would go, has other picture sizes, batches or minutes; give "
            "another --out"
        )
    return replace(config, steps=first.steps, stage_steps=first.stage_steps)


def resume(
    path: str | Path,
    *,
    device: str | None = None,
    workers: int | None = None,
    quiet: bool | Literal["progress"] = False,
    handlers: Sequence[Handler] = (),
) -> Result:
    """Go on with an interrupted run from its newest readable checkpoint, to the bit as if it had not been interrupted.

    On another device or machine it goes on too, but not bit-identically, and says so. `quiet`: as in `train`.

    Raises: RunError, when there is no run, another process trains in it, or its dataset is another one now.
    """
    run = Run(path)
    console = Console(quiet=quiet)
    chosen = run.config.device if device is None else choose_device(device)
    check_device(choose_device(chosen))
    with held(run.path):
        work = Work(run.path, replace(run.config, device=chosen), run.dataset(), workers, console, handlers)
        work.restore(run)
        other = changes(run.config, work.machine, chosen)
        if other and work.state.step < work.state.steps and not work.state.stops_early:
            console.handle(Notice(text=f"going on with {', '.join(other)}: not bit-identical"))
        return work.go()
