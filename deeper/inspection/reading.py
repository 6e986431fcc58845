"""The judge's readings of pictures and of what was made of them, in the run's classes."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deeper.images import Preprocess
from deeper.inspection.tries import Transform


class Judge(Protocol):
    """What inspection asks of `deeper.audit.judge.Judge`."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def preprocess(self) -> Preprocess: ...

    @property
    def accuracy(self) -> float: ...

    @property
    def interval(self) -> tuple[float, float]: ...

    @property
    def balanced_accuracy(self) -> float: ...

    @property
    def weak(self) -> bool: ...

    def describe(self) -> str: ...

    @property
    def folds(self) -> NDArray[np.int64]: ...

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]: ...

    def probabilities_out_of_fold(
        self, images: NDArray[np.uint8], positions: NDArray[np.int64]
    ) -> NDArray[np.float32]: ...

    def features(self, images: NDArray[np.uint8], fold: int = 0) -> NDArray[np.float32]: ...


class Reader:
    """A judge that never reads a picture by a network that trained on it.

    `labels`: for each of the judge's classes the run's, among `classes` of them.
    """

    def __init__(self, judge: Judge, labels: NDArray[np.int64], classes: int) -> None:
        self.judge, self.labels, self.classes = judge, labels, classes

    def probabilities(self, images: NDArray[np.uint8], training: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 N × K, in the run's classes. `training`: positions in the judge's training split, −1 where not in it.
        `images`: uint8 at the judge's size."""
        result = np.zeros((len(images), self.classes), np.float32)
        inside = training >= 0
        if inside.any():
            result[np.ix_(inside, self.labels)] = self.judge.probabilities_out_of_fold(images[inside], training[inside])
        if not inside.all():
            result[np.ix_(~inside, self.labels)] = self.judge.probabilities(images[~inside])
        return result

    def tried(
        self,
        transform: Transform,
        images: NDArray[np.uint8],
        training: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Of each try of `transform`. float32 G × N × K."""
        if not len(images):
            return np.zeros((transform.tries, 0, self.classes), np.float32)
        return np.stack([self.probabilities(transform(images, number), training) for number in range(transform.tries)])

    def folds(self, training: NDArray[np.int64]) -> NDArray[np.int64]:
        """By which fold's network each picture may be compared: one that did not train on it. int64 N. `training`: as
        for `probabilities`."""
        folds: NDArray[np.int64] = np.where(training >= 0, self.judge.folds[training], 0)
        return folds

    def features(self, images: NDArray[np.uint8], fold: int) -> NDArray[np.float32]:
        """The judge's features by one fold's network, each of length 1. float32 N × D."""
        features = self.judge.features(images, fold)
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        unit: NDArray[np.float32] = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
        return unit
