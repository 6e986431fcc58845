"""The judge: small reference networks that were trained without any distortion, cross-fitted over the training split.

What a distorted picture looks like must be told by somebody who never saw distorted pictures, and of a training picture
by somebody who did not learn it by heart. Each fold of the training split is therefore judged by networks that trained
on the other folds. The way of training is fixed and stored with the judge; a weak judge says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deeper.audit import cache
from deeper.audit.fitting import BATCH, fit_networks
from deeper.audit.options import JudgeOptions
from deeper.errors import UsageError
from deeper.images import Preprocess
from deeper.inference import Predict, predictor, softmax
from deeper.records import Dataset
from deeper.statistics import wilson_interval
from deeper.training.precision import choose_device, choose_precision

Progress = Callable[[int, int], None]
Notice = Callable[[str], None]

# Out-of-fold accuracy whose lower bound is below this is weak: more than every fifth reading is wrong, and distortions
# that turn pictures of one class into another may go unnoticed among the errors.
WEAK_BELOW = 0.8


@dataclass(frozen=True, eq=False)
class Judge:
    """Readings by networks that never saw a distortion. Made by `judge_for`.

    `out_of_fold`: float32 N × K, probabilities of the training pictures in the order of `dataset.split("train")`, each by
    networks that did not train on it. `folds`: int64 N. `labels`: int64 N. `seconds`: spent on training in this call, 0
    when the judge was at hand.
    """

    classes: tuple[str, ...]
    preprocess: Preprocess
    out_of_fold: NDArray[np.float32]
    folds: NDArray[np.int64]
    labels: NDArray[np.int64]
    networks: tuple[tuple[nn.Module, ...], ...]
    """By fold, then seed: those of fold f did not train on fold f."""
    training: str
    """How the networks were trained, in words."""
    seconds: float

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each training picture is read right out-of-fold. Shape: N."""
        right: NDArray[np.bool_] = self.out_of_fold.argmax(1) == self.labels
        return right

    @cached_property
    def recalls(self) -> NDArray[np.float64]:
        """Of each class, the share of its training pictures that are read right out-of-fold; 0 without any. Shape: K."""
        count = np.bincount(self.labels, minlength=len(self.classes))
        right = np.bincount(self.labels[self.correct], minlength=len(self.classes))
        shares: NDArray[np.float64] = right / np.maximum(count, 1)
        return shares

    @property
    def accuracy(self) -> float:
        """Out-of-fold on the training split, 0..1."""
        return float(self.correct.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of `accuracy`."""
        return wilson_interval(int(self.correct.sum()), len(self.correct))

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the classes' recalls, out-of-fold."""
        present = np.bincount(self.labels, minlength=len(self.classes)) > 0
        return float(self.recalls[present].mean())

    @property
    def weak(self) -> bool:
        """Whether its readings are too poor to rely on: the accuracy's lower bound is below 0.8, or the balanced accuracy,
        which a judge that always says the same cannot raise by many pictures of that."""
        return self.interval[0] < WEAK_BELOW or self.balanced_accuracy < WEAK_BELOW

    @property
    def rightness(self) -> str:
        """How often it is right, in words, by the poorer of the two measures."""
        if self.balanced_accuracy < min(self.accuracy, WEAK_BELOW):
            return f"{self.balanced_accuracy:.0%} right out-of-fold, each class counting the same"
        return f"{self.accuracy:.0%} right out-of-fold"

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 N × H × W × C at the judge's size → float32 N × K, all networks averaged: for pictures that no network
        trained on (validation, test). Raises: UsageError, for another shape or dtype."""
        return self._mean([predict for fold in self._predictors for predict in fold], images)

    def probabilities_out_of_fold(
        self, images: NDArray[np.uint8], positions: NDArray[np.int64] | Sequence[int]
    ) -> NDArray[np.float32]:
        """The same for (transformed) training pictures, by the networks that did not train on them.

        `positions`: int N, where each picture stands in the training split. Raises: UsageError.
        """
        where = np.asarray(positions, np.int64)
        if where.shape != (len(images),) or (len(where) and not 0 <= where.min() <= where.max() < len(self.folds)):
            raise UsageError(f"{len(images)} pictures need a position each, from 0 to {len(self.folds) - 1}")
        result = np.empty((len(images), len(self.classes)), np.float32)
        for fold, predictors in enumerate(self._predictors):
            rows = np.flatnonzero(self.folds[where] == fold)
            if len(rows):
                result[rows] = self._mean(predictors, images[rows])
        return result

    def features(self, images: NDArray[np.uint8], fold: int = 0) -> NDArray[np.float32]:
        """uint8 N × H × W × C → float32 N × D, the penultimate layer of the first network of a fold, which did not train
        on that fold's pictures. Features of different folds have nothing to do with each other."""
        return self._predictors[fold][0](images).features

    def describe(self) -> str:
        """One line: what it is, how well it reads, whether it is weak."""
        low, high = self.interval
        count = sum(len(fold) for fold in self.networks)
        weak = ": a weak judge" if self.weak else ""
        return (
            f"{count} networks at {self.preprocess.height}×{self.preprocess.width}, {self.training}; "
            f"out-of-fold accuracy {self.accuracy * 100:.2f} % ({low * 100:.2f}–{high * 100:.2f}){weak}"
        )

    def _mean(self, predictors: Sequence[Predict], images: NDArray[np.uint8]) -> NDArray[np.float32]:
        total = np.zeros((len(images), len(self.classes)))
        for predict in predictors:
            total += softmax(predict(images).logits)
        return (total / len(predictors)).astype(np.float32)

    @cached_property
    def _predictors(self) -> tuple[tuple[Predict, ...], ...]:
        device = choose_device()
        precision, _ = choose_precision("auto", device)
        return tuple(
            tuple(predictor(model, self.preprocess, device=device, precision=precision, batch=BATCH) for model in fold)
            for fold in self.networks
        )


def judge_for(
    dataset: Dataset,
    *,
    options: JudgeOptions | None = None,
    progress: Progress | None = None,
    notice: Notice | None = None,
) -> Judge:
    """The judge of a dataset: read from its folder (`judge/`) where it lies, else trained and put there.

    It is trained again when the dataset or the options are others, or what lies there is damaged. Where the dataset's
    folder is read-only it is kept in the cache folder. `progress(done, total)`: training steps of all networks.
    `notice`: one line for whatever the user should know.

    Raises: DatasetError, for fewer pictures than folds, one class, or a damaged dataset.
    """
    options = options or JudgeOptions()
    say = notice or (lambda text: None)
    stored = cache.read(dataset, options, say)
    seconds = 0.0
    if stored is None:
        stored, seconds = fit_networks(dataset, options, progress, say)
        cache.write(dataset, options, stored, say)
    judge = Judge(
        classes=dataset.classes,
        preprocess=stored.preprocess,
        out_of_fold=stored.out_of_fold,
        folds=stored.folds,
        labels=dataset.split("train").labels,
        networks=stored.networks,
        training=stored.training,
        seconds=seconds,
    )
    say(f"judge: {judge.describe()}")
    return judge
