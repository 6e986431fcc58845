"""The judge's part of an inspection: evidence on each distortion, its pictures, and the policy that follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deeper import draws
from deeper.audit.fitting import unjudgeable
from deeper.audit.options import JudgeOptions
from deeper.batches import Pictures
from deeper.distortions import Policy
from deeper.evaluation import Evaluation
from deeper.inspection import verdicts
from deeper.inspection.clock import Clock
from deeper.inspection.collision import Cases
from deeper.inspection.evidence import compared, unjudged, weigh
from deeper.inspection.gallery import Shown, shown_size, wrong_answers
from deeper.inspection.library import Library
from deeper.inspection.placebos import Bench
from deeper.inspection.reading import Judge, Reader
from deeper.inspection.rescue import rescued, with_rescue
from deeper.inspection.result import Evidence, JudgeFacts, Wrong
from deeper.inspection.subject import Subject
from deeper.inspection.suggestion import suggested
from deeper.inspection.tries import changes

# Of more errors a drawn sample is examined, so that time and memory stay bounded; all are listed.
MOST_ERRORS = 1_000
# Correct pictures that are tried as a control, and those of them on which the cost of transforms is measured.
CONTROLS, BENCH = 400, 200

Take = Callable[[NDArray[np.int64]], NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Examined:
    """What the judge's readings gave. `facts`: None without a judge; `examined`: how many errors were looked into;
    `policy`: what would follow, whatever the split."""

    facts: JudgeFacts | None
    evidence: list[Evidence]
    wrong: tuple[Wrong, ...]
    examined: int
    policy: Policy | None


def no_question(subject: Subject, evaluation: Evaluation) -> str:
    """Why there is nothing to ask a judge, empty where there is."""
    if evaluation.right.all():
        return "there are no errors to explain"
    if not subject.distortions:
        return "the run was trained without distortions"
    if not any(changes(one, subject.dataset.info.channels) for one in subject.distortions):
        return "no distortion in training can change these pictures"
    return ""


def no_judge(subject: Subject) -> str:
    """Why no judge can be had, empty where one can."""
    return unjudgeable(subject.judged, JudgeOptions())


def unexamined(subject: Subject, evaluation: Evaluation, reason: str) -> Examined:
    """What is left without a judge: the errors, and for each distortion that nothing is known. `reason`: why."""
    errors = int((~evaluation.right).sum())
    evidence = [
        replace(one, verdict=verdicts.of_unjudged(one, reason))
        for one in unjudged(subject.distortions if errors else (), errors, subject.dataset.info.channels)
    ]
    pictures = subject.chosen.opened(shown_size(subject.preprocess), 0)
    nothing = Cases.none(subject.preprocess)
    return Examined(None, evidence, wrong_answers(subject, evaluation, pictures, nothing, (), ()), errors, None)


def examine(subject: Subject, evaluation: Evaluation, judge: Judge, clock: Clock) -> Examined:
    """Weigh every distortion of the training by the judge's readings."""
    reader = Reader(judge, subject.judge_labels, len(subject.classes))
    chosen = subject.chosen
    pictures = chosen.opened(judge.preprocess, None)
    readings = _readings(reader, pictures.take, chosen.training)
    errors, correct = _cases(subject, evaluation, readings, pictures.take)
    facts = JudgeFacts(
        description=judge.describe(),
        accuracy=judge.accuracy,
        interval=judge.interval,
        accuracy_here=float((readings.argmax(1) == chosen.labels).mean()),
        balanced_accuracy=judge.balanced_accuracy,
        weak=judge.weak,
        seconds=clock.seconds["judge"],
    )
    library = Library(subject.judged, subject.judge_labels, reader, subject.trained)
    kept = slice(0, BENCH)
    bench = Bench(reader, correct.images[kept], correct.labels[kept], correct.training[kept], subject.fill)
    trained = subject.distortions if len(errors) else ()
    weighed = [weigh(subject, one, reader, errors, correct, bench, library) for one in trained]
    clock.lap("collision")
    # Of the errors alone, which may be large pictures.
    own = chosen.opened(subject.preprocess, 0)
    rescues = [rescued(subject.predict, own, one, errors, correct) for one in weighed]
    clock.lap("rescue")
    fit = shown_size(subject.preprocess)
    inspected: Pictures = own if fit == subject.preprocess else chosen.opened(fit, 0)
    shown = Shown(subject, fit, inspected, reader, library)
    by_name = {one.distortion.name: number for number, one in enumerate(weighed)}
    evidence = []
    for one in compared(weighed, errors, correct, subject.classes):
        number = by_name[one.distortion]
        added = replace(
            with_rescue(one, rescues[number]),
            collisions=shown.collisions(weighed[number], errors),
            accused=one.accused and not facts.weak,
        )
        evidence.append(replace(added, verdict=verdicts.of_evidence(added, facts)))
    wrong = wrong_answers(subject, evaluation, inspected, errors, weighed, [one.errors for one in rescues])
    policy = suggested(subject, reader, library, evidence)
    return Examined(facts, evidence, wrong, len(errors), policy)


def _readings(reader: Reader, take: Take, training: NDArray[np.int64]) -> NDArray[np.float32]:
    """The judge's, of all inspected pictures, a cut at a time. float32 N × K."""
    rows = np.arange(len(training))
    cuts: Sequence[NDArray[np.int64]] = [rows[first : first + 500] for first in range(0, len(rows), 500)]
    return np.concatenate([reader.probabilities(take(cut), training[cut]) for cut in cuts])


def _cases(subject: Subject, evaluation: Evaluation, readings: NDArray[np.float32], take: Take) -> tuple[Cases, Cases]:
    """The errors, and correct pictures with the run's second choice in the place of the wrongly given class."""
    order = draws.order(0, 0, draws.keys(subject.chosen.ids))
    right = evaluation.right[order]
    ranked = np.argsort(-evaluation.logits, axis=1, kind="stable")
    judged = readings.argmax(1)
    several = len(subject.classes) > 1

    def cases(rows: NDArray[np.int64], choice: int) -> Cases:
        return Cases(
            rows,
            take(rows) if len(rows) else take(np.arange(1))[:0],
            evaluation.labels[rows],
            ranked[rows, choice],
            subject.chosen.training[rows],
            judged[rows],
            readings[rows, evaluation.labels[rows]],
        )

    errors = np.sort(order[~right][:MOST_ERRORS])
    return cases(errors, 0), cases(np.sort(order[right][: CONTROLS if several else 0]), 1 if several else 0)
