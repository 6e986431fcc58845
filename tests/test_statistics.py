"""Intervals and tests, against published numbers and SciPy."""

from __future__ import annotations

import time
from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers, lists, tuples
from scipy.stats import binomtest, false_discovery_control, norm, t
from scipy.stats import fisher_exact as fisher_exact_scipy
from scipy.stats import permutation_test as permutation_test_scipy

from deeper.statistics import (
    benjamini_hochberg,
    fisher_exact,
    holm,
    mcnemar,
    paired_interval,
    permutation_test,
    simultaneous_z,
    student_quantile,
    wilson_interval,
)


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


@given(p_values=lists(floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_against_scipy(p_values):
    np.testing.assert_allclose(benjamini_hochberg(p_values), false_discovery_control(p_values), atol=1e-12)


@given(table=tuples(*[integers(0, 400)] * 4))
def test_fisher_against_scipy(table):
    first_yes, first_no, second_yes, second_no = table
    wanted = fisher_exact_scipy([[first_yes, first_no], [second_yes, second_no]]).pvalue
    assert fisher_exact(*table) == pytest.approx(wanted, rel=1e-6, abs=1e-12)


def test_fisher_for_ten_thousand_pictures():
    wanted = fisher_exact_scipy([[3200, 133], [6600, 67]]).pvalue
    assert fisher_exact(3200, 133, 6600, 67) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    ("first", "second"),
    [([1, 2], [3, 4]), ([5, 5, 6], [5, 7]), ([90, 84, 97, 88, 91], [80, 86, 79, 85, 83]), ([1, 1, 9], [1, 1, 1, 2])],
)
def test_permutation_against_scipy(first, second):
    wanted = permutation_test_scipy(
        (first, second),
        lambda one, other: abs(np.mean(one) - np.mean(other)),
        permutation_type="independent",
        alternative="greater",
        n_resamples=np.inf,
    ).pvalue
    assert permutation_test(first, second) == pytest.approx(wanted)


def test_permutation_of_runs_that_do_not_overlap():
    assert permutation_test([90, 91, 92, 93, 94], [70, 71, 72, 73, 74]) == pytest.approx(2 / 252)
    assert permutation_test([], [1, 2]) == 1
    assert permutation_test([5, 5], [5, 5]) == 1


@given(lists(integers(0, 60), min_size=1, max_size=6), lists(integers(0, 60), min_size=1, max_size=6))
def test_permutation_is_dealing_in_every_way(first, second):
    values, size = [*first, *second], len(first)
    total = sum(values)

    def difference(chosen):
        return abs(Fraction(chosen, size) - Fraction(total - chosen, len(second)))

    sums = [sum(group) for group in combinations(values, size)]
    wanted = Fraction(sum(difference(one) >= difference(sum(first)) for one in sums), len(sums))
    assert permutation_test(first, second) == float(wanted)
    assert permutation_test(second, first) == float(wanted)


def test_permutation_of_twenty_and_twenty_is_quick():
    """138 thousand million ways, which nobody deals one by one; 2 of them part the groups so."""
    low, high = list(range(9_000, 9_020)), list(range(10_000, 10_020))
    began = time.process_time()
    assert permutation_test(low, high) == 2 / comb(40, 20)
    mixed = [9_000 + 37 * number for number in range(50)]
    assert 0.5 < permutation_test(mixed[::2], mixed[1::2]) <= 1
    assert time.process_time() - began < 5


@pytest.mark.parametrize("count", [1, 7, 620])
def test_simultaneous_intervals_are_bonferronis(count):
    z = simultaneous_z(count)
    assert z == pytest.approx(norm.isf(0.025 / count), rel=1e-9)
    wanted = binomtest(12, 400).proportion_ci(1 - 0.05 / count, method="wilson")
    np.testing.assert_allclose(wilson_interval(12, 400, z), (wanted.low, wanted.high), atol=1e-12)
    # One on its own is the one that was always there; more are wider.
    assert paired_interval(5, 15, 5, 375, simultaneous_z(1)) == pytest.approx(paired_interval(5, 15, 5, 375))
    if count > 1:
        low, high = paired_interval(5, 15, 5, 375, z)
        assert low < paired_interval(5, 15, 5, 375)[0] and high > paired_interval(5, 15, 5, 375)[1]


def test_the_paired_interval_holds_its_level_far_out():
    """At one interval in two thousand, as audits use it: 40,000 draws of paired shares near 0 miss the truth hardly ever."""
    generator = np.random.default_rng(0)
    z = simultaneous_z(50)
    missed = 0
    draws = generator.multinomial(1000, (0.004, 0.02, 0.006, 0.97), 40_000)
    for both, first, second, neither in np.unique(draws, axis=0).tolist():
        low, high = paired_interval(both, first, second, neither, z)
        if not low <= 0.014 <= high:
            missed += int((draws == (both, first, second, neither)).all(1).sum())
    assert missed <= 40_000 * 0.001 * 1.5


def test_students_quantile() -> None:
    for freedom in range(1, 41):
        assert student_quantile(freedom) == pytest.approx(t.ppf(0.975, freedom), rel=1e-9)
