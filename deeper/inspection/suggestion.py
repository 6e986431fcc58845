"""The policy that follows: accused distortions stay with the classes that keep their meaning under them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from deeper.distortions import ClassRule, Policy
from deeper.inspection.library import Library
from deeper.inspection.reading import Reader
from deeper.inspection.result import Evidence
from deeper.inspection.subject import Subject
from deeper.inspection.tries import Transform, transform_of

# Training pictures of each class that are distorted and read, and the share of them that may surely (with this
# probability) be read as another class. What merely becomes strange teaches no wrong meaning. Of MNIST flipped left to
# right, 4 % of the 0s, 1 % of the 1s and 8s surely read as another digit, 11 % of the 4s, over 50 % of all others.
SAMPLE, SURE, MAY_ENTER = 200, 0.9, 0.05


def suggested(subject: Subject, reader: Reader, library: Library, evidence: Sequence[Evidence]) -> Policy | None:
    """None where nothing is accused. A policy that the run was trained with stays in force."""
    accused = [one for one in evidence if one.accused]
    if not accused:
        return None
    never: dict[str, list[str]] = {}
    if subject.policy is not None:
        never = {name: list(rule.never) for name, rule in subject.policy.classes.items()}
    by_name = {one.name: one for one in subject.distortions}
    for one in accused:
        method = transform_of(by_name[one.distortion], subject.fill)
        hurt = {pair.predicted for pair in one.pairs if pair.significant}
        for label, name in enumerate(subject.classes):
            entered = _entering(reader, library, method, label) if name not in hurt else 1.0
            if entered > MAY_ENTER and one.distortion not in never.setdefault(name, []):
                never[name].append(one.distortion)
    return Policy(classes={name: ClassRule(never=tuple(rule)) for name, rule in never.items() if rule})


def without(policy: Policy | None, cleared: Collection[str], trained: Policy | None) -> Policy | None:
    """`policy` without the distortions that fresh runs have cleared; what the run was trained by stays in force."""
    if policy is None or not cleared:
        return policy
    before = trained.classes if trained is not None else {}
    rules = {}
    for name, rule in policy.classes.items():
        kept = before[name].never if name in before else ()
        never = tuple(one for one in rule.never if one not in cleared or one in kept)
        if never:
            rules[name] = ClassRule(never=never)
    return Policy(classes=rules) if rules and rules != dict(before) else None


def _entering(reader: Reader, library: Library, method: Transform, label: int) -> float:
    """Share of a class's training pictures, read right out-of-fold, that surely read as another class once distorted;
    the worst try counts."""
    members = library.members(label)[:SAMPLE]
    if not len(members):
        return 0.0
    images = library.pictures(members)
    right = reader.probabilities(images, members).argmax(1) == label
    if not right.any():
        return 1.0
    kept, positions = images[right], members[right]
    shares = []
    for number in range(method.tries):
        readings = reader.probabilities(method.forwards(kept, number), positions)
        shares.append(float(((readings.argmax(1) != label) & (readings.max(1) > SURE)).mean()))
    return max(shares)
