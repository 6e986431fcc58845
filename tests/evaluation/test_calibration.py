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
