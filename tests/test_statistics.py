"""Intervals and tests, against published numbers and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, false_discovery_control

from deeper.statistics import holm, mcnemar, paired_interval, wilson_interval


@pytest.mark.parametrize(("correct", "total"), [(0, 1), (1, 1), (0, 50), (50, 50), (9951, 10000), (37, 98), (3, 7)])
def test_wilson_against_scipy(correct, total):
    wanted = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson_interval(correct, total), (wanted.low, wanted.high), atol=1e-12)


def test_wilson_without_pictures_says_nothing():
    assert wilson_interval(0, 0) == (0, 1)


@pytest.mark.parametrize(("first", "second"), [(1, 0), (5, 5), (1, 7), (30, 12), (400, 377), (20_000, 20_500)])
def test_mcnemar_is_the_binomial_test(first, second):
    wanted = binomtest(first, first + second).pvalue
    assert mcnemar(first, second) == pytest.approx(wanted, rel=1e-9)
    assert mcnemar(second, first) == mcnemar(first, second)


def test_mcnemar_without_disagreement():
    assert mcnemar(0, 0) == 1


def test_newcombe_s_own_example():
    # Newcombe 1998, table II, method 10, for (36, 12, 2, 0): 0.0569 to 0.3404.
    low, high = paired_interval(36, 12, 2, 0)
    assert (round(low, 4), round(high, 4)) == (0.0569, 0.3404)


@pytest.mark.parametrize("cells", [(0, 0, 0, 5), (5, 0, 0, 0), (0, 5, 0, 0), (90, 3, 8, 12), (9900, 20, 45, 35)])
def test_paired_interval_is_antisymmetric_and_holds_the_difference(cells):
    both, first, second, neither = cells
    low, high = paired_interval(both, first, second, neither)
    assert -1 <= low <= (first - second) / sum(cells) <= high <= 1
    other_low, other_high = paired_interval(both, second, first, neither)
    assert (low, high) == pytest.approx((-other_high, -other_low))


def test_paired_interval_covers_near_one():
    # Accuracies of 99.5 and 99.3 % that share most of their errors, on 1,000 pictures.
    truth = np.array([0.9920, 0.0030, 0.0010, 0.0040])
    draws = np.random.default_rng(0).multinomial(1000, truth, size=2000)
    inside = [low <= truth[1] - truth[2] <= high for low, high in (paired_interval(*map(int, row)) for row in draws)]
    assert 0.94 <= np.mean(inside) <= 1


def test_paired_interval_agrees_with_the_bootstrap():
    cells = np.array([9000, 420, 300, 280])
    draws = np.random.default_rng(1).multinomial(cells.sum(), cells / cells.sum(), size=20_000)
    wanted = np.quantile((draws[:, 1] - draws[:, 2]) / cells.sum(), [0.025, 0.975])
    np.testing.assert_allclose(paired_interval(*map(int, cells)), wanted, atol=3e-4)


def test_holm():
    # Holm 1979: the smallest times n, the next times n − 1, never falling, never above 1; in the given order.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []
    # It is never more lenient than control of the false discovery rate.
    p_values = np.random.default_rng(0).uniform(0, 0.1, 20)
    assert (np.array(holm(list(p_values))) >= false_discovery_control(p_values) - 1e-12).all()
