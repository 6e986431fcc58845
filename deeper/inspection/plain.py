"""An inspection as plain data: what `--json` prints. Keys are described in docs/json.md."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from deeper.inspection.result import Cause, Collision, Evidence, Inspection, Wrong

# Collisions of one distortion that are listed.
LISTED = 100


def to_plain(inspection: Inspection) -> dict[str, Any]:
    """Everything but the pictures themselves. No NaN, no infinity."""
    evaluation, judge = inspection.evaluation, inspection.judge
    return {
        "run": inspection.run,
        "model": inspection.model,
        "dataset": inspection.dataset,
        "split": inspection.split,
        "diagnosis_only": inspection.diagnosis_only,
        "verdict": inspection.verdict,
        "notes": list(inspection.notes),
        **evaluation.summary(),
        "before_correction": evaluation.before_correction,
        "judge": _fields(judge) if judge else None,
        "verdicts": [_evidence(one) for one in inspection.evidence],
        "slices": [_fields(one) for one in inspection.slices],
        "against": _fields(inspection.against) if inspection.against else None,
        "policy": inspection.policy.to_plain() if inspection.policy else None,
        "policy_path": inspection.policy_path,
        "errors": [_wrong(one) for one in inspection.wrong],
        "seconds": dict(inspection.seconds),
    }


def _evidence(one: Evidence) -> dict[str, Any]:
    return {
        "distortion": one.distortion,
        "description": one.description,
        "method": one.method,
        "tries": one.tries,
        "judge_loss": one.loss,
        "errors": one.errors,
        "judged": one.judged,
        "collided": one.collided,
        "collided_interval": list(one.collided_interval),
        "correct": one.correct,
        "correct_collided": one.correct_collided,
        "correct_interval": list(one.correct_interval),
        "placebo_collided": one.placebo_collided,
        "placebos": [_fields(placebo) for placebo in one.placebos],
        "rescued": one.rescued,
        "rescued_interval": list(one.rescued_interval),
        "placebo_rescued": one.placebo_rescued,
        "placebo_rescued_interval": list(one.placebo_rescued_interval),
        "correct_rescued": one.correct_rescued,
        "correct_rescued_interval": list(one.correct_rescued_interval),
        "p_value": one.p_value,
        "adjusted_p_value": one.adjusted_p_value,
        "accused": one.accused,
        "pairs": [_fields(pair) for pair in one.pairs],
        "collisions": [_collision(collision) for collision in one.collisions[:LISTED]],
        "cause": _cause(one.cause) if one.cause else None,
        "verdict": one.verdict,
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return {**_fields(cause), "significant": cause.significant}


def _collision(one: Collision) -> dict[str, Any]:
    return {
        "id": one.id,
        "label": one.label,
        "predicted": one.predicted,
        "undone": one.undone,
        "judge_probability": one.judge_probability,
        "neighbour": one.neighbour_id,
    }


def _wrong(one: Wrong) -> dict[str, Any]:
    return {
        "id": one.id,
        "label": one.label,
        "predicted": one.predicted,
        "probability": one.probability,
        "true_probability": one.true_probability,
        "judged": one.judged,
        "judge_probability": one.judge_probability,
        "collided_by": list(one.collided_by),
        "rescued_by": list(one.rescued_by),
    }


def _fields(value: Any) -> dict[str, Any]:
    """A dataclass of plain fields, its tuples as lists."""
    plain = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: list(item) if isinstance(item, tuple) else item for name, item in plain.items()}
