"""`inspect`: a run, the judge and the pictures brought together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeper.audit.judge import judge_for
from deeper.batches import Pictures
from deeper.distortions import Policy
from deeper.errors import printable
from deeper.evaluation import Evaluation, compare
from deeper.inspection import verdicts
from deeper.inspection.cause import Ablation, causes
from deeper.inspection.clock import Clock
from deeper.inspection.examining import Examined, examine, no_judge, no_question, unexamined
from deeper.inspection.gallery import looked_at, shown_size
from deeper.inspection.reading import Judge
from deeper.inspection.result import Against, Cause, Evidence, Inspection, JudgeFacts, Slice
from deeper.inspection.slices import find_slices
from deeper.inspection.subject import HELD_OUT, Subject, open_subject
from deeper.inspection.suggestion import without
from deeper.inspection.suspects import leak_warning
from deeper.inspection.writing import POLICY, refuse_strangers, write
from deeper.records import Dataset
from deeper.runs import evaluate_run, knows

_TEST = "diagnosis only: choosing by this spends the test set"
_BLIND = "No Grad-CAM: no layer of the network has a map with places to tell apart."
_NOTHING_TO_ABLATE = "No run was trained for --ablate: there is no error whose cause could be asked for."


def inspect(
    run: str | Path,
    source: str | Path | Dataset | None = None,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    ablate: Sequence[str] = (),
    seeds: int = 5,
    steps: int | None = None,
    against: str | Path | None = None,
    grad_cam: bool = False,
    checkpoint: str | int | None = None,
    device: str = "auto",
    model: str | None = None,
    judge: Judge | None = None,
    progress: Callable[[int, int], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> Inspection:
    """Find out why a run errs: which of its training distortions made a picture look like another class.

    `run`: a run folder or a bundle. `source`: a dataset or source, the run's own when None. `split`: validation when
    None; on `test` the result is a diagnosis, not to be chosen by. `out`: a folder for
    `inspection.json`, pictures and the suggested `policy.toml`; of an earlier inspection they are replaced. `ablate`: names of distortions; `seeds` fresh runs are trained with and without each (into the run's
    `ablation/`), or with `steps` continued from the run's weights. `against`: another run, judged on
    the same pictures. `grad_cam`: show where the network looked, of the 200 surest errors. `judge`: the dataset's own when None, trained when it is not at hand. `progress(done, total)`:
    the judge's training steps. `notice`: one line for whatever the user should know.

    Raises: RunError, BundleError, DatasetError, SourceError; UsageError, for classes that do not match, a split that is
    not there, or an ablation of what was not in training.
    """
    clock = Clock()
    place = None if out is None else Path(out)
    if place is not None:
        refuse_strangers(place)
    subject = open_subject(run, source, split=split, checkpoint=checkpoint, device=device, model=model)
    asked = Ablation.of(subject, ablate, seeds=seeds, steps=steps)
    evaluation = subject.evaluated()
    clock.lap("evaluation")
    reason = no_question(subject, evaluation) or ("" if judge is not None else no_judge(subject))
    if not reason and judge is None:
        judge = judge_for(subject.judged, progress=progress, notice=notice)
    clock.lap("judge")
    if judge is None or reason:
        found = unexamined(subject, evaluation, reason)
    else:
        found = examine(subject, evaluation, judge, clock)
    wrong = found.wrong
    notes = _notes(subject, found, reason)
    if grad_cam and wrong:
        wrong = looked_at(subject, subject.chosen.opened(subject.preprocess, 0), wrong)
        notes += [_BLIND] if wrong[0].attention is None else []
    clock.lap("pictures")
    evidence = found.evidence
    if asked.names and not wrong:
        notes.append(_NOTHING_TO_ABLATE)
    elif asked.names:
        by_name = causes(subject, evaluation, asked, notice or _unheard)
        evidence = [_with_cause(one, by_name) for one in evidence]
        harmless = [name for name, cause in by_name.items() if cause.harmless]
        found = replace(found, policy=without(found.policy, harmless, subject.policy))
        clock.lap("ablation")
    diagnosis = subject.chosen.name == "test"
    policy = None if diagnosis else found.policy
    written = place / POLICY if place is not None and policy is not None else None
    if found.policy is not None:
        advice = _advice(subject, found.policy, str(written or POLICY), diagnosis)
        evidence = [replace(one, verdict=advice(one)) if one.accused else one for one in evidence]
    result = Inspection(
        run=str(run),
        model=subject.model,
        dataset=str(subject.dataset.path),
        split=subject.chosen.name,
        diagnosis_only=diagnosis,
        evaluation=evaluation,
        judge=found.facts,
        evidence=tuple(evidence),
        wrong=wrong,
        slices=_slices(subject, evaluation, judge),
        against=_against(subject, evaluation, against, device, model) if against is not None else None,
        policy=policy,
        policy_path=str(written) if written else None,
        verdict=" ".join(
            filter(
                None,
                (
                    verdicts.of_all(evidence, len(wrong), reason or _weakness(found.facts)),
                    verdicts.of_backlog(evaluation.accuracy, evaluation.interval[1], found.facts)
                    if _taught_alike(subject)
                    else "",
                    f"({_TEST}.)" if diagnosis else "",
                ),
            )
        ),
        notes=tuple(notes),
        seconds=clock.seconds,
    )
    clock.lap("rest")
    if place is not None:
        write(result, place)
    return result


def _advice(subject: Subject, policy: Policy, path: str, diagnosis: bool) -> Callable[[Evidence], str]:
    """The verdict of an accused distortion with what to do about it: of test pictures, with where to decide that."""

    def of(one: Evidence) -> str:
        if diagnosis:
            advice = verdicts.of_diagnosis(policy, one.distortion, subject.classes, str(subject.path))
        else:
            advice = verdicts.of_policy(policy, one.distortion, subject.classes, path)
        return f"{one.verdict} {advice}".strip()

    return of


def _slices(subject: Subject, evaluation: Evaluation, judge: Judge | None) -> tuple[Slice, ...]:
    chosen = subject.chosen
    fit = judge.preprocess if judge is not None else shown_size(subject.preprocess)
    return find_slices(
        evaluation.right,
        evaluation.labels,
        chosen.ids,
        chosen.heights * chosen.widths,
        _brightness(chosen.opened(fit, None), len(chosen.ids)),
        subject.classes,
    )


def _brightness(pictures: Pictures, count: int) -> NDArray[np.float64]:
    rows = np.arange(count)
    cuts = [rows[first : first + 500] for first in range(0, count, 500)]
    return np.concatenate([pictures.take(cut).mean((1, 2, 3), dtype=np.float64) / 255 for cut in cuts])


def _with_cause(one: Evidence, found: Mapping[str, Cause]) -> Evidence:
    cause = found.get(one.distortion)
    if cause is None:
        return one
    if cause.explains and not one.accused:
        # Fresh runs are stronger evidence than looks, and come first.
        return replace(one, cause=cause, verdict=f"{cause.verdict} By looks alone: {verdicts.lowered(one.verdict)}")
    # What does more good than harm is not accused by what its errors look like.
    accused = one.accused and not cause.harmless
    return replace(one, cause=cause, accused=accused, verdict=f"{one.verdict} {cause.verdict}")


def _against(subject: Subject, evaluation: Evaluation, other: str | Path, device: str, model: str | None) -> Against:
    place = subject.dataset
    if subject.chosen.name == HELD_OUT:
        theirs = open_subject(other, place, split=None, checkpoint=None, device=device, model=model).evaluated()
    else:
        theirs = evaluate_run(other, place, split=subject.chosen.name, device=device, model=model)
    return _beside(str(other), evaluation, theirs)


def _beside(other: str, evaluation: Evaluation, theirs: Evaluation) -> Against:
    pair = compare({"this": evaluation, "other": theirs}).pairs[0]
    ours, others = evaluation.right, theirs.right
    ids = np.array(evaluation.ids, dtype=object)
    return Against(
        run=other,
        accuracy=theirs.accuracy,
        mended=tuple(ids[~ours & others]),
        broken=tuple(ids[ours & ~others]),
        both_wrong=pair.neither,
        difference=pair.difference,
        interval=pair.interval,
        p_value=pair.p_value,
    )


def _taught_alike(subject: Subject) -> bool:
    """Whether the run could learn from all pictures that the judge learns from: else it may know less for that alone."""
    if subject.run is None or subject.run.config.dataset_hash != subject.judged.info.hash:
        return False
    return subject.run.config.share is None


def _weakness(judge: JudgeFacts | None) -> str:
    return verdicts.weakness(judge) if judge is not None and judge.weak else ""


def _notes(subject: Subject, found: Examined, reason: str) -> list[str]:
    judge = found.facts
    if judge is not None:
        notes = [f"Judge: {judge.description}; {judge.accuracy_here:.2%} on these pictures."]
    else:
        notes = [f"No judge was asked: {reason}."]
    if subject.chosen.name == "test":
        notes.append(f"Test pictures: {_TEST}.")
    if learned := _of_learned(subject, judge is not None):
        notes.append(learned)
    warning = leak_warning(subject.dataset.path, subject.chosen.name)
    if warning and knows(subject.path, subject.dataset):
        notes.append(f"{warning[0].upper()}{warning[1:]}.")
    if found.examined < len(found.wrong):
        notes.append(f"{found.examined:,} of {len(found.wrong):,} errors were examined, drawn at random.")
    for one in found.evidence:
        loose = [placebo.name for placebo in one.placebos if not placebo.matched]
        if loose:
            notes.append(
                f"{verdicts.plainly(one.distortion)}: no placebo costs the judge as much; the nearest were taken "
                f"({', '.join(verdicts.plainly(name) for name in loose)})."
            )
    if not subject.distortions:
        notes.append(f"{printable(subject.path)} was trained without distortions.")
    return notes


def _of_learned(subject: Subject, judged: bool) -> str:
    """How many of the inspected pictures the run trained on; empty for none. `judged`: whether a judge read them."""
    if subject.run is None or subject.run.config.dataset_hash != subject.judged.info.hash:
        return ""  # what it was trained on is not at hand
    places, count = subject.chosen.training, len(subject.chosen.training)
    learned = int(subject.trained[places[places >= 0]].sum())
    if not learned:
        return ""
    which = "these pictures" if learned == count else f"{learned:,} of these {count:,} pictures"
    readings = "; the judge's readings are out-of-fold" + ("" if learned == count else " there") if judged else ""
    return f"The run trained on {which}{readings}."


def _unheard(text: str) -> None:
    """What becomes of notices where nobody listens."""
