"""What TensorBoard shows of a validation: the confusion matrix, precision-recall curves, mistakes, the projector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deeper.errors import printable
from deeper.monitor import projector
from deeper.monitor.figures import confusion_figure
from deeper.monitor.grids import sheet
from deeper.training.events import EpochDone

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# Pictures on the sheet of mistakes.
MISTAKES = 36
# Precision-recall curves of more classes than this are a page nobody scrolls through.
CURVES = 20
# Points of a curve; TensorBoard's own encoding ends at 127.
THRESHOLDS = 100
_AT_ONCE = 64


def write_confusion(writer: SummaryWriter, event: EpochDone) -> None:
    """`confusion`: the matrix as a picture."""
    evaluation = event.evaluation
    picture = confusion_figure(evaluation.confusion, evaluation.classes, f"validation after step {event.step:,}")
    writer.add_image("confusion", picture, event.step, dataformats="HWC")


def write_curves(writer: SummaryWriter, event: EpochDone) -> None:
    """`precision_recall/CLASS`: one curve per class, of the most frequent `CURVES` classes where there are more."""
    evaluation = event.evaluation
    count = len(evaluation.classes)
    support = np.bincount(evaluation.labels, minlength=count)
    order = np.argsort(-support, kind="stable")[:CURVES]
    if count > CURVES:
        said = f"Curves of the {CURVES} classes with the most validation pictures, of {count} classes."
        writer.add_text("precision_recall", said, event.step)
    # Of two that read the same, one would be lost.
    shown = Counter(printable(name, 60) for name in evaluation.classes)
    names = [
        name if shown[name] == 1 else f"{name} (#{index})"
        for index, name in enumerate(printable(one, 60) for one in evaluation.classes)
    ]
    for index in sorted(order.tolist()):
        if support[index] > 0:
            tag = f"precision_recall/{names[index]}"
            is_class, probability = evaluation.labels == index, evaluation.probabilities[:, index]
            writer.add_pr_curve(tag, is_class, probability, event.step, THRESHOLDS)


def write_misclassified(writer: SummaryWriter, event: EpochDone) -> None:
    """`pictures/misclassified`: the mistakes that the network is surest of."""
    evaluation = event.evaluation
    labels, answers = evaluation.labels, evaluation.predicted
    sure = evaluation.probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != labels)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")][:MISTAKES]
    shown = f"the {len(worst)} surest of {len(wrong):,}" if len(worst) < len(wrong) else f"all {len(wrong)}"
    title = (f"step {event.step:,}: {shown} misclassified,", "answer → label, probability of the answer")
    if not len(wrong):
        title = (f"step {event.step:,}:", "every validation picture is right")
    names = evaluation.classes
    captions = [(f"{names[answers[i]]} → {names[labels[i]]}", f"p {sure[i]:.2f}") for i in worst]
    pictures = list(event.pictures(worst.tolist())) if len(worst) else []
    writer.add_image("pictures/misclassified", sheet(pictures, captions, title=title), event.step, dataformats="HWC")


def write_projector(folder: Path, event: EpochDone) -> None:
    """The features of the validation pictures for the embedding projector. Raises: StorageError."""
    evaluation = event.evaluation
    labels, answers = evaluation.labels, evaluation.predicted
    picked = projector.chosen(labels)
    names = [
        (
            evaluation.classes[labels[i]],
            evaluation.classes[answers[i]],
            "right" if labels[i] == answers[i] else "wrong",
            evaluation.ids[i],
        )
        for i in picked
    ]

    def pictures() -> Iterator[NDArray[np.uint8]]:
        # Two thousand of 299 pixels at once are half a gigabyte, of which the page gets small copies.
        for first in range(0, len(picked), _AT_ONCE):
            yield from event.pictures(picked[first : first + _AT_ONCE].tolist())

    projector.write(folder, evaluation.features[picked], pictures(), names)
