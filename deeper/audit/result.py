"""What an audit found, as frozen values: everything that the command prints, `audit.json` holds and the sheet shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from deeper.distortions import ClassRule, Policy
from deeper.values import to_plain

Interval: TypeAlias = tuple[float, float]
Verdict: TypeAlias = Literal["safe", "unsafe", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Excess:
    """How much more often something happens to T(x) than to x, on the same pictures.

    Counts of pictures: `both` times, only with T, only without. `interval` holds together with all others of the audit.
    """

    both: int
    only_after: int
    only_before: int
    pictures: int
    interval: Interval

    @property
    def share(self) -> float:
        """Rate on T(x) minus rate on x, −1..1."""
        return (self.only_after - self.only_before) / max(1, self.pictures)

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "before": self.both + self.only_before,
            "after": self.both + self.only_after,
            "excess": self.share,
            "interval": list(self.interval),
        }


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one distortion at one strength does to the pictures of one class, or of all small classes together."""

    distortion: str
    description: str
    """Distortion and strength in words."""
    turning: bool
    plain: Mapping[str, Any]
    """The distortion as it would stand in a recipe."""
    class_name: str | None
    """None: small classes of one margin together."""
    pictures: int
    entering: Excess
    """Read as some other class as surely as nine of ten of its own pictures are."""
    leaving: Excess
    """Its own class out of the question: less than a tenth of the probability that guessing would give it."""
    misread: float
    """Share read as another class however unsurely, on T(x) minus on x: for information, no verdict hangs on it."""
    target: str | None
    """The class that most of those enter that enter one."""
    target_count: int
    margin: float
    pooled: bool
    """True: the class is too small for a verdict of its own, and `verdict` is that of all small classes together unless
    it is unsafe by itself."""
    verdict: Verdict

    suspected: bool
    """Entering or leaving is above 2 points and, this finding by itself, significant (95 %, paired): too little for a
    verdict among many, enough to be careful. Of a small class also when all small ones together are forbidden it."""
    company: bool = False
    """True: suspected only because all small classes together are forbidden it; nothing of this class's own speaks
    against it."""

    @property
    def leaves(self) -> bool:
        """Whether the class certainly leaves itself, into whatever: the lower bound is above the margin."""
        return self.leaving.interval[0] > self.margin

    @property
    def forbidden(self) -> bool:
        """Whether the policy keeps the distortion from the class: it is unsafe; or it turns the picture, is not safe,
        and suspected. Erased, noisy or dark pictures that the judge cannot read teach no wrong meaning."""
        return self.verdict == "unsafe" or (self.turning and self.verdict != "safe" and (self.leaves or self.suspected))

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "distortion": self.distortion,
            "description": self.description,
            "options": dict(self.plain),
            "class": self.class_name,
            "pictures": self.pictures,
            "entering": self.entering.to_plain(),
            "leaving": self.leaving.to_plain(),
            "misread": self.misread,
            "target": self.target,
            "target_count": self.target_count,
            "margin": self.margin,
            "pooled": self.pooled,
            "verdict": self.verdict,
            "leaves": self.leaves,
            "suspected": self.suspected,
            "company": self.company,
            "forbidden": self.forbidden,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A picture as it is and transformed (uint8 H × W × C, at the judge's size), and how the judge reads both."""

    id: str
    picture: NDArray[np.uint8]
    transformed: NDArray[np.uint8]
    read_before: str
    read_after: str
    probability: float
    """Of `read_after`."""


@dataclass(frozen=True, kw_only=True)
class JudgeFacts:
    """Who judged."""

    description: str
    accuracy: float
    interval: Interval
    weak: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """Which distortions which classes can bear."""

    dataset: str
    dataset_hash: str
    judge: JudgeFacts
    classes: tuple[str, ...]
    findings: tuple[Finding, ...]
    """One per treatment and class, in the order tried; where classes are small also one for these together, by margin."""
    intervals: int
    """So many hold together with probability 0.95."""
    evidence: tuple[tuple[Finding, tuple[Example, ...]], ...]
    """Pictures of the findings that are unsafe, the worst first."""
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    """Wall-clock of `judge` and `audit`."""

    def finding_on(self, description: str, class_name: str | None) -> Finding:
        """The finding on one treatment, as described, and class; of None that of the first margin. Raises: KeyError."""
        for one in self.findings:
            if (one.description, one.class_name) == (description, class_name):
                return one
        raise KeyError((description, class_name))

    def classes_by_verdict(self, description: str) -> dict[Verdict, tuple[str, ...]]:
        """Class names of one treatment by verdict."""
        chosen = [one for one in self.findings if one.description == description and one.class_name is not None]
        verdicts: tuple[Verdict, ...] = ("safe", "undecided", "unsafe")
        return {verdict: tuple(str(one.class_name) for one in chosen if one.verdict == verdict) for verdict in verdicts}

    def policy(self) -> Policy:
        """Which distortions must leave which classes alone, for `deeper train --policy`.

        Of a distortion that was tried at several strengths, the mildest decides: the policy names distortions, not
        strengths, and a recipe that rotates by 10° need not stop because 90° would be too far.
        """
        mildest: dict[tuple[str, str], Finding] = {}
        for one in self.findings:
            if one.class_name is not None:
                mildest.setdefault((one.class_name, one.distortion), one)
        rules = {}
        for name in self.classes:
            never = tuple(one.distortion for (owner, _), one in mildest.items() if owner == name and one.forbidden)
            if never:
                rules[name] = ClassRule(never=never)
        return Policy(classes=rules)

    def uncovered(self) -> tuple[Finding, ...]:
        """What is unsafe and not in the policy, because the same distortion is harmless to the class when milder."""
        rules = self.policy().classes
        return tuple(
            one
            for one in self.findings
            if one.class_name is not None
            and one.verdict == "unsafe"
            and (one.class_name not in rules or one.distortion not in rules[one.class_name].never)
        )

    def to_plain(self) -> dict[str, Any]:
        """For `audit.json` and --json; keys are described in docs/json.md."""
        return {
            "dataset": self.dataset,
            "dataset_hash": self.dataset_hash,
            "judge": to_plain(self.judge),
            "classes": list(self.classes),
            "intervals": self.intervals,
            "findings": [one.to_plain() for one in self.findings],
            "policy": self.policy().to_plain(),
            "notes": list(self.notes),
            "seconds": dict(self.seconds),
        }
