"""The third question: do this run's errors go away in runs that are trained without the distortion?

Over this run's errors: the sum of P(wrong | with) − P(wrong | without), each estimated from K runs per arm that are none
of them this run, so that errors which go away by retraining alone count on neither side. The interval is bootstrapped
over runs and pictures; whether the arms differ in all their errors is told by dealing the *runs* anew in every way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeper import draws
from deeper.errors import UsageError, nearest, printable
from deeper.evaluation import Evaluation
from deeper.inspection import verdicts
from deeper.inspection.evidence import LEVEL
from deeper.inspection.result import Cause, Interval
from deeper.inspection.subject import Subject, open_subject
from deeper.runs import Run
from deeper.runs.ablation import LEAST_SEEDS, arm
from deeper.statistics import holm, permutation_test

RESAMPLES, _CUT = 2_000, 100


@dataclass(frozen=True)
class Ablation:
    """What was asked for, checked before any work is done. `names` is empty when nothing was. `folder`: the run's own
    `ablation/`, so that whatever is inspected next finds the runs there."""

    names: tuple[str, ...]
    seeds: int
    steps: int | None
    folder: Path

    @staticmethod
    def of(subject: Subject, names: Sequence[str], *, seeds: int, steps: int | None) -> Ablation:
        """Raises: UsageError, for a distortion that the run was not trained with, a bundle, or too few runs."""
        if not names:
            return Ablation((), seeds, steps, subject.path)
        if subject.run is None:
            raise UsageError(
                f"{printable(subject.path)} is a bundle and cannot be trained again; give its run to --ablate"
            )
        known = [one.name for one in subject.distortions]
        for name in names:
            if name not in known:
                where = nearest(name, known) if known else "; it was trained without any"
                raise UsageError(f"--ablate {printable(name)}: the run was not trained with it{where}")
        if seeds < LEAST_SEEDS:
            raise UsageError(f"--seeds {seeds}: wanted at least {LEAST_SEEDS} runs per arm")
        asked = len(dict.fromkeys(names))
        if asked * 2 / comb(2 * seeds, seeds) >= LEVEL:
            enough = next(count for count in range(seeds, 100) if asked * 2 / comb(2 * count, count) < LEVEL)
            raise UsageError(
                f"--ablate with {asked} distortions and {seeds} runs per arm can show nothing, whatever comes out: name "
                f"fewer, or give --seeds {enough}"
            )
        if steps is not None and steps < 1:
            raise UsageError(f"--steps {steps}: wanted at least 1")
        return Ablation(tuple(dict.fromkeys(names)), seeds, steps, subject.path / "ablation")


def causes(
    subject: Subject, evaluation: Evaluation, asked: Ablation, notice: Callable[[str], None]
) -> dict[str, Cause]:
    """Train what is not there yet, judge all arms on the inspected pictures, compare. By distortion."""
    assert subject.run is not None

    def errors_of(without: str | None) -> NDArray[np.bool_]:
        assert subject.run is not None
        runs = arm(subject.run, asked.folder, without=without, seeds=asked.seeds, steps=asked.steps, notice=notice)
        return np.stack([_wrong(subject, run) for run in runs])

    kept = errors_of(None)
    found = {}
    for name in asked.names:
        cause = compare_arms(
            name,
            kept,
            errors_of(name),
            ~evaluation.right,
            steps=asked.steps or subject.run.config.steps,
            continued=asked.steps is not None,
        )
        found[name] = cause
    return adjusted(found, int((~evaluation.right).sum()))


def adjusted(found: Mapping[str, Cause], errors: int) -> dict[str, Cause]:
    """The same with p-values adjusted for how many distortions were tried, and verdicts by these."""
    p_values = holm([one.p_value for one in found.values()])
    causes = {
        name: replace(one, adjusted_p_value=p_value)
        for (name, one), p_value in zip(found.items(), p_values, strict=True)
    }
    return {name: replace(one, verdict=verdicts.of_cause(one, errors)) for name, one in causes.items()}


def _wrong(subject: Subject, run: Run) -> NDArray[np.bool_]:
    """Which of the inspected pictures another run reads wrong. bool N."""
    other = open_subject(
        run.path, subject.dataset, split=subject.chosen.name, checkpoint=None, device="auto", model=subject.custom
    )
    return ~other.evaluated().right


def compare_arms(
    distortion: str,
    with_it: NDArray[np.bool_],
    without: NDArray[np.bool_],
    errors: NDArray[np.bool_],
    *,
    steps: int,
    continued: bool = False,
) -> Cause:
    """`with_it`, `without`: bool K × N, which pictures each run reads wrong. `errors`: bool N, those of the inspected
    run."""
    fewer, fewer_interval = _difference(with_it[:, errors], without[:, errors], "errors")
    less, less_interval = _difference(with_it[:, ~errors], without[:, ~errors], "elsewhere")
    totals = with_it.sum(1), without.sum(1)
    p_value = permutation_test(totals[0].tolist(), totals[1].tolist())
    cause = Cause(
        kind="removal effect" if continued else "cause",
        distortion=distortion,
        seeds=len(with_it),
        steps=steps,
        fewer=fewer,
        fewer_interval=fewer_interval,
        elsewhere=0.0 - less,
        elsewhere_interval=(0.0 - less_interval[1], 0.0 - less_interval[0]),
        errors_with=tuple(int(count) for count in totals[0]),
        errors_without=tuple(int(count) for count in totals[1]),
        p_value=p_value,
        adjusted_p_value=p_value,
        accuracy_with=1 - float(with_it.mean()),
        accuracy_without=1 - float(without.mean()),
        verdict="",
    )
    return replace(cause, verdict=verdicts.of_cause(cause, int(errors.sum())))


def _difference(with_it: NDArray[np.bool_], without: NDArray[np.bool_], purpose: str) -> tuple[float, Interval]:
    """Sum over the pictures of the difference of two shares of runs, and its percentile bootstrap interval: runs are drawn
    anew in each arm, and pictures get Poisson weights, which is drawing them anew without a fixed number."""
    difference = float(with_it.mean(0).sum() - without.mean(0).sum())
    # A picture that every run reads right adds nothing, however often it is drawn.
    live = with_it.any(0) | without.any(0)
    first, second = with_it[:, live].astype(np.float32), without[:, live].astype(np.float32)
    generator = np.random.default_rng(draws.derive(0, 0, f"bootstrap:{purpose}"))
    sums = []
    for _ in range(RESAMPLES // _CUT):
        shares = [
            generator.multinomial(len(part), np.full(len(part), 1 / len(part)), _CUT) @ part / len(part)
            for part in (first, second)
        ]
        weights = generator.poisson(1.0, (_CUT, int(live.sum())))
        sums.append(((shares[0] - shares[1]) * weights).sum(1))
    low, high = np.quantile(np.concatenate(sums), [0.025, 0.975])
    return difference, (float(low), float(high))
