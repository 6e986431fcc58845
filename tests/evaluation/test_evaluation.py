"""Metrics against scikit-learn, and sense where a class or a split is missing."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from deeper.batches import Batch
from deeper.errors import DivergedError, UsageError
from deeper.evaluation import Evaluation, evaluate
from deeper.inference import predictor, softmax
from tests.sample_network import CLASSES, PREPROCESS, digits, network


def drawn(seed: int, count: int, size: int, *, absent: tuple[int, ...] = (), sharpness: float = 2.0) -> Evaluation:
    """An evaluation of random answers that lean to the truth; classes in `absent` have no picture."""
    generator = np.random.default_rng(seed)
    labels = generator.choice([index for index in range(size) if index not in absent], count)
    logits = generator.normal(0, 1, (count, size))
    logits[np.arange(count), labels] += sharpness
    names = tuple(f"class {index}" for index in range(size))
    ids = tuple(f"test/{index:05}" for index in range(count))
    return Evaluation(names, ids, labels.astype(np.int64), logits.astype(np.float32))


@pytest.fixture(scope="module")
def real() -> Evaluation:
    images, labels = digits("test", 300)
    ids = [f"test/{index:05}" for index in range(300)]

    def batches():
        for start in range(0, 300, 70):
            rows = slice(start, start + 70)
            yield Batch(images[rows], labels[rows], ids[rows], np.zeros(70, np.uint64), np.arange(300)[rows])

    return evaluate(predictor(network(), PREPROCESS), batches(), CLASSES)


def test_evaluate_gathers_batches_in_order(real):
    assert real.total == 300 and real.ids[:2] == ("test/00000", "test/00001")
    assert 0.75 < real.accuracy < 1 and real.correct == round(real.accuracy * 300)
    assert real.features is not None and real.features.shape == (300, 64)
    np.testing.assert_array_equal(real.labels, digits("test", 300)[1])


@pytest.mark.parametrize("evaluation", [drawn(0, 500, 7), drawn(1, 60, 12, absent=(3, 11)), drawn(2, 3, 5)], ids=str)
def test_against_scikit_learn(evaluation):
    truth, given = evaluation.labels, evaluation.predicted
    size = len(evaluation.classes)
    assert evaluation.accuracy == metrics.accuracy_score(truth, given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of classes that were given and have no picture
        assert evaluation.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(truth, given))
    assert evaluation.macro_f1 == pytest.approx(metrics.f1_score(truth, given, average="macro", zero_division=0))
    np.testing.assert_array_equal(evaluation.confusion, metrics.confusion_matrix(truth, given, labels=range(size)))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, given, labels=range(size), zero_division=np.nan
    )
    for index, one in enumerate(evaluation.per_class):
        assert one.support == support[index]
        for mine, theirs in ((one.precision, precision), (one.recall, recall), (one.f1, f1)):
            assert (mine is None and np.isnan(theirs[index])) or mine == pytest.approx(theirs[index])
    log_loss = metrics.log_loss(truth, evaluation.probabilities, labels=range(size))
    assert evaluation.negative_log_likelihood == pytest.approx(log_loss)
    for k, share in evaluation.top_accuracies.items():
        wanted = metrics.top_k_accuracy_score(truth, evaluation.logits, k=k, labels=range(size))
        assert share == pytest.approx(wanted)


def test_a_headline_interval_is_wilson_s():
    # 95 of 10,000 wrong, the guide's Inception.
    labels = np.zeros(10_000, np.int64)
    logits = np.zeros((10_000, 2), np.float32)
    logits[:95, 1] = 1
    logits[95:, 0] = 1
    evaluation = Evaluation(("a", "b"), tuple(map(str, range(10_000))), labels, logits)
    assert (evaluation.accuracy, evaluation.correct) == (0.9905, 9905)
    assert evaluation.interval == pytest.approx((0.98840, 0.99222), abs=2e-5)


def test_errors_are_sorted_by_confidence_and_complete(real):
    assert len(real.mistakes) == real.total - real.correct > 5
    confidences = [mistake.probability for mistake in real.mistakes]
    assert confidences == sorted(confidences, reverse=True)
    probabilities = softmax(real.logits)
    for mistake in real.mistakes:
        row = real.ids.index(mistake.id)
        assert row == mistake.position
        assert CLASSES[real.labels[row]] == mistake.label != mistake.predicted
        assert mistake.probability == probabilities[row].max()
        assert mistake.true_probability == probabilities[row, real.labels[row]] <= mistake.probability


def test_most_confused_pairs_add_up_to_the_errors(real):
    pairs = real.confused()
    assert sum(count for _, _, count in pairs) == len(real.mistakes)
    assert [count for _, _, count in pairs] == sorted((count for _, _, count in pairs), reverse=True)
    assert all(true != given for true, given, _ in pairs)


def test_ties_are_one_rule_everywhere():
    # All logits equal: the first class is given, and it alone counts as top 1.
    evaluation = Evaluation(tuple("abc"), tuple("wxyz"), np.array([0, 1, 2, 0]), np.zeros((4, 3), np.float32))
    assert evaluation.top(1) == evaluation.accuracy == 0.5
    assert evaluation.top(2) == 0.75 and evaluation.top(3) == evaluation.top(99) == 1


def test_the_json_is_complete_and_without_nan():
    evaluation = drawn(1, 60, 12, absent=(3, 11), sharpness=6)
    plain = json.loads(json.dumps(evaluation.to_plain(), allow_nan=False))
    assert {"accuracy", "correct", "total", "interval", "per_class", "errors", "confusion", "reliability"} <= set(plain)
    absent = plain["per_class"][3]
    assert absent["support"] == 0 and absent["recall"] is None and absent["recall_interval"] is None
    assert "no picture of this class" in absent["reason"]
    assert plain["per_class"][0]["reason"] is None
    assert len(plain["errors"]) == plain["total"] - plain["correct"]
    assert set(plain["top_k"]) == {"1", "2", "3", "5", "10"}
    assert plain["top_k"]["1"] == plain["accuracy"]
    assert sum(one["pictures"] for one in plain["reliability"]) == plain["total"]


def test_one_class_is_sensible():
    evaluation = Evaluation(("only",), ("a", "b"), np.zeros(2, np.int64), np.ones((2, 1), np.float32))
    plain = json.loads(json.dumps(evaluation.to_plain(), allow_nan=False))
    assert plain["accuracy"] == plain["balanced_accuracy"] == plain["macro_f1"] == 1
    assert plain["errors"] == [] and plain["top_k"] == {"1": 1.0}
    assert plain["negative_log_likelihood"] == plain["brier_score"] == plain["calibration_error"] == 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 9), st.floats(0, 80))
def test_properties_of_any_evaluation(seed, count, size, sharpness):
    evaluation = drawn(seed, count, size, sharpness=sharpness)
    assert evaluation.confusion.sum() == count and np.trace(evaluation.confusion) == evaluation.correct
    low, high = evaluation.interval
    assert 0 <= low <= evaluation.accuracy <= high <= 1
    shares = list(evaluation.top_accuracies.values())
    assert shares == sorted(shares) and shares[0] == evaluation.accuracy
    assert 0 <= evaluation.calibration_error <= 1 and 0 <= evaluation.brier_score <= 2
    json.dumps(evaluation.to_plain(), allow_nan=False)


def test_an_empty_split_is_one_clear_error():
    with pytest.raises(UsageError, match="no picture to evaluate on"):
        evaluate(predictor(network(), PREPROCESS), [], CLASSES)


NAN = np.zeros((2, 3), np.float32)
NAN[1, 0] = np.nan


@pytest.mark.parametrize(
    ("labels", "logits", "kind", "message"),
    [
        ([0, 1], np.zeros((2, 4), np.float32), UsageError, "2×4 logits for 2 pictures of 3 classes"),
        ([0, 3], np.zeros((2, 3), np.float32), UsageError, "labels from 0 to 3; wanted 0 to 2"),
        ([-1, 0], np.zeros((2, 3), np.float32), UsageError, "labels from -1"),
        ([0], np.zeros((2, 3), np.float32), UsageError, "do not belong together"),
        ([0, 1], NAN, DivergedError, r"NaN or infinity for 1 of 2 pictures \(second first\)"),
        ([0, 1], NAN + np.inf, DivergedError, "diverged"),
    ],
)
def test_what_does_not_fit_together(labels, logits, kind, message):
    with pytest.raises(kind, match=message):
        Evaluation(tuple("abc"), ("first", "second"), np.array(labels), logits)
