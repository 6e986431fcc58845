"""The audit: judge, sample, transform, read, decide."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from deeper.audit.judge import Judge, judge_for
from deeper.audit.looks import Look, look
from deeper.audit.options import JudgeOptions
from deeper.audit.result import Audit, Example, Finding, JudgeFacts
from deeper.audit.traffic import Reading, sureness, transformed
from deeper.audit.treatments import Treatment, grid
from deeper.audit.verdicts import Groups, drains, undecided_drain, worst_first
from deeper.batches import Pictures, open_pictures
from deeper.distortions import AnyDistortion
from deeper.distortions.sampling import Fill
from deeper.errors import UsageError, printable
from deeper.records import Dataset

# Training pictures of each class that are transformed, at most, and of all classes together. Most verdicts are clear
# then. Where turning is undecided, which is where a verdict matters most, a second look takes so many, or twice the
# class's part of all.
PER_CLASS, ALTOGETHER, SECOND_LOOK = 1500, 40_000, 6000
# Findings that are shown with pictures, and pictures of each.
SHOWN, EXAMPLES = 24, 5
# A class that the judge reads right more seldom is hardly ever seen to be entered.
_HALF = 0.5


def audit_dataset(
    dataset: Dataset,
    distortions: Sequence[AnyDistortion] = (),
    *,
    margin: float | None = None,
    per_class: int | None = None,
    fill: Fill = "border",
    seed: int = 0,
    judge_options: JudgeOptions | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> Audit:
    """Which distortions which classes of the training split can bear, by a judge that never saw a distortion.

    `distortions`: judged as training draws them; without any, all there are at several strengths. `margin`: excess
    traffic (0..1) that matters; None: 0.02 for classes of 1,000 pictures or more, 0.10 for smaller ones. `per_class`:
    at most so many pictures of each class. `progress(what, done, total)`.

    Raises: UsageError, for a margin outside (0, 1); DatasetError.
    """
    if margin is not None and not 0 < margin < 1:
        raise UsageError(f"margin {margin}; wanted a share between 0 and 1, such as 0.02 for 2 points")
    if per_class is not None and per_class < 1:
        raise UsageError(f"{per_class} pictures of each class; wanted at least 1")

    def shown(what: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(what, done, total)

    began = time.perf_counter()
    judge = judge_for(dataset, options=judge_options, progress=shown("training the judge"), notice=notice)
    judged = time.perf_counter()
    treatments = tuple(Treatment(distortion=one, mode="drawn") for one in distortions) or grid(dataset.info.channels)
    split = dataset.split("train")
    # Of a large split only what is read is decoded.
    limit = 0 if len(split) > 2 * ALTOGETHER else None
    pictures = open_pictures(split, judge.preprocess, memory_limit=limit)
    share = max(50, ALTOGETHER // len(dataset.classes))
    drained: list[str] = []
    looks = [
        _doubted(one, drained)
        for one in look(
            Reading(judge, pictures, sureness(judge), seed, fill),
            treatments,
            per_class=per_class or min(PER_CLASS, share),
            at_most=per_class or min(SECOND_LOOK, 2 * share),
            margin=margin,
            shown=shown,
        )
    ]
    findings = tuple(one for each in looks for one in each.findings)
    evidence = _evidence(judge, pictures, looks, findings, seed, fill)
    # Those of which the fewest classes are small.
    groups = min((one.groups for one in looks), key=lambda one: sum(one.small))
    return Audit(
        dataset=dataset.info.name,
        dataset_hash=dataset.info.hash,
        judge=JudgeFacts(
            description=judge.describe(), accuracy=judge.accuracy, interval=judge.interval, weak=judge.weak
        ),
        classes=dataset.classes,
        findings=findings,
        intervals=groups.intervals,
        evidence=evidence,
        notes=(*_notes(judge, dataset, groups), *drained),
        seconds={"judge": judged - began, "audit": time.perf_counter() - judged},
    )


def _doubted(one: Look, notes: list[str]) -> Look:
    """The same; what enters a drain is undecided, and noted."""
    drain = drains(one.findings)
    if drain is None:
        return one
    notes.append(
        f"{one.treatment.describe()}: most classes are read as {printable(drain, 40)} then; either that is what is left of "
        "any picture, or the judge's whim: undecided, look at some (deeper show-distortions)"
    )
    return replace(one, findings=undecided_drain(one.findings, drain))


def _notes(judge: Judge, dataset: Dataset, groups: Groups) -> tuple[str, ...]:
    notes = []
    if judge.weak:
        notes.append(f"the judge is weak ({judge.rightness}): it calls nothing safe, and may miss what is not")
    small = [dataset.classes[label] for label in groups.present if groups.small[label]]
    if small:
        notes.append(f"{len(small)} classes are too small for verdicts of their own and are judged together")
    blind = [dataset.classes[label] for label in groups.present if judge.recalls[label] < _HALF]
    if blind and not judge.weak:
        named = ", ".join(printable(name, 40) for name in blind[:5]) + (", …" if len(blind) > 5 else "")
        notes.append(f"the judge reads fewer than half of {named} right: what turns into that may go unseen")
    missing = len(dataset.classes) - len(groups.present)
    if missing:
        notes.append(f"{missing} classes have no training picture and are not judged")
    return tuple(notes)


def _evidence(
    judge: Judge,
    pictures: Pictures,
    looks: Sequence[Look],
    findings: Sequence[Finding],
    seed: int,
    fill: Fill,
) -> tuple[tuple[Finding, tuple[Example, ...]], ...]:
    """Pictures of the worst findings: those that enter the most entered class, the surest of them, read right before."""
    looked = {id(one): each for each in looks for one in each.findings}
    shown = []
    for one in worst_first(findings)[:SHOWN]:
        seen = looked[id(one)]
        groups, after = seen.groups, seen.readings
        assert one.class_name is not None and one.target is not None
        own, other = judge.classes.index(one.class_name), judge.classes.index(one.target)
        rows = np.flatnonzero((groups.labels == own) & (after.given == other))
        right = judge.correct[groups.positions[rows]]
        best = rows[np.lexsort((-after.probability[rows], ~right))][:EXAMPLES]
        where = groups.positions[best]
        images = pictures.take(where)
        treated = transformed(images, pictures.keys[where], seen.treatment, seed, fill)
        read = judge.out_of_fold[where].argmax(1)
        examples = tuple(
            Example(
                id=pictures.ids[int(position)],
                picture=images[row],
                transformed=treated[row],
                read_before=judge.classes[int(read[row])],
                read_after=one.target,
                probability=float(after.probability[best[row]]),
            )
            for row, position in enumerate(where)
        )
        shown.append((one, examples))
    return tuple(shown)
