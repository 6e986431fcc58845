"""Progressive resizing as values: a training that begins with small pictures and ends at the network's own size.

A step at 75 pixels costs a sixteenth of one at 299, and early steps learn what small pictures show as well (fast.ai's
DAWNBench entries of 2018; Touvron et al., Fixing the train-test resolution discrepancy, arXiv 1906.06423). Stages are
few: libraries for convolutions prepare themselves anew for each size.

`Stage` is what a recipe or a user asks for; `deeper.training.course` is what it comes to in a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deeper.errors import UsageError, printable


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the training at one picture size; with neither `scale` nor `size`, the run's own. The last stage of a
    training has the run's own size, which `size` there decides."""

    scale: float | None = None
    """Of the run's height and width, above 0 and at most 1. Never below what the network can take."""
    size: int | None = None
    """Instead of scale: the longer side in pixels."""
    share: float | None = None
    """Of the pictures that the whole training shows; stages without one share alike in what is left."""
    batch: int | None = None
    """Pictures in one step of this stage; the run's batch when None."""
    hardest: float | None = None
    """Of the training pictures, the share that this stage shows: those that cost the most when they were judged, before the
    first stage that names one, and no fewer than a batch. All when None; not for the first stage. Wrong labels are among
    the hardest too."""

    def __post_init__(self) -> None:
        if self.scale is not None and self.size is not None:
            raise UsageError(f"a stage has a scale or a size, not both; got {self.scale:g} and {self.size}")
        if self.scale is not None and not 0 < self.scale <= 1:
            raise UsageError(f"a stage's scale must be above 0 and at most 1, got {self.scale:g}")
        if self.size is not None and self.size < 1:
            raise UsageError(f"a stage's size must be at least 1 pixel, got {self.size}")
        if self.share is not None and not 0 < self.share <= 1:
            raise UsageError(f"a stage's share must be above 0 and at most 1, got {self.share:g}")
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"a stage's batch must be at least 1, got {self.batch}")
        if self.hardest is not None and not 0 < self.hardest <= 1:
            raise UsageError(f"a stage's hardest must be a share above 0 and at most 1, got {self.hardest:g}")


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Stages as one types them, with commas between: `SIZE`, `SIZE:SHARE`, `SIZE:SHARE:BATCH` or
    `SIZE:SHARE:BATCH:HARDEST`, where what is in the middle may be left empty; `off` is no stages.

    Raises: UsageError.
    """
    return () if text.strip() == "off" else tuple(_parse(part) for part in text.split(","))


def _parse(text: str) -> Stage:
    size, *rest = text.split(":")
    try:
        share, batch, hardest, *more = [*rest, "", "", ""][: max(3, len(rest))]
        if more:
            raise ValueError
        return Stage(
            size=int(size),
            share=float(share) if share.strip() else None,
            batch=int(batch) if batch.strip() else None,
            hardest=float(hardest) if hardest.strip() else None,
        )
    except UsageError:
        raise
    except ValueError:
        raise UsageError(
            f"no picture size in {printable(repr(text))}; wanted pixels, pixels:share, pixels:share:batch or "
            "pixels:share:batch:hardest, "
            "for example --sizes 75:0.5,149:0.3,299"
        ) from None


def check_shares(stages: Sequence[Stage]) -> None:
    """Raises: UsageError, when the shares leave nothing for a stage, or do not add up to 1, or the first stage asks for the
    hardest pictures before any was judged."""
    if stages and stages[0].hardest is not None:
        raise UsageError(
            "the first stage asks for the hardest pictures, and nothing was learned yet to judge them by: begin with a "
            "stage of all"
        )
    total = sum(stage.share or 0.0 for stage in stages)
    unsaid = sum(stage.share is None for stage in stages)
    if unsaid and total >= 1:
        raise UsageError(f"the stages' shares add up to {total:g} and leave nothing for those without one")
    if stages and not unsaid and abs(total - 1) > 1e-6:
        raise UsageError(f"the stages' shares add up to {total:g}; wanted 1, or leave the last one out")


def own_size(stages: Sequence[Stage]) -> int | None:
    """The run's longer side where the stages decide it."""
    return stages[-1].size if stages else None
