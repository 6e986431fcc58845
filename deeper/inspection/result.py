"""What an inspection found, as frozen values: everything that the report shows and `--json` prints.

Three questions are kept apart and never merged into one number: *collision* (does the picture, with a training
distortion undone, look like the class that was wrongly given?), *rescue* (does the run itself get the picture right once
it is distorted?) and *cause* (do the errors go away in runs trained without the distortion?). Only the last may say "explains".

Pictures are uint8 H × W × C, at most `SHOWN` pixels on a side; intervals are (low, high), 95 %; shares are 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from deeper.distortions import Policy
from deeper.evaluation import Evaluation

Picture: TypeAlias = NDArray[np.uint8]
Interval: TypeAlias = tuple[float, float]

# The interval of a share of nothing.
UNKNOWN: Interval = (0.0, 1.0)
# Longest side of the pictures that are kept for showing.
SHOWN = 96
# Of many collisions, the most convincing are kept; of many errors the surest keep their picture, up to so many bytes
# (160,000 digits, 4,800 photographs).
MOST_COLLISIONS, MOST_LOOKED_AT, PICTURE_BYTES = 100, 200, 128 << 20


@dataclass(frozen=True, kw_only=True)
class JudgeFacts:
    """Who judged. `weak`: too poor a judge for its readings to carry a verdict."""

    description: str
    accuracy: float
    """Out-of-fold on the training pictures."""
    interval: Interval
    accuracy_here: float
    """On the pictures that are inspected."""
    balanced_accuracy: float
    """The mean of the classes' recalls, out-of-fold."""
    weak: bool
    seconds: float
    """Spent on training it in this call; 0 when it was at hand."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Wrong:
    """One wrong answer of the run."""

    id: str
    position: int
    """In the split, and in `Inspection.evaluation`."""
    label: str
    predicted: str
    probability: float
    """Of the given class."""
    true_probability: float
    judged: str | None
    """What the judge reads the picture as; None for an error that was not examined (of very many a sample is), or where
    there is no judge."""
    judge_probability: float | None
    """The judge's, of the true class."""
    collided_by: tuple[str, ...]
    """Names of the distortions by which it collides with the given class."""
    rescued_by: tuple[str, ...]
    picture: Picture | None
    """None where those of surer errors took `PICTURE_BYTES`."""
    attention: tuple[Picture, Picture] | None = None
    """Grad-CAM over the picture, for the given class and for the true one, where it was asked for: of the first
    `MOST_LOOKED_AT` errors."""

    @property
    def judge_right(self) -> bool:
        return self.judged == self.label


@dataclass(frozen=True, kw_only=True, eq=False)
class Collision:
    """One error that looks like the given class once a distortion is undone.

    `picture`: x. `transformed`: x with the distortion undone, which the judge reads as the given class. `neighbour`: the
    training picture of that class that lies nearest to it in the judge's features, and `distorted`: the same with the
    distortion, which looks like x: this is what the run was taught to call by the wrong name. For a distortion without
    an inverse `transformed` is None.
    """

    id: str
    label: str
    predicted: str
    undone: str
    """In words: "flipped left to right", "rotated by −7°"."""
    judge_probability: float | None
    """The judge's, of the wrongly given class, on the transformed picture; None without an inverse."""
    picture: Picture
    transformed: Picture | None
    neighbour_id: str | None
    neighbour: Picture | None
    distorted: Picture | None


@dataclass(frozen=True, kw_only=True)
class Placebo:
    """A transform that was in no training picture, tried on the same errors, as often."""

    name: str
    description: str
    tries: int
    loss: float
    """Of the judge's expected accuracy on correct pictures: what it was matched by."""
    collided: int
    collided_interval: Interval
    only_distortion: int
    """Errors that collide by the training distortion and not by this."""
    only_placebo: int
    p_value: float
    """Exact two-sided McNemar, distortion against this placebo on the same errors."""
    matched: bool = True
    """False: no transform costs the judge as much as the distortion does; this one is the nearest."""
    fair: bool = True
    """False: it costs the judge clearly less than the distortion does, so that beating it proves nothing."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Errors of one true class that were given one other class."""

    label: str
    predicted: str
    errors: int
    collided: int
    placebo_collided: int
    """By the strongest placebo."""
    p_value: float
    adjusted_p_value: float
    """Benjamini–Hochberg over all pairs of all distortions that have six errors or more; 1 for the others."""
    significant: bool


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What fresh runs with and without the distortion say (`kind` "cause"), or what continuing both ways from the run's
    weights says ("removal effect")."""

    kind: Literal["cause", "removal effect"]
    distortion: str
    seeds: int
    """Runs per arm."""
    steps: int
    """Of each run."""
    fewer: float
    """Sum over this run's errors of P(wrong | with) − P(wrong | without)."""
    fewer_interval: Interval
    """Bootstrapped over pictures and runs."""
    elsewhere: float
    """Sum over all other pictures of P(wrong | without) − P(wrong | with): above 0, new errors; below, fewer."""
    elsewhere_interval: Interval
    errors_with: tuple[int, ...]
    """All errors on the split, one count per run."""
    errors_without: tuple[int, ...]
    p_value: float
    """Exact two-sided permutation of the runs between the arms, of the mean number of errors."""
    adjusted_p_value: float
    """Holm over the distortions that were left out in one inspection."""
    accuracy_with: float
    accuracy_without: float
    verdict: str

    @property
    def differs(self) -> bool:
        """Whether the arms differ significantly in all their errors, either way."""
        return self.adjusted_p_value < 0.05

    @property
    def better_without(self) -> bool:
        """Fewer errors in all, on average, without the distortion."""
        return sum(self.errors_without) < sum(self.errors_with)

    @property
    def harmless(self) -> bool:
        """Fresh runs make more errors without it, in all."""
        return self.kind == "cause" and self.differs and not self.better_without

    @property
    def explains(self) -> bool:
        """Fresh runs name it as a cause; what continuing a run shows is no accusation."""
        return self.kind == "cause" and self.significant

    @property
    def significant(self) -> bool:
        """Fewer errors without it, in all and of this run's: what goes away here must not merely come back elsewhere."""
        return self.differs and self.better_without and self.fewer_interval[0] > 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What is known against (or for) one distortion that the run was trained with."""

    distortion: str
    description: str
    method: Literal["inverse", "neighbours", "none", "unjudged"]
    """How collision was judged; "none": the distortion cannot change these pictures; "unjudged": there is no judge, and
    all counts are 0."""
    tries: int
    """Points of its range that were tried on each picture."""
    loss: float
    """Of the judge's expected accuracy on correct pictures, mean over the tries."""
    errors: int
    judged: int
    """Errors whose picture the judge reads as what it is: only these can collide."""
    collided: int
    collided_interval: Interval
    correct: int
    """Correct pictures that were tried, as a control."""
    correct_collided: int
    """Of these, with the run's second choice in the place of the wrongly given class."""
    correct_interval: Interval
    placebos: tuple[Placebo, ...]
    """Strongest first."""
    rescued: int = 0
    """Errors that the run itself reads rightly once distorted, forwards, at some point of the range. Rescue is weak
    evidence: borderline errors go away under any small change."""
    rescued_interval: Interval = UNKNOWN
    placebo_rescued: int = 0
    """By the strongest placebo."""
    placebo_rescued_interval: Interval = UNKNOWN
    correct_rescued: int = 0
    """Of the `correct` pictures, as a control."""
    correct_rescued_interval: Interval = UNKNOWN
    p_value: float
    """Against the placebo that it is hardest to tell from (largest McNemar p-value); 1 where one did better."""
    adjusted_p_value: float
    """Holm over the distortions."""
    accused: bool
    """Significantly above every placebo and at least 1.5 times the strongest; see `verdicts`."""
    pairs: tuple[Pair, ...]
    collisions: tuple[Collision, ...]
    """The most convincing first; at most `MOST_COLLISIONS`."""
    cause: Cause | None
    verdict: str

    @property
    def placebo_collided(self) -> int:
        """By the strongest placebo; 0 where there is none."""
        return max((placebo.collided for placebo in self.placebos), default=0)

    @property
    def excess(self) -> int:
        """Collisions beyond those of the strongest placebo."""
        return self.collided - self.placebo_collided


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A part of the pictures whose accuracy was compared with that of the rest."""

    kind: Literal["size", "brightness", "folder"]
    name: str
    """For people: "darkest third", "folder b"."""
    pictures: int
    correct: int
    accuracy: float
    interval: Interval
    rest_accuracy: float
    p_value: float
    """Fisher's exact test, two-sided."""
    adjusted_p_value: float
    """Benjamini–Hochberg over all slices."""
    worse: bool
    """Significantly less accurate than the rest."""


@dataclass(frozen=True, kw_only=True)
class Against:
    """The same pictures by another run."""

    run: str
    accuracy: float
    mended: tuple[str, ...]
    """Ids that this run gets wrong and the other right."""
    broken: tuple[str, ...]
    """Ids that this run gets right and the other wrong."""
    both_wrong: int
    difference: float
    """Accuracy of this run minus that of the other."""
    interval: Interval
    p_value: float
    """Exact McNemar."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """Why a run errs on one split: the evidence, strongest first."""

    run: str
    model: str
    dataset: str
    split: str
    diagnosis_only: bool
    """True for the test split: choosing by this would spend it."""
    evaluation: Evaluation
    """Every picture's logits: confusion matrix, per class, calibration."""
    judge: JudgeFacts | None
    """None where there was nothing to ask it, or no dataset to train it on; `notes` say which."""
    evidence: tuple[Evidence, ...]
    """One per distortion in training, strongest first."""
    wrong: tuple[Wrong, ...]
    """The wrong answers, the surest first."""
    slices: tuple[Slice, ...]
    """Worse ones first."""
    against: Against | None
    policy: Policy | None
    """What is suggested for the next training; None where nothing is, and on test pictures, which choose nothing."""
    policy_path: str | None
    """Where it was written."""
    verdict: str
    """The one sentence."""
    notes: tuple[str, ...]
    """What a reader must know besides: limits, samples, a weak judge."""
    seconds: Mapping[str, float]
    """Wall-clock by part."""
