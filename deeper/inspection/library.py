"""Training pictures by class, as the judge sees them: where an error's nearest neighbours are looked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deeper import draws
from deeper.images import Preprocess
from deeper.inspection.reading import Reader
from deeper.inspection.tries import Transform
from deeper.records import Dataset

# Training pictures of a class among which the nearest is looked for: the first of a drawn order.
NEAREST_AMONG = 1_000
# Of a class whose pictures are distorted forwards, several times each.
DISTORTED = 150
# Pictures at the judge's size that are held for it at once.
_CUT = 500


class Library:
    """Up to `NEAREST_AMONG` training pictures of each class, of those that the run trained on, read when a class is first
    asked for.

    Features are held (a few MB a class and fold), pictures are not. `trained`: bool N, which pictures of the training
    split the run trained on. `fold`: whose network's features are compared, as `Reader.folds` says for each picture.
    """

    def __init__(self, dataset: Dataset, labels: NDArray[np.int64], reader: Reader, trained: NDArray[np.bool_]) -> None:
        self.split = dataset.split("train")
        self.reader, self.fit = reader, reader.judge.preprocess
        ours = labels[self.split.labels]
        order = draws.order(0, 0, self.split.keys)
        order = order[trained[order]]
        self._members: list[NDArray[np.int64]] = []
        sorted_labels = ours[order]
        for index in range(reader.classes):
            self._members.append(order[sorted_labels == index][:NEAREST_AMONG])
        self._features: dict[tuple[int, int], NDArray[np.float32]] = {}
        self._few: dict[tuple[int, int], NDArray[np.float32]] = {}

    def members(self, label: int) -> NDArray[np.int64]:
        """Positions in the training split."""
        return self._members[label]

    def picture(self, position: int, fit: Preprocess) -> NDArray[np.uint8]:
        """uint8 H × W × C."""
        return fit.fit(self.split.picture(int(position), at_least=fit.needed))

    def pictures(self, positions: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 N × H × W × C, at the judge's size."""
        fit = self.fit
        result = np.empty((len(positions), fit.height, fit.width, fit.channels), np.uint8)
        for row, position in enumerate(positions):
            result[row] = self.picture(int(position), fit)
        return result

    def features(self, label: int, fold: int) -> NDArray[np.float32]:
        """Of the class's members, each of length 1. float32 N × D."""
        if (label, fold) not in self._features:
            members = self.members(label)
            cuts = [members[first : first + _CUT] for first in range(0, len(members), _CUT)]
            parts = [self.reader.features(self.pictures(cut), fold) for cut in cuts]
            self._features[label, fold] = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
        return self._features[label, fold]

    def nearest(self, features: NDArray[np.float32], label: int, fold: int) -> tuple[int, float] | None:
        """(position in the training split, distance) of the class's member nearest to one picture's features. D → …"""
        if not len(self.members(label)):
            return None
        closeness = self.features(label, fold) @ features
        best = int(closeness.argmax())
        return int(self.members(label)[best]), distance(float(closeness[best]))

    def distorted(self, label: int, transform: Transform, fold: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(positions, features) of `DISTORTED` members of a class, each after every try of `transform`. Of a copy that it
        left as it is (nothing was erased), the features are zeros: like nothing."""
        members = self.members(label)[:DISTORTED]
        if not len(members):
            return members, np.zeros((0, 1), np.float32)
        images = self.pictures(members)
        parts = []
        for number in range(transform.tries):
            distorted = transform(images, number)
            same = (distorted == images).reshape(len(images), -1).all(axis=1)
            parts.append(np.where(same[:, None], np.float32(0), self.reader.features(distorted, fold)))
        return np.tile(members, transform.tries), np.concatenate(parts)

    def plain(self, label: int, fold: int, but: int = -1) -> NDArray[np.float32]:
        """Features of the same `DISTORTED` members as they are; without the one at training position `but`."""
        others: NDArray[np.bool_] = self.members(label)[:DISTORTED] != but
        kept: NDArray[np.float32] = self._first(label, fold)[others]
        return kept

    def _first(self, label: int, fold: int) -> NDArray[np.float32]:
        """Of the first `DISTORTED` members alone: a thousand classes are not to be read whole for them."""
        if (label, fold) in self._features:
            return self._features[label, fold][:DISTORTED]
        if (label, fold) not in self._few:
            members = self.members(label)[:DISTORTED]
            empty = np.zeros((0, 1), np.float32)
            self._few[label, fold] = self.reader.features(self.pictures(members), fold) if len(members) else empty
        return self._few[label, fold]


def distance(closeness: float) -> float:
    """Euclidean distance of two vectors of length 1 from their product. 0..2."""
    return float(np.sqrt(max(0.0, 2 - 2 * closeness)))
