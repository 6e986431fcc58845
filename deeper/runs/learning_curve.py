"""The same training on growing shares of the pictures: would more photographs help?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from deeper import files
from deeper.batches import steps_per_epoch
from deeper.distortions import Policy
from deeper.errors import RunError, UsageError, printable
from deeper.evaluation import Evaluation
from deeper.evaluation.extrapolation import Extrapolation, accuracy_interval, extrapolate
from deeper.monitor import Console
from deeper.records import Dataset
from deeper.runs.dataset import dataset_for
from deeper.runs.folder import is_run
from deeper.runs.interrupts import Interrupts
from deeper.runs.pictures import has_validation, share_members
from deeper.runs.plan import Plan, make_plan, stages_for
from deeper.runs.sameness import refuse_other
from deeper.runs.training import resume, train
from deeper.training.course import Course, Sized, steps_of
from deeper.training.events import Notice
from deeper.training.options import Options
from deeper.training.schedules import ExponentialStaircase
from deeper.values import to_plain

Equal = Literal["steps", "epochs"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One share of the training pictures. `accuracies`: on the validation pictures, one per seed. `interval`: 95 %, of
    their mean."""

    percent: float
    pictures: int
    runs: tuple[str, ...]
    accuracies: tuple[float, ...]
    interval: tuple[float, float]

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float | None:
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else None


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """`judged`: validation pictures. `equal`: what all runs have alike, steps or epochs. `answer`: None, while fewer
    than three shares are done."""

    path: Path
    dataset: str
    model: str
    recipe: str
    judged: int
    equal: Equal
    points: tuple[Point, ...]
    answer: Extrapolation | None
    complete: bool

    def to_plain(self) -> dict[str, Any]:
        """For learning-curve.json and --json."""
        return {
            "dataset": self.dataset,
            "model": self.model,
            "recipe": self.recipe,
            "validation_pictures": self.judged,
            "equal": self.equal,
            "points": [
                {
                    "percent": point.percent,
                    "pictures": point.pictures,
                    "accuracy": point.mean,
                    "interval": list(point.interval),
                    "deviation": point.deviation,
                    "runs": [
                        {"run": run, "accuracy": accuracy}
                        for run, accuracy in zip(point.runs, point.accuracies, strict=True)
                    ],
                }
                for point in self.points
            ],
            "answer": asdict(self.answer) if self.answer else None,
            "complete": self.complete,
        }


def learn_curve(
    source: str | Path | Dataset,
    *,
    shares: Sequence[float] = (25, 50, 100),
    seeds: int = 3,
    equal: Equal = "steps",
    out: str | Path | None = None,
    model: str | None = None,
    recipe: str | Path | None = None,
    epochs: float | None = None,
    minutes: float | None = None,
    seed: int = 0,
    weights: str | Path | None = None,
    distort: Sequence[str] = (),
    no_distort: Sequence[str] = (),
    policy: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    workers: int | None = None,
    quiet: bool | Literal["progress"] = False,
) -> LearningCurve:
    """Train on `shares` per cent of each class's training pictures, `seeds` times each, judge all on the validation
    pictures, and say whether more pictures would help.

    A share's pictures are a function of their ids alone, and lie within those of every larger share; the seeds decide
    initial weights, order and distortions. `equal`: all runs take as many `steps` as the whole set does in its epochs
    (so that they differ in pictures only), or as many `epochs` (so that small shares are trained for a shorter time).
    With `minutes`, the first run takes that long and the others as many steps (not to be had with equal `epochs`).
    `out`: a folder for the runs, `learning-curve.json`, `.csv`, `.png` and `.svg`; runs that are there already are not
    trained again, unfinished ones are gone on with.

    Raises: UsageError, for shares or seeds that cannot be; RunError, where there are no validation pictures, or `out`
    holds runs with other options; and as `train`.
    """
    percents = _checked(shares, seeds)
    if epochs is not None and minutes is not None:
        raise UsageError("both epochs and minutes were given; give the one that should decide")
    if "seed" in (options or {}):
        raise UsageError(
            "options hold a seed; give the first of them as --seed (in Python, seed=), the others follow it"
        )
    console = Console(quiet=quiet)

    def say(text: str) -> None:
        console.handle(Notice(text=text))

    dataset = dataset_for(source, notice=say, progress=console.progress("building"))
    if not has_validation(dataset):
        raise RunError(
            "a learning curve needs validation pictures to judge by; build the dataset with --validation 0.1"
        )
    named = {"epochs": epochs, "minutes": minutes}
    given = {**(options or {}), **{name: value for name, value in named.items() if value is not None}}
    if weights is not None:
        given["weights"] = str(weights)
    folder = Path(out) if out is not None else None
    if folder is not None and is_run(folder):
        raise RunError(f"{printable(folder)} is a single run; give another --out for a learning curve")
    split = dataset.split("train")
    counts = [len(share_members(split.labels, split.keys, percent / 100)) for percent in percents]
    for (smaller, few), (larger, many) in pairwise(zip(percents, counts, strict=True)):
        if few == many:
            raise UsageError(
                f"--shares: {smaller:g} and {larger:g} % keep equally many pictures, {few:,} of {len(split):,}; take shares that "
                "lie further apart"
            )

    def planned(changes: Mapping[str, Any]) -> Plan:
        return make_plan(
            dataset,
            model=model,
            recipe=recipe,
            distort=distort,
            no_distort=no_distort,
            overrides={**given, **changes},
        )

    plan = planned({})
    asked, stages = plan.options, stages_for(plan.options, plan.height, plan.width)
    if asked.minutes is not None and equal == "epochs":
        raise UsageError(
            "minutes fix a number of steps, the same for all shares; leave --equal epochs out, or give --epochs instead"
        )
    chosen = Policy.load(policy).to_plain() if policy else None
    folder = folder or _usual_folder(dataset, asked)
    todo = []
    for percent, count in zip(percents, counts, strict=True):
        changes = _stretched(asked, stages, len(split), count, equal)
        for number in range(seed, seed + seeds):
            path = folder / f"{percent:g}-percent" / f"seed-{number}"
            if is_run(path):
                wanted = planned({**changes, "seed": number})
                origin = wanted.initial.origin if wanted.initial else None
                refuse_other(path, dataset, wanted.options, share=percent / 100, policy=chosen, origin=origin)
            todo.append((percent, count, path, number, changes))

    # One that is there already, also of a larger share: by its steps all others go.
    first = next((path for _, _, path, _, _ in todo if is_run(path)), todo[0][2])
    done: dict[float, list[tuple[Path, Evaluation]]] = {}
    pictures = dict(zip(percents, counts, strict=True))
    curve = _curve(folder, dataset, asked, equal, pictures, done)
    for percent, count, path, number, changes in todo:
        say(f"{percent:g} % of the training pictures ({count:,}), seed {number}")
        if is_run(path):
            result = resume(path, device=None if device == "auto" else device, workers=workers, quiet=quiet)
        else:
            result = train(
                dataset,
                model=model,
                recipe=recipe,
                out=path,
                epochs=changes.get("epochs", asked.epochs) if asked.minutes is None else None,
                minutes=asked.minutes,
                seed=number,
                weights=weights,
                distort=distort,
                no_distort=no_distort,
                policy=policy,
                options={**(options or {}), **changes},
                device=device,
                workers=workers,
                share=percent / 100,
                paced_by=first if is_run(first) else None,
                audit=not done,  # once says it for all
                quiet=quiet,
            )
        if result.reason == "interrupted":
            break
        assert result.validation is not None
        done.setdefault(percent, []).append((path, result.validation))
        curve = _curve(folder, dataset, asked, equal, pictures, done)
        curve = replace(curve, complete=sum(map(len, done.values())) == len(todo))
        _write(curve)
        if Interrupts.received is not None:
            break  # the signal came too late for this run to stop
    return curve


def _stretched(
    options: Options, stages: Sequence[Sized], all_pictures: int, pictures: int, equal: Equal
) -> dict[str, Any]:
    """Options to change so that a run on fewer pictures takes as many steps of each stage; what is counted in epochs is
    stretched."""
    if equal == "epochs" or all_pictures == pictures:
        return {}
    wanted = steps_of(stages, epochs=options.epochs, pictures=all_pictures)
    # Epochs of the fewer pictures that the steps of each stage make.
    shown = [count / steps_per_epoch(pictures, stage.batch) for count, stage in zip(wanted, stages, strict=True)]
    factor = steps_per_epoch(all_pictures, options.batch) / steps_per_epoch(pictures, options.batch)
    changes: dict[str, Any] = {
        "validate_every": options.validate_every * factor,
        "checkpoint_every": options.checkpoint_every * factor,
    }
    if (frozen := options.fine_tuning.freeze_epochs) is not None:
        whole, part = (Course(stages, wanted, pictures=count) for count in (all_pictures, pictures))
        changes["fine_tuning.freeze_epochs"] = part.shown(whole.steps_for(frozen))
    if options.minutes is None:
        changes["epochs"] = sum(shown)
        if options.stages:
            changes["stages"] = [
                # By the scale that was asked for: by pixels, the shorter side may be rounded to another number.
                to_plain(replace(stage.asked, batch=stage.batch, share=part / sum(shown)))
                for stage, part in zip(stages, shown, strict=True)
            ]
    if isinstance(options.schedule, ExponentialStaircase):
        changes["schedule.epochs"] = options.schedule.epochs * factor
    return changes


def _checked(shares: Sequence[float], seeds: int) -> list[float]:
    if len(shares) < 2 or not all(0 < share <= 100 for share in shares) or len(set(shares)) < len(shares):
        given = ", ".join(f"{share:g}" for share in shares)
        raise UsageError(
            f"--shares: wanted at least two different percentages up to 100, such as 25,50,100; got {given}"
        )
    if seeds < 1:
        raise UsageError(f"--seeds: wanted at least 1, got {seeds}")
    return sorted(shares)


def _usual_folder(dataset: Dataset, options: Options) -> Path:
    return Path("runs") / f"{dataset.info.name}-{options.model.rpartition(':')[2]}-{options.recipe}-learning-curve"


def _curve(
    folder: Path,
    dataset: Dataset,
    options: Options,
    equal: Equal,
    counts: Mapping[float, int],
    done: Mapping[float, Sequence[tuple[Path, Evaluation]]],
) -> LearningCurve:
    judged = dataset.info.splits["validation"].count
    points = []
    for percent, results in done.items():
        accuracies = tuple(float(evaluation.accuracy) for _, evaluation in results)
        points.append(
            Point(
                percent=percent,
                pictures=counts[percent],
                runs=tuple(str(path.relative_to(folder)) for path, _ in results),
                accuracies=accuracies,
                interval=accuracy_interval(accuracies, judged),
            )
        )
    answer = None
    if len(done) > 2:
        wrong = [np.stack([~evaluation.right for _, evaluation in results]) for results in done.values()]
        frequent = np.bincount(dataset.split("validation").labels).max() / judged
        answer = extrapolate([counts[percent] for percent in done], wrong, guessing=float(frequent))
    return LearningCurve(
        path=folder,
        dataset=dataset.info.name,
        model=options.model,
        recipe=options.recipe,
        judged=judged,
        equal=equal,
        points=tuple(points),
        answer=answer,
        complete=False,
    )


def _write(curve: LearningCurve) -> None:
    from deeper.runs.learning_curve_figure import draw

    files.write_json(curve.path / "learning-curve.json", curve.to_plain())
    lines = [files.csv_line(["percent", "pictures", "seed", "accuracy"])]
    for point in curve.points:
        for run, accuracy in zip(point.runs, point.accuracies, strict=True):
            seed = run.rpartition("-")[2]
            lines.append(files.csv_line([f"{point.percent:g}", point.pictures, seed, f"{accuracy:.6f}"]))
    files.write_text(curve.path / "learning-curve.csv", "".join(lines))
    for ending in ("png", "svg"):
        draw(curve, curve.path / f"learning-curve.{ending}")
