"""How long the steps of a training take, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deeper.training.course import Course


@dataclass(frozen=True, kw_only=True)
class Pace:
    """`each`: seconds of a step of each stage when the whole network trains. `head_only`: what a step takes in which only
    the head does, as a share of that; `frozen`: how many steps at the beginning of a course are such ones."""

    each: Sequence[float]
    head_only: float = 1.0
    frozen: Callable[[Course], int] = lambda _: 0

    def per_step(self, course: Course) -> list[float]:
        """Seconds of a step of each stage, on average."""
        frozen = self.frozen(course)
        found = []
        for leg, seconds in zip(course.legs, self.each, strict=True):
            share = min(1.0, max(0.0, (frozen - leg.first) / max(1, leg.last - leg.first)))
            found.append(seconds * (1 - share * (1 - self.head_only)))
        return found

    def seconds(self, course: Course) -> float:
        """Of all steps of the course."""
        return sum((leg.last - leg.first) * one for leg, one in zip(course.legs, self.per_step(course), strict=True))
