"""Calibration against scikit-learn and against cases that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from deeper.evaluation import calibration
from deeper.inference import softmax


@pytest.fixture(scope="module")
def answers():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 4, 2000)
    logits = generator.normal(0, 1.5, (2000, 4))
    logits[np.arange(2000), labels] += 1.5
    return softmax(logits.astype(np.float32)), labels


def test_bins_against_scikit_learn(answers):
    probabilities, labels = answers
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = calibration.reliability(confidence, right)
    accuracy, mean = calibration_curve(right, confidence, n_bins=15, strategy="uniform")
    filled = [one for one in bins if one.pictures]
    np.testing.assert_allclose([one.accuracy for one in filled], accuracy)
    np.testing.assert_allclose([one.confidence for one in filled], mean)
    assert len(bins) == 15 and sum(one.pictures for one in bins) == 2000
    empty = [one for one in bins if not one.pictures]
    # With four classes no confidence lies under a quarter.
    assert empty and all(one.confidence is None and one.accuracy is None for one in empty)


def test_calibration_error_by_its_definition(answers):
    probabilities, labels = answers
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    wanted = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence >= low) & (confidence < low + 1 / 15)
        if inside.any():
            wanted += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    given = calibration.expected_calibration_error(calibration.reliability(confidence, right))
    assert given == pytest.approx(wanted, abs=1e-9) and given > 0.001


def test_half_sure_and_always_right_is_off_by_half():
    bins = calibration.reliability(np.full(10, 0.5), np.ones(10, bool))
    assert calibration.expected_calibration_error(bins) == pytest.approx(0.5)


def test_full_confidence_falls_into_the_last_bin():
    bins = calibration.reliability(np.ones(3), np.array([True, True, False]))
    assert bins[-1].pictures == 3 and bins[-1].accuracy == pytest.approx(2 / 3) and bins[-1].high == 1


def test_brier(answers):
    probabilities, labels = answers
    given = calibration.brier_score(probabilities, labels)
    assert given == pytest.approx(((probabilities - np.eye(4)[labels]) ** 2).sum(1).mean())
    # Of two classes it is twice the binary score, which scikit-learn has.
    two = softmax(np.random.default_rng(1).normal(0, 1, (100, 2)).astype(np.float32))
    truth = np.random.default_rng(2).integers(0, 2, 100)
    assert calibration.brier_score(two, truth) == pytest.approx(2 * brier_score_loss(truth, two[:, 1]))


def test_likelihood_stays_finite_where_float_probabilities_vanish():
    logs = np.array([[-2000.0, 0.0]])
    assert calibration.negative_log_likelihood(logs, np.array([0])) == 2000


def _answers(scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is exactly calibrated at temperature `scale`, and labels drawn from it."""
    draws = np.random.default_rng(0)
    logits = draws.normal(0, 2, (20_000, 5))
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    labels = (shares.cumsum(1) > draws.random((len(shares), 1))).argmax(1)
    return (logits * scale).astype(np.float32), labels.astype(np.int64)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_is_found(scale) -> None:
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax as reference

    logits, labels = _answers(scale)

    def loss(logarithm: float) -> float:
        return -reference(logits.astype(np.float64) / np.exp(logarithm), axis=1)[np.arange(len(labels)), labels].mean()

    wanted = np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-6}).x)
    found = calibration.fitted_temperature(logits, labels)
    assert found == pytest.approx(wanted, rel=1e-3) and found == pytest.approx(scale, rel=0.05)


def test_a_net_that_is_always_right_keeps_its_probabilities() -> None:
    logits = np.eye(4, dtype=np.float32) * 10
    assert calibration.fitted_temperature(logits, np.arange(4)) == 1.0


def test_a_net_that_is_always_wrong_gets_a_finite_temperature() -> None:
    logits = np.eye(4, dtype=np.float32) * 10
    assert 15 < calibration.fitted_temperature(logits, np.roll(np.arange(4), 1)) < 21


def test_one_right_answer_in_a_hundred_is_unsure() -> None:
    confidence = np.linspace(0.3, 0.98, 1000)
    right = np.ones(1000, bool)
    right[::3] = False
    low = calibration.unsure_below(confidence, right)
    assert (confidence[right] < low).mean() == pytest.approx(0.01, abs=0.002)
    assert calibration.unsure_below(np.ones(10), np.ones(10, bool)) == 0.99
    assert calibration.unsure_below(confidence, np.zeros(1000, bool)) == 0.0
