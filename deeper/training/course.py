"""What stages come to in a run: `Sized` is a stage of this run, `Course` says which step is at which size and epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from deeper.batches import steps_per_epoch
from deeper.errors import UsageError, printable
from deeper.training.stages import Stage, check_shares

# A stage that would be this little larger than the smallest input gets the smallest: two sizes so near each other cost
# the preparations of both and teach the same.
NEAR_SMALLEST = 1.15
# What sums of shares of an epoch may fall short of a whole one by.
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Sized:
    """A stage of a certain run. `share`: of the pictures shown; all stages' add up to 1. `hardest`: of the training
    pictures, those that it shows. `asked`: what it comes from."""

    height: int
    width: int
    batch: int
    share: float
    hardest: float | None = None
    asked: Stage = field(default=Stage(), repr=False, compare=False)

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    def describe(self) -> str:
        return f"{self.height}" if self.height == self.width else f"{self.height}×{self.width}"


def sized(
    stages: Sequence[Stage], *, height: int, width: int, batch: int, smallest: int = 1, model: str = "the network"
) -> tuple[Sized, ...]:
    """Stages for a run of this input size. Neighbours that come to the same become one; without any, one of all.

    `smallest`: the smallest side that `model` takes. A `scale` that asks for less gets it; a `size` is an error.
    Raises: UsageError, for that, or a last stage of another size than the run's.
    """
    check_shares(stages)
    longer = max(height, width)
    unsaid = [stage for stage in stages if stage.share is None]
    left = 1 - sum(stage.share or 0.0 for stage in stages)
    found: list[Sized] = []
    for number, stage in enumerate(stages or (Stage(share=1.0),)):
        scale = stage.size / longer if stage.size is not None else stage.scale or 1.0
        size = (round(height * scale), round(width * scale))
        if stage.size is not None and min(size) < smallest:
            raise UsageError(
                f"a stage of {size[0]}×{size[1]} pixels is too small: {printable(model)} takes {smallest}×{smallest} "
                f"or more; begin with --sizes {smallest} or larger"
            )
        if stage.size is None and scale < 1 and min(size) < smallest * NEAR_SMALLEST:
            scale = min(1.0, smallest / min(height, width))
            size = (round(height * scale), round(width * scale))
        if number == len(stages) - 1 and scale != 1:
            raise UsageError(
                f"the last stage has {size[0]}×{size[1]} pixels and the run {height}×{width}: "
                f"end with {longer}, or leave --size out"
            )
        share = stage.share if stage.share is not None else left / len(unsaid)
        one = Sized(
            height=size[0],
            width=size[1],
            batch=stage.batch or batch,
            share=share,
            hardest=stage.hardest,
            asked=stage,
        )
        last = found[-1] if found else None
        alike = last is not None and last.size == one.size and last.hardest == one.hardest
        # What small inputs press together is one stage; two batches that were asked for at one size are two.
        if last is not None and alike and (last.batch == one.batch or stage.size is None):
            found[-1] = replace(last, share=last.share + one.share)
        else:
            found.append(one)
    return tuple(found)


def steps_of(stages: Sequence[Sized], *, epochs: float, pictures: int) -> tuple[int, ...]:
    """Steps of each stage when the whole training shows `pictures` training pictures `epochs` times."""
    return tuple(max(1, round(stage.share * epochs * steps_per_epoch(pictures, stage.batch))) for stage in stages)


def describe_stages(stages: Sequence[Sized], steps: Sequence[int], seconds_per_step: Sequence[float]) -> str:
    """One line that says what each size amounts to. `seconds_per_step`: as measured, 0 where it was not."""
    spent = [count * each for count, each in zip(steps, seconds_per_step, strict=True)]
    alike: dict[tuple[tuple[int, int], int, float | None], list[int]] = {}
    for number, stage in enumerate(stages):
        alike.setdefault((stage.size, stage.batch, stage.hardest), []).append(number)
    parts = []
    for numbers in alike.values():
        stage, count = stages[numbers[0]], sum(steps[number] for number in numbers)
        seconds = sum(spent[number] for number in numbers)
        times = f" in {len(numbers)} stages" if len(numbers) > 1 else ""
        time = f" of {seconds / count:.3g} s: {seconds / sum(spent):.0%} of the time" if sum(spent) else ""
        whom = f" of the hardest {100 * stage.hardest:.3g} % of the pictures" if stage.hardest is not None else ""
        parts.append(f"{stage.describe()} pixels for {count:,} steps of {stage.batch}{whom}{times}{time}")
    return "sizes: " + "; ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Leg:
    """Steps `first` … `last` − 1, all at one size. Epochs are counted from `origin`, the step at which the first leg
    of this batch and of these pictures began, in epoch `epoch`.

    `per_epoch`: steps that show as many pictures as there are; `turn`: steps that show each of this leg's pictures once,
    fewer where these are not all. `hardest`: how many pictures the leg shows, those that cost the most; None: all.
    """

    first: int
    last: int
    height: int
    width: int
    batch: int
    per_epoch: int
    turn: int
    origin: int
    epoch: int
    hardest: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width


class Course:
    """Which step is at which size, in which epoch.

    Where the batch changes, or which pictures are shown, a new epoch begins: the one before stays incomplete. The first
    leg shows all pictures whatever its stage asks for, as where a stage is timed alone: nothing was judged yet.
    """

    def __init__(self, stages: Sequence[Sized], steps: Sequence[int], *, pictures: int) -> None:
        legs: list[Leg] = []
        first = 0
        for stage, count in zip(stages, steps, strict=True):
            hardest = None
            if stage.hardest is not None and legs:
                hardest = max(min(stage.batch, pictures), round(stage.hardest * pictures))
            origin, epoch = first, 0
            if legs:
                before = legs[-1]
                if (before.batch, before.hardest) == (stage.batch, hardest):
                    origin, epoch = before.origin, before.epoch
                else:
                    epoch = before.epoch - (before.origin - first) // before.turn
            legs.append(
                Leg(
                    first=first,
                    last=first + count,
                    height=stage.height,
                    width=stage.width,
                    batch=stage.batch,
                    per_epoch=steps_per_epoch(pictures, stage.batch),
                    turn=steps_per_epoch(hardest or pictures, stage.batch),
                    origin=origin,
                    epoch=epoch,
                    hardest=hardest,
                )
            )
            first += count
        self.legs = tuple(legs)
        self.steps = first

    def leg(self, step: int) -> Leg:
        """The leg of step `step`, counted from 0; the last one from its beginning on, however far."""
        for leg in self.legs[:-1]:
            if step < leg.last:
                return leg
        return self.legs[-1]

    def epoch(self, step: int) -> int:
        """The epoch of step `step`, counted from 0: how often its pictures can have been shown before."""
        leg = self.leg(step)
        return leg.epoch + (step - leg.origin) // leg.turn

    def passed(self, step: int) -> int:
        """How often all training pictures were shown before step `step`, in whole numbers: what a person calls the epoch
        of that step. `epoch` is what pictures are drawn by."""
        return math.floor(self.shown(step) + _ROUNDING)

    def shown(self, step: int) -> float:
        """How often as many pictures as there are were shown before step `step`; an epoch that a change left incomplete
        counts as the part that it was."""
        return sum((min(step, leg.last) - leg.first) / leg.per_epoch for leg in self.legs if leg.first < step)

    def steps_for(self, shown: float) -> int:
        """After how many steps `shown` epochs' worth of pictures were shown, at most all."""
        for leg in self.legs:
            one = (leg.last - leg.first) / leg.per_epoch
            if shown <= one:
                return leg.first + round(shown * leg.per_epoch)
            shown -= one
        return self.steps

    def happened(self, done: int, epochs: float) -> int:
        """How often, within `done` steps, what happens every so many epochs has happened, at most once a step."""
        if len(self.legs) == 1:
            return done // max(1, round(epochs * self.legs[0].per_epoch))
        # By the pictures shown: of several legs each may be shorter than that.
        longest_step = max(1 / leg.per_epoch for leg in self.legs)
        return math.floor(self.shown(done) / max(epochs, longest_step) + _ROUNDING)

    def due(self, done: int, epochs: float) -> bool:
        """Whether, after `done` steps, what happens every so many epochs happens."""
        return self.happened(done, epochs) > self.happened(done - 1, epochs)

    @property
    def staged(self) -> bool:
        """Whether pictures change their size on the way."""
        return len({leg.size for leg in self.legs}) > 1

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch; where batches differ, on average."""
        return max(1, round(self.steps / self.shown(self.steps))) if len(self.legs) > 1 else self.legs[0].per_epoch

    def pixels(self, step: int) -> int:
        """Pixels of all pictures shown before step `step`: what time goes with."""
        return sum(
            (min(step, leg.last) - leg.first) * leg.batch * leg.height * leg.width
            for leg in self.legs
            if leg.first < step
        )

    def position(self, step: int) -> float:
        """How far along the run step `step` is, in steps, as schedules see it: where pictures grow, by the pixels shown.

        By the steps counted, the few and long ones at the last size would all lie at the end of the schedule, at rates
        too low to learn what that size asks for. A step's middle lies half a step behind its position, also where steps
        are short or long: the last one's never beyond the end.
        """
        if len(self.legs) == 1:
            return step
        middle = (self.pixels(step) + self.pixels(step + 1)) / 2
        return middle / self.pixels(self.steps) * self.steps - 0.5
