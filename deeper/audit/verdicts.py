"""From readings to verdicts: paired intervals that hold together, and tests of equivalence against a margin.

Safe is not the lack of a significant difference but the presence of a bound: the whole interval lies below the margin
(two one-sided tests; Schuirmann 1987). Unsafe: the whole interval lies above it. All intervals of an audit hold
together with probability 0.95 (Bonferroni), so that trying thirty distortions on ten classes accuses no more by chance
than trying one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deeper.audit.judge import Judge
from deeper.audit.result import Excess, Finding, Verdict
from deeper.audit.traffic import OWN_SHARE, Readings
from deeper.audit.treatments import Treatment
from deeper.statistics import paired_interval, simultaneous_z
from deeper.values import to_plain

# Excess traffic that would matter: 2 points where a class has many pictures, 10 where it has few.
MARGIN, MANY_PICTURES, SMALL_MARGIN = 0.02, 1000, 0.10


@dataclass(frozen=True, eq=False)
class Groups:
    """The classes whose pictures were read, and which of them are too small for a verdict of their own."""

    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    """Of the positions. Shape: N."""
    margins: tuple[float, ...]
    small: tuple[bool, ...]
    present: tuple[int, ...]
    """Labels with pictures."""
    z: float
    intervals: int
    needed: tuple[float, ...]
    """Pictures of each class below which it is small."""

    def of_more(self, judge: Judge, at_most: int) -> Groups:
        """For a treatment of which so many pictures of each class may be read in the end: fewer classes are small."""
        have = np.minimum(np.bincount(judge.labels, minlength=len(judge.classes)), at_most)
        small = tuple(
            one and bool(count < self.needed[label]) for label, (one, count) in enumerate(zip(self.small, have))
        )
        return replace(self, small=small)

    def with_more(self, judge: Judge, positions: NDArray[np.int64]) -> Groups:
        """With more pictures behind those that there are; all else, the level too, stays."""
        together = np.concatenate([self.positions, positions])
        return replace(self, positions=together, labels=judge.labels[together])


def margin_for(pictures: int, margin: float | None) -> float:
    """What excess matters for a class with so many training pictures."""
    return margin if margin is not None else (MARGIN if pictures >= MANY_PICTURES else SMALL_MARGIN)


def group(judge: Judge, positions: NDArray[np.int64], treatments: int, margin: float | None) -> Groups:
    """Fix margins, the level of the intervals, and which classes are pooled: those so small that two thirds of
    their pictures, flawless, could not bring the bound below the margin."""
    labels = judge.labels[positions]
    classes = len(judge.classes)
    read = np.bincount(labels, minlength=classes)
    have = np.bincount(judge.labels, minlength=classes)
    present = tuple(int(label) for label in np.flatnonzero(read))
    margins = tuple(margin_for(int(count), margin) for count in have)
    # Two questions for each class, and two more for each margin, where small ones are pooled.
    intervals = 2 * treatments * (len(present) + len({margins[label] for label in present}))
    z = simultaneous_z(intervals)
    # Wilson's upper bound of nothing in n is z² / (n + z²); at most `OWN_SHARE` of what enters is seen.
    needed = tuple(1.5 * z * z * (1 - one * OWN_SHARE) / (one * OWN_SHARE) for one in margins)
    small = tuple(bool(count < wanted) for count, wanted in zip(read, needed))
    return Groups(positions, labels, margins, small, present, z, intervals, needed)


def findings_of(
    judge: Judge, groups: Groups, treatment: Treatment, after: Readings, sure: NDArray[np.float32]
) -> list[Finding]:
    """One finding per class that has pictures, and one for the small classes of each margin together where there are
    any: what is safe by 10 points says nothing of a class that is asked for 2."""
    labels, recalls = groups.labels, judge.recalls
    before = Readings.of(judge.out_of_fold[groups.positions], labels, sure)

    def finding(rows: NDArray[np.bool_], name: str | None, margin: float) -> Finding:
        entering = _excess(before.entered[rows], after.entered[rows], groups.z)
        leaving = _excess(before.left[rows], after.left[rows], groups.z)
        new = rows & after.entered & ~before.entered
        targets = np.bincount(after.given[new], minlength=len(judge.classes))
        most = int(targets.argmax())
        # Of pictures that leave their class a judge sees the share that it had read right; of those that enter another
        # one, the share of that class's own pictures that it reads so surely. Into which, nobody knows: the least, but of
        # classes whose own pictures are enough to tell.
        seen = 1 - float(before.wrong[rows].mean())
        others = [label for label in groups.present if name != judge.classes[label]]
        known = [label for label in others if not groups.small[label]]
        entering_seen = OWN_SHARE * min(recalls[label] for label in known or others)
        return Finding(
            distortion=treatment.name,
            description=treatment.describe(),
            turning=treatment.turning,
            plain=to_plain(treatment.distortion),
            class_name=name,
            pictures=int(rows.sum()),
            entering=entering,
            leaving=leaving,
            misread=float(after.wrong[rows].mean() - before.wrong[rows].mean()),
            target=judge.classes[most] if targets[most] else None,
            target_count=int(targets[most]),
            margin=margin,
            pooled=False,
            verdict=_verdict(entering, leaving, (margin, margin * entering_seen, margin * seen), judge.weak),
            suspected=any(_suspicious(one) for one in (entering, leaving)),
        )

    found = [finding(labels == label, judge.classes[label], groups.margins[label]) for label in groups.present]
    pools: dict[float, list[int]] = {}
    for label in groups.present:
        if groups.small[label]:
            pools.setdefault(groups.margins[label], []).append(label)
    together = {margin: finding(np.isin(labels, small), None, margin) for margin, small in pools.items()}
    return [
        *(
            _pooled(one, together[groups.margins[label]]) if groups.small[label] else one
            for label, one in zip(groups.present, found)
        ),
        *together.values(),
    ]


def unclear(judge: Judge, findings: Sequence[Finding], label: int) -> bool:
    """Whether more pictures of a class could bring a verdict of its own."""
    named = next(one for one in findings if one.class_name == judge.classes[label])
    return named.verdict == "undecided" and not named.leaves and not named.pooled


def _pooled(one: Finding, together: Finding) -> Finding:
    """A small class goes with all small ones of its margin, unless it has a verdict of its own after all, or its own
    estimate speaks against theirs."""
    if one.verdict == "safe":
        return one
    verdict: Verdict = together.verdict
    if one.verdict == "unsafe":
        verdict = "unsafe"
    elif verdict == "unsafe" or (verdict == "safe" and max(one.entering.share, one.leaving.share) > one.margin):
        # That some of the small classes are unsafe does not say which.
        verdict = "undecided"
    # Which of them it is cannot be told: where turning harms small classes together, none of them is turned.
    company = together.forbidden and not one.suspected
    return replace(one, pooled=True, verdict=verdict, suspected=one.suspected or company, company=company)


def _excess(before: NDArray[np.bool_], after: NDArray[np.bool_], z: float) -> Excess:
    both, only_after = int((before & after).sum()), int((after & ~before).sum())
    only_before = int((before & ~after).sum())
    neither = len(before) - both - only_after - only_before
    interval = paired_interval(both, only_after, only_before, neither, z)
    return Excess(both=both, only_after=only_after, only_before=only_before, pictures=len(before), interval=interval)


def _suspicious(excess: Excess) -> bool:
    neither = excess.pictures - excess.both - excess.only_after - excess.only_before
    low, _ = paired_interval(excess.both, excess.only_after, excess.only_before, neither)
    return excess.share > MARGIN and low > 0


def _verdict(entering: Excess, leaving: Excess, margins: tuple[float, float, float], weak: bool) -> Verdict:
    """`margins`: what entering must lie above to be unsafe; what entering, and leaving, must lie below to be safe."""
    unsafe, enters, leaves = margins
    if entering.interval[0] > unsafe:
        return "unsafe"
    # Not leaving one's own class includes not entering another; both are asked for, since either can be the surer.
    if not weak and entering.interval[1] < enters and leaving.interval[1] < leaves:
        return "safe"
    return "undecided"


def drains(findings: Sequence[Finding]) -> str | None:
    """The class that more than half of all others certainly enter under one treatment, at least three; None where there
    is none. Pictures unlike any that the judge knows tend to drain into one class, whatever they show.

    Of two or three classes all others need to, and that only where nothing is turned: noise that makes every cat a dog
    and no dog a cat is a drain, but a d that turns into a p is what turning does.
    """
    named = [one for one in findings if one.class_name is not None]
    targets = Counter(one.target for one in named if one.verdict == "unsafe")
    if not targets:
        return None
    target, count = targets.most_common(1)[0]
    if len(named) <= 3:
        return target if not named[0].turning and count == len(named) - 1 else None
    return target if count >= 3 and count > (len(named) - 1) / 2 else None


def undecided_drain(findings: Sequence[Finding], drain: str) -> list[Finding]:
    """The same, but what enters the drain is undecided: it may be what is left of any picture (then it is unsafe
    indeed), or the judge's whim. A person has to look."""
    return [
        replace(one, verdict="undecided") if one.verdict == "unsafe" and one.target == drain else one
        for one in findings
    ]


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """The unsafe findings on classes, those that enter another class most certainly first."""
    unsafe = [one for one in findings if one.verdict == "unsafe" and one.class_name is not None]
    return sorted(unsafe, key=lambda one: -one.entering.interval[0])
