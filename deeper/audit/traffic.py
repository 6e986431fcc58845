"""Readings of pictures before and after a treatment, out-of-fold: the raw counts of an audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deeper import draws
from deeper.audit.judge import Judge
from deeper.audit.treatments import Treatment
from deeper.batches import Pictures
from deeper.distortions.apply import as_bytes, distort
from deeper.distortions.sampling import Fill

# Pictures that are transformed and read at once.
_CHUNK = 2000
# A picture enters another class when it is read as that class at least as surely as this share of the class's own
# pictures are, of those that are read right: not merely unreadable, but like one of them.
OWN_SHARE = 0.9


# It leaves its own class when that has less than this share of the probability that guessing would give it: not merely
# read as another one (a judge that knows no leaning zeros takes some for sixes, unsurely), but out of the question.
OUT_OF_QUESTION = 0.1


@dataclass(frozen=True, eq=False)
class Readings:
    """How the judge reads some pictures of known classes. Each of shape N: `given`, the most probable class, and its
    `probability`; `wrong`: `given` is not its own; `left`, `entered`: see above."""

    given: NDArray[np.int64]
    probability: NDArray[np.float32]
    wrong: NDArray[np.bool_]
    left: NDArray[np.bool_]
    entered: NDArray[np.bool_]

    @staticmethod
    def of(probabilities: NDArray[np.float32], labels: NDArray[np.int64], sure: NDArray[np.float32]) -> Readings:
        """From probabilities N × K, the true labels, and `sureness`."""
        rows = np.arange(len(labels))
        given = probabilities.argmax(1).astype(np.int64)
        probability, wrong = probabilities[rows, given], given != labels
        left = probabilities[rows, labels] < OUT_OF_QUESTION / probabilities.shape[1]
        return Readings(given, probability, wrong, left, wrong & (probability >= sure[given]))

    @staticmethod
    def joined(parts: Sequence[Readings]) -> Readings:
        """One after the other."""
        return Readings(
            np.concatenate([one.given for one in parts]),
            np.concatenate([one.probability for one in parts]),
            np.concatenate([one.wrong for one in parts]),
            np.concatenate([one.left for one in parts]),
            np.concatenate([one.entered for one in parts]),
        )


def sureness(judge: Judge) -> NDArray[np.float32]:
    """For each class the probability that nine of ten of its own pictures reach, of those read right. Shape: K.

    A class of which no picture is read right cannot be entered.
    """
    result = np.full(len(judge.classes), np.inf, np.float32)
    for label in range(len(judge.classes)):
        right = judge.correct & (judge.labels == label)
        if right.any():
            result[label] = np.quantile(judge.out_of_fold[right, label], 1 - OWN_SHARE)
    return result


def sample(judge: Judge, keys: NDArray[np.uint64], per_class: int, seed: int) -> NDArray[np.int64]:
    """Positions of up to `per_class` training pictures of each class, drawn by their keys; class by class."""
    order = draws.order(seed, 0, keys)
    chosen = [order[judge.labels[order] == label][:per_class] for label in range(len(judge.classes))]
    return np.concatenate(chosen)


def transformed(
    images: NDArray[np.uint8], keys: NDArray[np.uint64], treatment: Treatment, seed: int, fill: Fill
) -> NDArray[np.uint8]:
    """uint8 N × H × W × C → the same, treated."""
    size = (images.shape[1], images.shape[2])
    drawn = [(treatment.distortion, treatment.parameters(keys, seed))]
    return as_bytes(distort(torch.from_numpy(images), drawn, size, fill))


@dataclass(frozen=True, eq=False)
class Reading:
    """Reads treated training pictures out-of-fold. `sure`: as `sureness` gives it."""

    judge: Judge
    pictures: Pictures
    sure: NDArray[np.float32]
    seed: int
    fill: Fill

    def of(
        self,
        positions: NDArray[np.int64],
        treatments: Sequence[Treatment],
        progress: Callable[[int, int], None] | None,
    ) -> list[Readings]:
        """How the judge reads the pictures at `positions` after each treatment, by networks that did not train on them."""
        found: list[list[Readings]] = [[] for _ in treatments]
        total, done = len(positions) * len(treatments), 0
        for start in range(0, len(positions), _CHUNK):
            where = positions[start : start + _CHUNK]
            images = self.pictures.take(where)
            for number, treatment in enumerate(treatments):
                after = transformed(images, self.pictures.keys[where], treatment, self.seed, self.fill)
                probabilities = self.judge.probabilities_out_of_fold(after, where)
                found[number].append(Readings.of(probabilities, self.judge.labels[where], self.sure))
                done += len(where)
                if progress:
                    progress(done, total)
        return [Readings.joined(parts) for parts in found]
