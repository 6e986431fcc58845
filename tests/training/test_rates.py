"""Reading a learning rate off a sweep, on curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from deeper.errors import UsageError
from deeper.training.rates import RateSearch, _local_lines, read
from deeper.training.schedules import ExponentialSweep

RATES = np.geomspace(1e-6, 10, 140)


def curve(steepest: float, *, noise: float = 0.05, diverges: float | None = None, seed: int = 0) -> RateSearch:
    """A loss that falls from 2.3 to 0.3 around `steepest` within about a power of ten, and may diverge."""
    x = np.log10(RATES)
    loss = 0.3 + 2.0 / (1 + np.exp(5 * (x - np.log10(steepest))))
    rates = RATES
    if diverges is not None:
        loss = loss + np.exp(8 * (x - np.log10(diverges)))
        rates = RATES[: int(np.argmax(loss > 8)) or None]
    loss = loss[: len(rates)] + np.random.default_rng(seed).normal(0, noise, len(rates))
    return read(rates.tolist(), loss.tolist(), None if diverges is None else float(rates[-1]))


@pytest.mark.parametrize("steepest", [3e-5, 1e-3, 0.05])
@pytest.mark.parametrize("seed", range(5))
def test_the_steepest_fall_is_found(steepest: float, seed: int) -> None:
    found = curve(steepest, diverges=30 * steepest, seed=seed)
    assert found.reason is None and found.suggestion is not None
    assert 1 / 2 < found.steepest / steepest < 2
    assert found.steepest < found.suggestion < found.lowest < found.diverged
    assert found.suggestion == pytest.approx((found.steepest * found.lowest) ** 0.5, rel=0.05)


def test_a_straight_line_has_its_slope_everywhere() -> None:
    x = np.linspace(-6, 1, 80)
    heights, slopes, errors = _local_lines(x, 3 - 0.4 * x, 0.2)
    np.testing.assert_allclose(slopes, -0.4, atol=1e-9)
    np.testing.assert_allclose(heights, 3 - 0.4 * x, atol=1e-9)
    assert np.all(errors < 1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_pure_noise_has_no_rate(seed: int) -> None:
    losses = 2.3 + np.random.default_rng(seed).normal(0, 0.02, 140)
    found = read(RATES.tolist(), losses.tolist(), None)
    assert found.suggestion is None and "never falls clearly" in str(found.reason)


def test_a_fall_at_the_edge_asks_for_other_limits() -> None:
    assert "--low" in str(curve(1e-6).reason)
    assert "--high" in str(curve(12.0).reason)


def test_a_loss_that_diverges_at_once_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match=r"diverged after 7 steps, at a rate of 2e-06: begin with a smaller one"):
        read(RATES[:7].tolist(), [2.3] * 7, 2e-6)


def test_the_sweep_runs_from_end_to_end_by_equal_factors() -> None:
    schedule = ExponentialSweep(start=1e-4)
    factors = [schedule.factor(step, 9, step / 3) for step in range(9)]
    assert factors[0] == pytest.approx(1e-4) and factors[-1] == 1
    np.testing.assert_allclose(np.diff(np.log10(factors)), 0.5)
    with pytest.raises(UsageError, match="start must be in"):
        ExponentialSweep(start=1.0)
