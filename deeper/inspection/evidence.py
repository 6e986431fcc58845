"""One distortion weighed: collisions of errors and of correct pictures, against matched placebos on the same errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deeper.distortions import AnyDistortion
from deeper.inspection.collision import Cases, Hits, collide
from deeper.inspection.library import Library
from deeper.inspection.placebos import LEAST, Bench, Matched, matched
from deeper.inspection.reading import Reader
from deeper.inspection.result import UNKNOWN, Evidence, Pair, Placebo
from deeper.inspection.subject import Subject
from deeper.inspection.tries import Forwards, Transform, Undone, changes, transform_of
from deeper.statistics import benjamini_hochberg, holm, mcnemar, wilson_interval

# A distortion is accused when it collides at least this often as the strongest placebo does, and significantly so.
RATIO, LEVEL = 1.5, 0.05
# Fewer errors of a pair could not differ significantly from a placebo whatever they did: they are shown, not tested, and
# do not dilute the others.
LEAST_PAIR = 6


@dataclass(frozen=True, eq=False)
class Weighed:
    """A distortion's evidence before it is compared with that of the others. `method` None: it can change nothing."""

    distortion: AnyDistortion
    method: Undone | Forwards | None
    hits: Hits
    loss: float
    correct_collided: int
    placebos: tuple[Placebo, ...]
    strongest: Transform | None
    placebo_hits: tuple[NDArray[np.bool_], ...]
    """Which errors collide under each placebo, in their order."""
    p_value: float


def weigh(
    subject: Subject,
    distortion: AnyDistortion,
    reader: Reader,
    errors: Cases,
    correct: Cases,
    bench: Bench,
    library: Library,
) -> Weighed:
    """Try the distortion and its placebos on every error, and the distortion on correct pictures too."""
    none = np.full(len(errors), -1)
    nothing = Hits(np.zeros(len(errors), np.bool_), none, np.zeros(len(errors), np.float32), none, none)
    if not changes(distortion, subject.dataset.info.channels):
        return Weighed(distortion, None, nothing, 0.0, 0, (), None, (), 1.0)
    method = transform_of(distortion, subject.fill)
    allowed = subject.allows(distortion)
    hits = collide(reader, method, method, errors, allowed, library)
    control = collide(reader, method, method, correct, allowed, library)
    loss = bench.loss(method)
    compared: list[tuple[Placebo, Matched, Hits]] = []
    for one in matched(bench, subject.distortions, loss, method.tries):
        found = collide(reader, method, one.transform, errors, allowed, library)
        compared.append((_placebo(one, hits.collided, found.collided), one, found))
    compared.sort(key=lambda entry: -entry[0].collided)
    placebos = tuple(entry[0] for entry in compared)
    # Every placebo must be beaten: the largest p-value of the tests against each is that of "one of them is as good".
    p_value = max((one.p_value if one.collided < hits.count else 1.0 for one in placebos), default=1.0)
    first = compared[0] if compared else None
    return Weighed(
        distortion,
        method,
        hits,
        loss,
        control.count,
        placebos,
        first[1].transform if first else None,
        tuple(entry[2].collided for entry in compared),
        p_value,
    )


def _placebo(one: Matched, hits: NDArray[np.bool_], found: NDArray[np.bool_]) -> Placebo:
    only_distortion, only_placebo = int((hits & ~found).sum()), int((found & ~hits).sum())
    count, total = int(found.sum()), len(found)
    return Placebo(
        name=one.transform.name,
        description=one.transform.description + ("" if one.close else ", not matched"),
        tries=one.transform.tries,
        loss=one.loss,
        collided=count,
        collided_interval=wilson_interval(count, total),
        only_distortion=only_distortion,
        only_placebo=only_placebo,
        p_value=mcnemar(only_distortion, only_placebo),
        matched=one.close,
        fair=one.fair,
    )


def compared(weighed: list[Weighed], errors: Cases, correct: Cases, classes: tuple[str, ...]) -> list[Evidence]:
    """Evidence with its p-values adjusted over all distortions and pairs, strongest first; verdicts, pictures, rescue and
    cause are added later."""
    adjusted = holm([one.p_value for one in weighed])
    pairs = _pairs(weighed, errors, classes)
    results = []
    for one, p_value, mine in zip(weighed, adjusted, pairs, strict=True):
        strongest = max((placebo.collided for placebo in one.placebos), default=0)
        # Placebos that cost the judge less than the distortion are beaten too easily to accuse it by.
        fair = sum(placebo.fair for placebo in one.placebos) >= LEAST
        accused = p_value < LEVEL and one.hits.count >= RATIO * strongest and one.hits.count > 0 and fair
        kind: Literal["inverse", "neighbours", "none"]
        kind = "none" if one.method is None else "inverse" if isinstance(one.method, Undone) else "neighbours"
        results.append(
            Evidence(
                distortion=one.distortion.name,
                description=one.distortion.describe(),
                method=kind,
                tries=one.method.tries if one.method else 0,
                loss=one.loss,
                errors=len(errors),
                judged=int(errors.right.sum()),
                collided=one.hits.count,
                collided_interval=wilson_interval(one.hits.count, len(errors)),
                correct=len(correct),
                correct_collided=one.correct_collided,
                correct_interval=wilson_interval(one.correct_collided, len(correct)),
                placebos=one.placebos,
                p_value=one.p_value,
                adjusted_p_value=p_value,
                accused=accused,
                pairs=mine,
                collisions=(),
                cause=None,
                verdict="",
            )
        )
    return sorted(results, key=lambda one: (not one.accused, -one.excess, one.p_value, one.distortion))


def unjudged(distortions: Sequence[AnyDistortion], errors: int, channels: int) -> list[Evidence]:
    """What can be said of each distortion where there is no judge: nothing, which only fresh runs may change."""
    return [
        Evidence(
            distortion=one.name,
            description=one.describe(),
            method="unjudged" if changes(one, channels) else "none",
            tries=0,
            loss=0.0,
            errors=errors,
            judged=0,
            collided=0,
            collided_interval=UNKNOWN,
            correct=0,
            correct_collided=0,
            correct_interval=UNKNOWN,
            placebos=(),
            p_value=1.0,
            adjusted_p_value=1.0,
            accused=False,
            pairs=(),
            collisions=(),
            cause=None,
            verdict="",
        )
        for one in distortions
    ]


def _pairs(weighed: list[Weighed], errors: Cases, classes: tuple[str, ...]) -> list[tuple[Pair, ...]]:
    """Per distortion, the pairs of classes of which at least one error collides; the most collisions first.

    Adjusted over all pairs of errors of all distortions, those without a collision too: which pairs collide is what is
    being tested, so it must not choose the family.
    """
    there = sorted(set(zip(errors.labels.tolist(), errors.given.tolist(), strict=True)))
    raw = [[_pair(one, errors, label, given, classes) for label, given in there] for one in weighed]
    tested = [
        [one.method is not None and pair.errors >= LEAST_PAIR for pair in mine] for one, mine in zip(weighed, raw)
    ]
    family = [
        pair.p_value
        for mine, chosen in zip(raw, tested, strict=True)
        for pair, counts in zip(mine, chosen, strict=True)
        if counts
    ]
    adjusted = iter(benjamini_hochberg(family))
    results = []
    for mine, chosen in zip(raw, tested, strict=True):
        values = [next(adjusted) if counts else 1.0 for counts in chosen]
        done = [
            replace(pair, adjusted_p_value=value, significant=value < LEVEL)
            for pair, value in zip(mine, values, strict=True)
            if pair.collided
        ]
        ordered = sorted(done, key=lambda pair: (pair.placebo_collided - pair.collided, -pair.collided, pair.label))
        results.append(tuple(ordered))
    return results


def _pair(one: Weighed, errors: Cases, label: int, given: int, classes: tuple[str, ...]) -> Pair:
    """One pair of classes against the placebo that is hardest to beat there, which may be another one than over all
    errors; not adjusted yet; p = 1 where a placebo did as well, or there is none."""
    chosen = (errors.labels == label) & (errors.given == given)
    hits = one.hits.collided & chosen
    others = [found & chosen for found in one.placebo_hits]
    collided, placebo = int(hits.sum()), max((int(other.sum()) for other in others), default=0)
    values = [mcnemar(int((hits & ~other).sum()), int((other & ~hits).sum())) for other in others]
    p_value = max(values, default=1.0) if collided > placebo else 1.0
    return Pair(
        label=classes[label],
        predicted=classes[given],
        errors=int(chosen.sum()),
        collided=collided,
        placebo_collided=placebo,
        p_value=p_value,
        adjusted_p_value=1.0,
        significant=False,
    )
