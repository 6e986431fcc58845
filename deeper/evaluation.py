"""Any `Predict` + batches → `Evaluation`: what a model got right and wrong on a split, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.batches import Batch
from deeper.errors import UsageError
from deeper.inference import Predict, softmax
from deeper.statistics import wilson_interval

# Equal-width bins of confidence for the calibration error (Guo et al., arXiv 1706.04599).
BINS = 15


@dataclass(frozen=True)
class Mistake:
    """One wrong answer. `probability`: of the given class; `true_probability`: of the true one."""

    id: str
    label: str
    predicted: str
    probability: float
    true_probability: float
    position: int


@dataclass(frozen=True)
class ClassResult:
    """One class. A number is None where it is not defined: recall without pictures, precision without answers."""

    name: str
    support: int
    correct: int
    predicted: int
    recall: float | None
    recall_interval: tuple[float, float] | None
    precision: float | None
    f1: float | None


@dataclass(frozen=True)
class Evaluation:
    """`labels`: int64 N. `logits`: float32 N × K. `features`: float32 N × D. `ids`: N names."""

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    features: NDArray[np.float32]

    @property
    def total(self) -> int:
        return len(self.labels)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """Softmax of the logits. Shape: N × K."""
        return softmax(self.logits)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """Index of the class with the largest logit. Shape: N."""
        chosen: NDArray[np.int64] = self.logits.argmax(1)
        return chosen

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Where the answer is right. Shape: N."""
        right: NDArray[np.bool_] = self.predicted == self.labels
        return right

    @property
    def correct(self) -> int:
        return int(self.right.sum())

    @property
    def accuracy(self) -> float:
        return self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return wilson_interval(self.correct, self.total)

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Rows: true class; columns: given class. Shape: K × K."""
        size = len(self.classes)
        counts: NDArray[np.int64] = np.bincount(self.labels * size + self.predicted, minlength=size * size)
        return counts.reshape(size, size)

    @cached_property
    def per_class(self) -> tuple[ClassResult, ...]:
        results = []
        for index, name in enumerate(self.classes):
            support, given = int(self.confusion[index].sum()), int(self.confusion[:, index].sum())
            correct = int(self.confusion[index, index])
            recall = correct / support if support else None
            precision = correct / given if given else None
            f1 = 2 * correct / (support + given) if support + given else None
            interval = wilson_interval(correct, support) if support else None
            results.append(ClassResult(name, support, correct, given, recall, interval, precision, f1))
        return tuple(results)

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall over the classes that the split has."""
        return float(np.mean([result.recall for result in self.per_class if result.recall is not None]))

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that the split has or that were given."""
        return float(np.mean([result.f1 for result in self.per_class if result.f1 is not None]))

    def top(self, k: int) -> float:
        """Share of pictures whose class is among the `k` most probable."""
        k = min(k, len(self.classes))
        best = np.argpartition(-self.logits, k - 1, axis=1)[:, :k]
        return float((best == self.labels[:, None]).any(1).mean())

    @property
    def negative_log_likelihood(self) -> float:
        """Mean over the pictures, in nats."""
        chosen = self.probabilities[np.arange(self.total), self.labels]
        return float(-np.log(np.maximum(chosen, 1e-300)).mean())

    @cached_property
    def reliability(self) -> tuple[tuple[int, float, float], ...]:
        """For each of 15 bins of confidence: pictures, mean confidence, accuracy (0 where there is none)."""
        confidence = self.probabilities.max(1)
        bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
        rows = []
        for number in range(BINS):
            inside = bins == number
            count = int(inside.sum())
            rows.append((count, float(confidence[inside].mean()), float(self.right[inside].mean())) if count else (0, 0.0, 0.0))
        return tuple(rows)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean |accuracy − confidence| over the bins, weighted by pictures."""
        return sum(count * abs(accuracy - confidence) for count, confidence, accuracy in self.reliability) / self.total

    @cached_property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The wrong answers, the most confident first."""
        probabilities = self.probabilities
        wrong = np.flatnonzero(~self.right)
        found = [
            Mistake(
                id=self.ids[position],
                label=self.classes[self.labels[position]],
                predicted=self.classes[self.predicted[position]],
                probability=float(probabilities[position, self.predicted[position]]),
                true_probability=float(probabilities[position, self.labels[position]]),
                position=int(position),
            )
            for position in wrong
        ]
        return tuple(sorted(found, key=lambda mistake: (-mistake.probability, mistake.id)))

    def confused(self) -> list[tuple[str, str, int]]:
        """(true class, given class, count) of the wrong answers, the most frequent first."""
        pairs = [
            (self.classes[row], self.classes[column], int(self.confusion[row, column]))
            for row, column in zip(*np.nonzero(self.confusion), strict=True)
            if row != column
        ]
        return sorted(pairs, key=lambda pair: (-pair[2], pair[0], pair[1]))

    def summary(self) -> dict[str, Any]:
        """The headline numbers, as plain data."""
        return {
            "accuracy": self.accuracy,
            "correct": self.correct,
            "total": self.total,
            "interval": list(self.interval),
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "top_5": self.top(5),
            "negative_log_likelihood": self.negative_log_likelihood,
            "calibration_error": self.calibration_error,
        }

    def to_plain(self) -> dict[str, Any]:
        """Everything that `deeper evaluate --json` prints; keys are described in docs/json.md."""
        return {
            **self.summary(),
            "classes": list(self.classes),
            "per_class": [
                {
                    "class": result.name,
                    "support": result.support,
                    "correct": result.correct,
                    "predicted": result.predicted,
                    "recall": result.recall,
                    "recall_interval": list(result.recall_interval) if result.recall_interval else None,
                    "precision": result.precision,
                    "f1": result.f1,
                }
                for result in self.per_class
            ],
            "confusion": self.confusion.tolist(),
            "reliability": [
                {"count": count, "confidence": confidence, "accuracy": accuracy}
                for count, confidence, accuracy in self.reliability
            ],
            "errors": [
                {
                    "id": mistake.id,
                    "class": mistake.label,
                    "predicted": mistake.predicted,
                    "probability": mistake.probability,
                    "true_probability": mistake.true_probability,
                }
                for mistake in self.mistakes
            ],
        }


def evaluate(predict: Predict, batches: Iterable[Batch], classes: Sequence[str]) -> Evaluation:
    """Run `predict` over `batches` (pictures at the model's size) and gather what it said.

    Raises: UsageError, for no pictures at all, or a model with another number of classes.
    """
    ids: list[str] = []
    labels, logits, features = [], [], []
    for batch in batches:
        scores = predict(batch.images)
        ids += batch.ids
        labels.append(batch.labels)
        logits.append(scores.logits)
        features.append(scores.features)
    if not ids:
        raise UsageError("there is no picture to evaluate on; choose another split")
    gathered = np.concatenate(logits)
    if gathered.shape[1] != len(classes):
        raise UsageError(f"the model knows {gathered.shape[1]} classes, the dataset {len(classes)}: they do not belong together")
    return Evaluation(tuple(classes), tuple(ids), np.concatenate(labels), gathered, np.concatenate(features))


def align(evaluations: Mapping[str, Evaluation]) -> dict[str, NDArray[np.bool_]]:
    """For each name, where it is right, over the same pictures in the same order (sorted by id).

    Raises: UsageError, when two do not speak of the same pictures with the same labels, naming one that differs.
    """
    first_name, first = next(iter(evaluations.items()))
    reference = dict(zip(first.ids, (first.classes[label] for label in first.labels), strict=True))
    order = sorted(reference)
    rows = {}
    for name, evaluation in evaluations.items():
        labels = dict(zip(evaluation.ids, (evaluation.classes[label] for label in evaluation.labels), strict=True))
        if labels != reference:
            odd = next(iter({*labels.items()} ^ {*reference.items()}))[0]
            raise UsageError(
                f"{first_name} and {name} were judged on different pictures ({odd!r} for one); compare on one dataset and split"
            )
        right = dict(zip(evaluation.ids, evaluation.right, strict=True))
        rows[name] = np.array([right[identifier] for identifier in order], dtype=np.bool_)
    return rows
