"""Learning-rate schedules as frozen values: `factor(step, steps, epochs)` multiplies the optimizer's rate.

Steps count from 0; `steps` is the length of the whole run, `epochs` how many have passed. Where pictures grow on the way,
`step` is not counted but measured (`Course.position`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from deeper.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Constant:
    """The optimizer's rate throughout."""

    name: ClassVar[str] = "constant"

    def factor(self, step: float, steps: int, epochs: float) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """Multiplied by `factor_each` at each of `milestones`, given as shares of the run."""

    name: ClassVar[str] = "step"
    milestones: tuple[float, ...] = (0.5, 0.75)
    factor_each: float = 0.1

    def __post_init__(self) -> None:
        if not all(0 < share < 1 for share in self.milestones) or list(self.milestones) != sorted(self.milestones):
            raise UsageError(f"step schedule: milestones must rise between 0 and 1, got {self.milestones}")
        if not 0 < self.factor_each <= 1:
            raise UsageError(f"step schedule: factor_each must be in (0, 1], got {self.factor_each}")

    def factor(self, step: float, steps: int, epochs: float) -> float:
        passed = sum(step >= share * steps for share in self.milestones)
        return self.factor_each**passed


@dataclass(frozen=True, kw_only=True)
class ExponentialStaircase:
    """Multiplied by `factor_each` every `epochs` epochs: 0.16 every 30 in research/inception, 0.94 every 2 in slim."""

    name: ClassVar[str] = "exponential_staircase"
    epochs: float = 30.0
    factor_each: float = 0.16

    def __post_init__(self) -> None:
        if not 0 < self.epochs < math.inf or not 0 < self.factor_each <= 1:
            raise UsageError(
                f"exponential_staircase: epochs must be above 0 and finite, and factor_each in (0, 1], got {self.epochs} and "
                f"{self.factor_each}"
            )

    def factor(self, step: float, steps: int, epochs: float) -> float:
        # Epochs are sums of fractions: a hair below a whole number of intervals is that number.
        return float(self.factor_each ** int(epochs / self.epochs + 1e-9))


def _ramp(step: float, warm: float) -> float:
    return (step + 1) / (warm + 1)


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Linear warm-up over a share of the run, then half a cosine down to `floor` (arXiv 1608.03983)."""

    name: ClassVar[str] = "cosine"
    warm_up: float = 0.05
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warm_up < 1 or not 0 <= self.floor <= 1:
            raise UsageError(f"cosine: warm_up must be in [0, 1) and floor in [0, 1], got {self.warm_up}, {self.floor}")

    def factor(self, step: float, steps: int, epochs: float) -> float:
        warm = self.warm_up * steps
        if step < warm:
            return _ramp(step, warm)
        progress = (step - warm) / max(1.0, steps - warm)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """Linear up over `peak_at` of the run from `start` of the rate, then linear down to `end` (arXiv 1708.07120)."""

    name: ClassVar[str] = "one_cycle"
    peak_at: float = 0.2
    start: float = 0.1
    end: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.peak_at < 1 or not 0 <= self.start <= 1 or not 0 <= self.end <= 1:
            raise UsageError(
                "one_cycle: peak_at must be in (0, 1), start and end in [0, 1], got "
                f"{self.peak_at}, {self.start}, {self.end}"
            )

    def factor(self, step: float, steps: int, epochs: float) -> float:
        progress = (step + 0.5) / steps
        if progress < self.peak_at:
            return self.start + (1 - self.start) * progress / self.peak_at
        return self.end + (1 - self.end) * (1 - progress) / (1 - self.peak_at)


@dataclass(frozen=True, kw_only=True)
class ExponentialSweep:
    """From `start` of the rate up to the rate, by the same factor each step: a search for the learning rate (Smith,
    Cyclical Learning Rates for Training Neural Networks, arXiv 1506.01186, section 3.3, there in even steps)."""

    name: ClassVar[str] = "exponential_sweep"
    start: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 < self.start < 1:
            raise UsageError(f"exponential_sweep: start must be in (0, 1), got {self.start}")

    def factor(self, step: float, steps: int, epochs: float) -> float:
        return float(self.start ** (1 - step / max(1, steps - 1)))


AnySchedule: TypeAlias = Constant | Step | ExponentialStaircase | Cosine | OneCycle | ExponentialSweep
