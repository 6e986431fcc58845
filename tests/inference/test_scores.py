"""Softmax in float64, where float32 would not do, and no torch for those who need none."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import scipy.special

from deeper.inference import log_softmax, softmax


def test_against_scipy_also_for_large_logits():
    logits = np.random.default_rng(0).normal(0, 300, (50, 7)).astype(np.float32)
    np.testing.assert_allclose(softmax(logits), scipy.special.softmax(logits.astype(np.float64), axis=1), atol=1e-15)
    wanted = scipy.special.log_softmax(logits.astype(np.float64), axis=1)
    np.testing.assert_allclose(log_softmax(logits), wanted, rtol=1e-12)
    assert np.isfinite(log_softmax(logits)).all()
    np.testing.assert_allclose(softmax(logits).sum(1), 1, atol=1e-12)


def test_one_row():
    np.testing.assert_allclose(softmax(np.array([0.0, 0.0], np.float32)), [0.5, 0.5])


def test_evaluation_and_bundle_description_need_no_torch():
    code = (
        "import sys, deeper.inference, deeper.evaluation, deeper.bundle; "
        "deeper.bundle.Info, deeper.evaluation.compare; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
