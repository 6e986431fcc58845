"""Placebos matched to a training distortion: strong enough to cost the judge as much accuracy on correct pictures, tried as
often, and in no training picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deeper.distortions import AnyDistortion
from deeper.distortions.sampling import Fill
from deeper.inspection.reading import Reader
from deeper.inspection.tries import Transform, signed
from deeper.inspection.warps import Family, Warp, families, in_training

# Strengths at which a family's cost is measured; between them it is interpolated.
LADDER = (0.01, 0.03, 0.06, 0.12, 0.2, 0.3, 0.45, 0.7, 1.0)
# Placebos per distortion.
WANTED = 5
LEAST = 3
# A placebo is matched when its cost is within this factor of the distortion's, or within so much of the accuracy.
FACTOR, POINTS = 1.6, 0.002
CORRECTIONS = 2
# Pictures on which a family's cost is sounded at every strength.
SOUNDED = 80
# Even a distortion that costs nothing gets placebos that do something.
_LEAST_LOSS = 5e-4


@dataclass(eq=False)
class Bench:
    """Correct pictures on which the cost of transforms is measured. `images`: uint8 N × H × W × C at the judge's size;
    `labels`: int64 N, the run's classes; `training`: as for `Reader.probabilities`."""

    reader: Reader
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    training: NDArray[np.int64]
    fill: Fill
    _curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    _plain: NDArray[np.float32] | None = None

    @property
    def plain(self) -> NDArray[np.float32]:
        """Probability of the true class on the untouched pictures. Its mean is the judge's expected accuracy, which has
        no steps where counting right answers would have them. float32 N."""
        if self._plain is None:
            readings = self.reader.probabilities(self.images, self.training)
            self._plain = readings[np.arange(len(self.labels)), self.labels]
        return self._plain

    def loss(self, transform: Transform) -> float:
        """Expected accuracy lost, mean over the tries. 0 where there is no picture to measure it on."""
        if not len(self.labels):
            return 0.0
        return float(self.plain.mean()) - self._true(transform, len(self.labels))

    def curve(self, family: Family) -> NDArray[np.float64]:
        """The loss at each strength of `LADDER`, mean of two opposite tries, on a part of the pictures: a first guess."""
        if family.name not in self._curves:
            tries = 1 if family.single else 2
            if not len(self.labels):
                return np.asarray(LADDER) * 0.0
            plain = float(self.plain[:SOUNDED].mean())
            warps = [Warp(family, strength, tries, self.fill) for strength in LADDER]
            self._curves[family.name] = np.array([plain - self._true(one, SOUNDED) for one in warps])
        return self._curves[family.name]

    def _true(self, transform: Transform, count: int) -> float:
        """Mean probability of the true class over the tries and the first `count` pictures."""
        labels = self.labels[:count]
        readings = self.reader.tried(transform, self.images[:count], self.training[:count])
        return float(readings[:, np.arange(len(labels)), labels].mean())


@dataclass(frozen=True)
class Matched:
    """A placebo, and what it costs the judge. `close`: as much as the distortion does, within the tolerance. `fair`: as
    much or more."""

    transform: Warp
    loss: float
    close: bool
    fair: bool


def matched(bench: Bench, trained: Sequence[AnyDistortion], target: float, tries: int) -> list[Matched]:
    """Up to `WANTED` placebos for a distortion that costs `target`, those that fit best.

    Where fewer than `LEAST` are close, the nearest others fill up, marked as not close.
    """
    goal = max(target, _LEAST_LOSS)
    found = []
    for family in families(trained, tries):
        strength = 1.0 if family.fixed else _strength(bench.curve(family), goal, tries)
        if strength is None:
            strength = LADDER[int(np.argmax(bench.curve(family)))]
        if in_training(family, strength, trained):
            continue
        found.append(_closest(bench, family, strength, tries, goal, trained))
    close = [one for one in found if one.close]

    def mismatch(one: Matched) -> float:
        return abs(math.log(max(one.loss, 1e-6) / goal))

    if len(close) >= LEAST:
        return sorted(close, key=mismatch)[:WANTED]
    others = sorted((one for one in found if not one.close), key=mismatch)
    return close + others[: LEAST - len(close)]


def _closest(
    bench: Bench, family: Family, strength: float, tries: int, goal: float, trained: Sequence[AnyDistortion]
) -> Matched:
    """The family at about this strength, corrected where it turns out to cost too much or too little; never so far that
    it would be what training did."""
    best: Matched | None = None
    for _ in range(1 if family.fixed else CORRECTIONS + 1):
        transform = Warp(family, strength, tries, bench.fill)
        loss = bench.loss(transform)
        close = goal / FACTOR <= loss <= goal * FACTOR or abs(loss - goal) <= POINTS
        # Without a correct picture nothing costs anything, and nothing is matched.
        known = len(bench.labels) > 0
        one = Matched(transform, loss, known and close, known and (close or loss > goal))
        if best is None or abs(loss - goal) < abs(best.loss - goal):
            best = one
        if one.close:
            break
        # Costs rise about as the square of the strength.
        strength = min(1.0, strength * min(2.0, max(0.5, math.sqrt(goal / max(loss, 1e-6)))))
        if in_training(family, strength, trained):
            break
    assert best is not None
    return best


def _strength(curve: NDArray[np.float64], goal: float, tries: int) -> float | None:
    """The least strength at which `tries` tries cost `goal` on average; None where even the strongest do not."""
    parts = np.abs(np.asarray(signed(tries)))
    ladder, losses = np.concatenate([[0.0], LADDER]), np.concatenate([[0.0], curve])
    strengths = np.linspace(0.005, 1.0, 400)
    mean = np.interp(strengths[:, None] * parts[None, :], ladder, losses).mean(axis=1)
    reached = np.flatnonzero(mean >= goal)
    return float(strengths[reached[0]]) if len(reached) else None
