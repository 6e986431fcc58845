"""The end of a training with batch norm: does evaluation answer as training did? If not, statistics are measured anew.

Nothing here is kept in a checkpoint: what is done is a function of the last weights, the pictures and the seed, and a run
that is killed meanwhile does it again when it is resumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from deeper import draws
from deeper.batches import Pictures
from deeper.distortions.apply import distort
from deeper.models.batch_norm import Gap, gap, layers_of, recalibrate, right
from deeper.training.arithmetic import arithmetic
from deeper.training.stepping import Feed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from deeper.evaluation import Evaluation
    from deeper.training.options import Options

# Pictures on which the gap is looked for and old and new statistics are compared, and training pictures whose statistics
# are taken: enough to see a point's difference, and few enough to cost less than a validation.
CHECKED, MEASURED = 500, 1000


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What the check found and what was done. `pictures`: training pictures that were measured, 0 where none were.

    `before`, `after`: accuracy on the checked pictures with the old and the new statistics; None where there was nothing
    to compare. `kept`: whether the new ones were. `statistics`: those that were kept, by their names in the state dict.
    `evaluation`: of all validation pictures, with what was kept.
    """

    gap: Gap
    judged_on: str
    pictures: int = 0
    before: float | None = None
    after: float | None = None
    kept: bool = False
    statistics: dict[str, Tensor] = field(default_factory=dict)
    evaluation: Evaluation | None = None

    def to_plain(self) -> dict[str, Any]:
        """For metrics.jsonl, --json and the bundle."""
        return {
            **self.gap.to_plain(),
            "judged_on": self.judged_on,
            "recalibrated": self.kept,
            "recalibration_pictures": self.pictures,
            "accuracy_before": self.before,
            "accuracy_after": self.after,
        }


def settle(
    model: nn.Module,
    feed: Feed,
    options: Options,
    layers: Sequence[str],
    *,
    validation: Pictures | None,
    evaluate: Callable[[nn.Module], Evaluation],
    before: Evaluation | None,
    say: Callable[[str], None],
) -> Settled | None:
    """Check `model` on some of `validation` (at the network's size), or of the training pictures where there is none;
    recalibrate it where evaluation differs from training or sizes changed on the way, as the options say. `model` is
    left as it was.

    `layers`: batch-norm layers that trained on batches. `evaluate`: on all validation pictures; called once, with what
    is kept, or not at all. `before`: the evaluation of the model as it is, where it is known.

    None, where there is nothing to check: no such layers, none that runs in evaluation, or a single picture.
    """
    judged = feed.pictures if validation is None else validation
    if not layers_of(model, layers) or min(len(judged), len(feed.pictures)) < 2:
        return None
    inputs = _Inputs(feed, options)
    # As the weights were trained last: a batch of the first, small pictures may be too large for these.
    batch = feed.course.legs[-1].batch if feed.course is not None else options.batch
    checked = _drawn(judged, options.seed, batch, "batch-norm gap", CHECKED)
    with arithmetic(inputs.device, feed.precision):
        found = gap(model, inputs.plain(judged, checked), layers=layers)
    if found is None:
        return None
    judged_on = "train" if validation is None else "validation"
    if found.differs:
        say(f"evaluation differs from training: {found.describe()}")
    if options.recalibrate == "never" and found.differs:
        say("running statistics are left as they are, as asked; without --no-recalibrate they would be measured anew")

    def of_all() -> Evaluation | None:
        return evaluate(model) if validation is not None else None

    if not (found.differs or sure(feed, options)) or options.recalibrate == "never":
        return Settled(gap=found, judged_on=judged_on, evaluation=before or of_all())
    old = {name: tensor.clone() for name, tensor in _statistics(model, layers).items()}
    try:
        measured = _drawn(feed.pictures, options.seed, batch, "recalibration", MEASURED)
        with arithmetic(inputs.device, feed.precision):
            pictures = recalibrate(model, inputs.distorted(measured), layers=layers)
            after = right(model, inputs.plain(judged, checked)) / found.pictures
        kept = after >= found.running_accuracy
        new = {name: tensor.clone() for name, tensor in _statistics(model, layers).items()} if kept else {}
        if kept:
            before = of_all()
    finally:
        with torch.no_grad():
            for name, tensor in _statistics(model, layers).items():
                tensor.copy_(old[name])
    where = "validation pictures" if validation is not None else "of those it trained on"
    say(
        f"running statistics measured anew on {pictures:,} training pictures: of {found.pictures:,} {where} "
        f"{found.running_accuracy:.2%} → {after:.2%} right" + ("" if kept else "; not kept")
    )
    return Settled(
        gap=found,
        judged_on=judged_on,
        pictures=pictures,
        before=found.running_accuracy,
        after=after,
        kept=kept,
        statistics=new,
        evaluation=before or of_all(),
    )


def sure(feed: Feed, options: Options) -> bool:
    """Whether statistics are measured anew even where no gap is found."""
    if options.recalibrate == "auto":
        return feed.course is not None and feed.course.staged
    return options.recalibrate == "always"


def pictures_forward(options: Options, *, staged: bool, judged: int, training: int) -> int:
    """Forward passes of `settle` in pictures, its one evaluation left out, for a network with batch norm."""
    checked, measured = min(CHECKED, judged or training), min(MEASURED, training)
    anew = options.recalibrate == "always" or (staged and options.recalibrate == "auto")
    return 2 * checked + (measured + checked if anew else 0)


def _statistics(model: nn.Module, layers: Sequence[str]) -> dict[str, Tensor]:
    """The live running statistics by their names in the state dict, by each where a network reaches a layer under two."""
    live = {id(one) for layer in layers_of(model, layers).values() for one in (layer.running_mean, layer.running_var)}
    return {name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if id(tensor) in live}


def _drawn(pictures: Pictures, seed: int, batch: int, purpose: str, most: int) -> list[NDArray[np.int64]]:
    """Positions of up to `most` pictures in a drawn order, in equal batches of at most `batch`, but of two or more."""
    order = draws.order(draws.derive(seed, 0, purpose), 0, pictures.keys)[:most]
    parts = max(1, min(math.ceil(len(order) / batch), len(order) // 2))
    return [part.astype(np.int64) for part in np.array_split(order, parts)]


class _Inputs:
    """Pictures as the network takes them."""

    def __init__(self, feed: Feed, options: Options) -> None:
        self.feed, self.options = feed, options
        self.device = str(feed.sample.device)

    def plain(self, pictures: Pictures, batches: Sequence[NDArray[np.int64]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Undistorted, with their labels."""
        distorter = self.feed.distorter
        for positions in batches:
            images = torch.from_numpy(np.ascontiguousarray(pictures.take(positions))).to(self.device)
            labels = torch.from_numpy(pictures.labels[positions]).to(self.device)
            yield self.feed.normalise(distort(images, (), distorter.size, distorter.fill)), labels

    def distorted(self, batches: Sequence[NDArray[np.int64]]) -> Iterator[Tensor]:
        """Training pictures as the first epoch distorts them, at the network's size: what the network learned on."""
        pictures = self.feed.pictures
        for positions in batches:
            images = torch.from_numpy(np.ascontiguousarray(pictures.take(positions))).to(self.device)
            yield self.feed.normalise(
                self.feed.distorter(images, pictures.keys[positions], pictures.labels[positions], 0)
            )
