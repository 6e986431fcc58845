"""Evidence in sentences that a person understands. Only a cause "explains"; all else "looks like"."""

from __future__ import annotations

from collections.abc import Sequence

from deeper.distortions import Policy
from deeper.errors import printable, typed
from deeper.inspection.result import Cause, Evidence, Interval, JudgeFacts

# How a picture is described once the distortion is undone, and what training with it may be called.
_UNDONE = {
    "horizontal_flip": "once flipped left to right",
    "vertical_flip": "once flipped top to bottom",
    "quarter_turns": "once turned by a quarter or more",
    "rotation": "once rotated",
    "scale": "once scaled",
    "shear": "once slanted",
    "translation": "once moved",
    "brightness": "once made lighter or darker",
    "contrast": "with another contrast",
    "saturation": "with another saturation",
    "hue": "with another hue",
}
_PAIRS, _CLASSES = 4, 12
# How a verdict begins that accuses nobody, though there was somebody to look.
_SHRUG = "Not enough evidence: "


def plainly(name: str) -> str:
    """A distortion's name for people: `horizontal_flip` → "horizontal flip"."""
    return name.replace("_", " ")


def counts(interval: Interval, total: int) -> str:
    """An interval of a share as whole counts: "16–32"."""
    return f"{round(interval[0] * total)}–{round(interval[1] * total)}"


def p_text(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def weakness(judge: JudgeFacts) -> str:
    """Why a weak judge's readings carry no verdict."""
    right, told = judge.accuracy, ""
    if judge.balanced_accuracy < right:
        right, told = judge.balanced_accuracy, ", each class counting the same"
    return f"the judge is right on only {right:.0%} of training pictures that it did not learn from{told}"


def of_evidence(one: Evidence, judge: JudgeFacts) -> str:
    """One distortion's sentence, without its cause."""
    name = plainly(one.distortion)
    if one.errors == 0:
        return f"No errors to look at, so nothing speaks against the {name}."
    if one.method == "none":
        return f"The {name} cannot change grey pictures."
    if judge.weak:
        return f"Not enough evidence on the {name}: {weakness(judge)}."
    if one.distortion in _UNDONE:
        like = f"the predicted class {_UNDONE[one.distortion]}"
    else:
        like = f"training pictures of the predicted class after the {name}"
    seen = (
        f"{one.collided} of {one.errors} errors look like {like} "
        f"({counts(one.collided_interval, one.errors)}); placebos {_placebos(one)}"
    )
    if one.accused:
        # By what collides, whatever a placebo does there: a 2 is a 5 in either mirror.
        worst = sorted(one.pairs, key=lambda pair: (not pair.significant, -pair.collided, pair.placebo_collided))
        shown = ", ".join(f"{printable(pair.label, 30)}→{printable(pair.predicted, 30)}" for pair in worst[:_PAIRS])
        return f"{seen}. Worst: {shown}."
    return f"{_SHRUG}{seen} ({p_text(one.adjusted_p_value)})."


def of_unjudged(one: Evidence, reason: str) -> str:
    """One distortion's sentence where there is no judge."""
    name = plainly(one.distortion)
    if one.method == "none":
        return f"The {name} cannot change grey pictures."
    return f"Not enough evidence on the {name}: there is no judge ({reason})."


def _placebos(one: Evidence) -> str:
    if not one.placebos:
        return "none"
    fewest, most = one.placebos[-1].collided, one.placebos[0].collided
    return f"{most}" if fewest == most else f"{fewest}–{most}"


def of_cause(cause: Cause, errors: int) -> str:
    """What retraining (or continuing) without it showed."""
    name = plainly(cause.distortion)
    low, high = cause.fewer_interval
    fewer = f"{cause.fewer:.0f} of these {errors} errors fewer ({low:.0f}–{high:.0f})"
    new = cause.elsewhere
    elsewhere = (
        f"{new:.0f} new elsewhere" if new >= 0.5 else f"{-new:.0f} fewer elsewhere too" if new <= -0.5 else "none new"
    )
    tested = f"all errors {_mean(cause.errors_with):.1f} with it, {_mean(cause.errors_without):.1f} without ({p_text(cause.adjusted_p_value)})"
    times = {5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten"}.get(cause.seeds, str(cause.seeds))
    if cause.kind == "removal effect":
        how = f"Removal effect of the {name}, {times} continuations of {cause.steps:,} steps each way"
        return f"{how}: {fewer}, {elsewhere}; {tested}."
    if cause.significant:
        return (
            f"Retrained {times} times without it: the {name} explains {cause.fewer:.0f} of {errors} errors "
            f"({low:.0f}–{high:.0f}), {elsewhere}; accuracy would be about {cause.accuracy_without:.1%}; {tested}."
        )
    told = f"Retrained {times} times without it: {fewer}, {elsewhere}; {tested}"
    if cause.harmless:
        return f"{told}: without the {name} there are more errors in all, so it does more good than harm."
    return f"{told}: not enough to call the {name} a cause."


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


def of_policy(policy: Policy, distortion: str, classes: Sequence[str], path: str) -> str:
    """What to do about an accused distortion."""
    never = [name for name in classes if distortion in (policy.classes[name].never if name in policy.classes else ())]
    allowed = [name for name in classes if name not in never]
    name = plainly(distortion)
    command = f"`deeper train … --policy {typed(path)}`"
    if not never:
        return ""
    if not allowed:
        return f"Leave the {name} out for all classes: {command}."
    few, verb = (
        (allowed, f"Use the {name} only on") if len(allowed) <= len(never) else (never, f"Never use the {name} on")
    )
    shown = ", ".join(printable(one, 30) for one in few[:_CLASSES]) + (", …" if len(few) > _CLASSES else "")
    return f"{verb} {shown}: {command}."


def of_diagnosis(policy: Policy, distortion: str, classes: Sequence[str], run: str) -> str:
    """What an accused distortion harms, as test pictures show it, and where to decide what to do about it."""
    never = [name for name in classes if distortion in (policy.classes[name].never if name in policy.classes else ())]
    shown = ", ".join(printable(one, 30) for one in never[:_CLASSES]) + (", …" if len(never) > _CLASSES else "")
    harmed = f"It harms {shown}. " if never else ""
    return (
        f"{harmed}What to do about it is for validation pictures to say, `deeper inspect {typed(run)}`, or before "
        "training, `deeper audit DATASET`."
    )


def of_all(evidence: Sequence[Evidence], errors: int, no_judge: str = "") -> str:
    """The headline: the strongest accused distortion's verdict, or an honest shrug. `no_judge`: why there is none."""
    if errors == 0:
        return "No errors: nothing to explain."
    if not evidence:
        return "The run was trained without distortions: none of them can be behind its errors."
    accused = sorted((one for one in evidence if one.accused or caused(one)), key=lambda one: not caused(one))
    if not accused:
        first = evidence[0]
        if len(evidence) == 1:
            return first.verdict
        none = f"Not enough evidence against any of the {len(evidence)} distortions in training"
        if no_judge:
            return f"{none}: {no_judge}."
        looked = first.verdict.startswith(_SHRUG) and not any(one.cause for one in evidence)
        if looked and not any(one.collided for one in evidence):
            return f"{none}: by none of them does an error look like the predicted class."
        return f"{none}. Nearest, {plainly(first.distortion)}: {lowered(first.verdict)}"
    rest = [plainly(one.distortion) for one in accused[1:]]
    also = f" Also accused: {', '.join(rest)}." if rest else ""
    return f"{plainly(accused[0].distortion).capitalize()}: {accused[0].verdict}{also}"


def of_backlog(accuracy: float, upper: float, judge: JudgeFacts | None) -> str:
    """What to do where the judge knows more than the run, whose accuracy is at most `upper`; empty where it does not:
    then the pictures can be told apart, and distortions are not the first thing to look at."""
    if judge is None or judge.accuracy_here <= upper:
        return ""
    return (
        f"The judge, small networks, is right on {judge.accuracy_here:.1%} of these pictures, the run on {accuracy:.1%}: it "
        "has learned less than they allow. Train longer, or begin with a smaller network or size."
    )


def caused(one: Evidence) -> bool:
    """Whether fresh runs name it as a cause. What continuing a run shows is no accusation."""
    return one.cause is not None and one.cause.explains


def lowered(sentence: str) -> str:
    """A verdict as the second half of another sentence."""
    return sentence.removeprefix(_SHRUG)
