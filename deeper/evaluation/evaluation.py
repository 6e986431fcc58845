"""Any `Predict` + batches → `Evaluation`: what a model got right and wrong on a split, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.batches import Batch
from deeper.errors import DivergedError, UsageError, printable
from deeper.evaluation import calibration
from deeper.evaluation.confusions import confusions
from deeper.inference import Predict, log_softmax, softmax
from deeper.statistics import wilson_interval

# The k of the top-k accuracies that are reported, as far as there are more classes than k.
TOP = (1, 2, 3, 5, 10)


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
    """One class, against all others.

    A number is None where it is not defined, and `reason` then says why: recall needs pictures of the class, precision
    answers with it, F1 one of both. Intervals are Wilson's, 95 %.
    """

    name: str
    support: int
    """Pictures of the class."""
    correct: int
    predicted: int
    """Pictures that were answered with the class."""
    recall: float | None
    recall_interval: tuple[float, float] | None
    precision: float | None
    precision_interval: tuple[float, float] | None
    f1: float | None

    @property
    def reason(self) -> str | None:
        """Why a number is None; None where none is."""
        if self.support == 0 and self.predicted == 0:
            return "the split has no picture of this class and no picture was given it"
        if self.support == 0:
            return "the split has no picture of this class"
        return "no picture was given this class" if self.predicted == 0 else None

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it; keys are described in docs/json.md."""
        return {
            "class": self.name,
            "support": self.support,
            "correct": self.correct,
            "predicted": self.predicted,
            "recall": self.recall,
            "recall_interval": list(self.recall_interval) if self.recall_interval else None,
            "precision": self.precision,
            "precision_interval": list(self.precision_interval) if self.precision_interval else None,
            "f1": self.f1,
            "reason": self.reason,
        }


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A network's answers on a split, and all that follows from them.

    `ids`: N names. `labels`: int64 N, indices into `classes`. `logits`: float32 N × K. `features`: float32 N × D, the
    penultimate layer, or None where they were not kept.

    Raises: UsageError, for no pictures at all or numbers that do not fit together; DivergedError, for logits that are
    NaN or infinite.
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    features: NDArray[np.float32] | None = None
    original: NDArray[np.int64] | None = None
    """The labels before a person corrected some of them. Shape: N. None where nothing was corrected."""
    excluded: int = 0
    """Pictures of the split that a person left out; they are in no number here."""
    temperature: float = 1.0
    """What logits are divided by before they become probabilities: a bundle's, so that all that is said of
    probabilities is of those that `predict` and a server give."""

    def __post_init__(self) -> None:
        count, size = len(self.ids), len(self.classes)
        if count == 0:
            raise UsageError("there is no picture to evaluate on; choose a split that has some")
        if self.labels.shape != (count,) or (self.features is not None and len(self.features) != count):
            raise UsageError(
                f"{count} ids, labels of shape {self.labels.shape} and features of another length do not belong together"
            )
        if self.logits.shape != (count, size):
            raise UsageError(
                f"the model answers {'×'.join(map(str, self.logits.shape))} logits for {count} pictures of {size} classes: "
                "they do not belong together; evaluate on a dataset of the model's classes"
            )
        if self.labels.min() < 0 or self.labels.max() >= size:
            raise UsageError(
                f"labels from {self.labels.min()} to {self.labels.max()}; wanted 0 to {size - 1}, one for each class"
            )
        bad = np.flatnonzero(~np.isfinite(self.logits).all(axis=1))
        if len(bad):
            raise DivergedError(
                f"the network answers NaN or infinity for {len(bad)} of {count} pictures ({printable(self.ids[bad[0]])} "
                "first): its weights have diverged; take an earlier checkpoint, or train with a lower --rate"
            )

    @property
    def total(self) -> int:
        return len(self.labels)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """Softmax of the logits over the temperature. Shape: N × K."""
        return softmax(self.logits / np.float32(self.temperature))

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of the given class. Shape: N."""
        highest: NDArray[np.float64] = self.probabilities.max(axis=1)
        return highest

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

    @property
    def before_correction(self) -> dict[str, Any] | None:
        """The same answers against the labels as they were before corrections: `accuracy`, `correct`, `interval`,
        `relabelled` and `excluded` (pictures). None where nothing was corrected."""
        if self.original is None:
            return None
        correct = int((self.predicted == self.original).sum())
        return {
            "accuracy": correct / self.total,
            "correct": correct,
            "interval": list(wilson_interval(correct, self.total)),
            "relabelled": int((self.original != self.labels).sum()),
            "excluded": self.excluded,
        }

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
            results.append(
                ClassResult(
                    name=name,
                    support=support,
                    correct=correct,
                    predicted=given,
                    recall=correct / support if support else None,
                    recall_interval=wilson_interval(correct, support) if support else None,
                    precision=correct / given if given else None,
                    precision_interval=wilson_interval(correct, given) if given else None,
                    f1=2 * correct / (support + given) if support + given else None,
                )
            )
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
        """Share of pictures whose class is among the `k` most probable (of equal ones the first counts as more so, as
        for `predicted`)."""
        return float((self._ranks < k).mean())

    @cached_property
    def _ranks(self) -> NDArray[np.int64]:
        """How many classes are more probable than the true one. Shape: N."""
        of_true = self.logits[np.arange(self.total), self.labels][:, None]
        earlier = np.arange(len(self.classes)) < self.labels[:, None]
        ranks: NDArray[np.int64] = ((self.logits > of_true) | ((self.logits == of_true) & earlier)).sum(axis=1)
        return ranks

    @property
    def top_accuracies(self) -> dict[int, float]:
        """k → share of pictures whose class is among the k most probable, for 1, 2, 3, 5, 10 as far as k < K."""
        return {k: self.top(k) for k in TOP if k < len(self.classes) or k == 1}

    @cached_property
    def negative_log_likelihood(self) -> float:
        """Mean over the pictures, in nats."""
        answers = log_softmax(self.logits / np.float32(self.temperature))
        return calibration.negative_log_likelihood(answers, self.labels)

    @cached_property
    def brier_score(self) -> float:
        """Summed over the classes, mean over the pictures: 0 (perfect) to 2 (sure and wrong)."""
        return calibration.brier_score(self.probabilities, self.labels)

    @cached_property
    def reliability(self) -> tuple[calibration.Bin, ...]:
        """The pictures in 15 equal-width bins of confidence."""
        return calibration.reliability(self.confidence, self.right)

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over those bins, 0..1."""
        return calibration.expected_calibration_error(self.reliability)

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
        """(true class, given class, count) of the wrong answers, the most frequent first, ties in class order."""
        return [(self.classes[true], self.classes[given], count) for true, given, count in confusions(self.confusion)]

    def summary(self) -> dict[str, Any]:
        """The headline numbers, as plain data."""
        return {
            "accuracy": self.accuracy,
            "correct": self.correct,
            "total": self.total,
            "interval": list(self.interval),
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "top_k": {str(k): share for k, share in self.top_accuracies.items()},
            "negative_log_likelihood": self.negative_log_likelihood,
            "brier_score": self.brier_score,
            "calibration_error": self.calibration_error,
            "temperature": self.temperature,
        }

    def to_plain(self) -> dict[str, Any]:
        """Everything that `deeper evaluate --json` prints; keys are described in docs/json.md."""
        return {
            **self.summary(),
            "before_correction": self.before_correction,
            "classes": list(self.classes),
            "per_class": [result.to_plain() for result in self.per_class],
            "confusion": self.confusion.tolist(),
            "reliability": [one._asdict() for one in self.reliability],
            "errors": [
                {
                    "id": mistake.id,
                    "label": mistake.label,
                    "predicted": mistake.predicted,
                    "probability": mistake.probability,
                    "true_probability": mistake.true_probability,
                }
                for mistake in self.mistakes
            ],
        }


def evaluate(
    predict: Predict, batches: Iterable[Batch], classes: Sequence[str], *, features: bool = True
) -> Evaluation:
    """Run `predict` over `batches` (pictures at the model's size) and gather what it said. `features`: whether those of
    the penultimate layer are kept.

    Raises: UsageError, for no pictures at all, or a model with another number of classes; DivergedError, for a model
    that answers NaN.
    """
    ids: list[str] = []
    labels, logits, penultimate = [], [], []
    for batch in batches:
        scores = predict(batch.images)
        ids += batch.ids
        labels.append(batch.labels)
        logits.append(scores.logits)
        if features:
            penultimate.append(scores.features)
    if not ids:
        raise UsageError("there is no picture to evaluate on; choose a split that has some")
    return Evaluation(
        tuple(classes),
        tuple(ids),
        np.concatenate(labels),
        np.concatenate(logits),
        np.concatenate(penultimate) if features else None,
    )
