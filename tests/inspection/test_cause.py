"""Cause: what is computed from the arms' errors."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from deeper.errors import UsageError
from deeper.inspection.cause import Ablation, adjusted, compare_arms

COUNT = 1000


def arms(seed, with_it, without, runs=5):
    """Each run reads picture i wrong with its probability."""
    generator = np.random.default_rng(seed)
    return (generator.random((runs, COUNT)) < with_it), (generator.random((runs, COUNT)) < without)


def test_errors_that_go_away_are_counted_and_confirmed():
    with_it, without = np.full(COUNT, 0.01), np.full(COUNT, 0.01)
    with_it[:30], without[:30] = 0.9, 0.1
    errors = np.zeros(COUNT, bool)
    errors[:40] = True
    cause = compare_arms("horizontal_flip", *arms(0, with_it, without), errors, steps=100)
    assert cause.fewer == pytest.approx(24, abs=4)
    assert cause.fewer_interval[0] < cause.fewer < cause.fewer_interval[1]
    assert cause.fewer_interval[0] > 12
    assert abs(cause.elsewhere) < 6
    assert cause.p_value == pytest.approx(2 / 252) and cause.significant
    assert "explains" in cause.verdict and "of 40 errors" in cause.verdict


def test_errors_that_go_away_by_retraining_alone_are_nobodys():
    """Borderline pictures: wrong in half of all runs, in either arm. The inspected run happened to miss 40 of them."""
    chance = np.zeros(COUNT)
    chance[:80] = 0.5
    errors = np.zeros(COUNT, bool)
    errors[:40] = True
    cause = compare_arms("shear", *arms(1, chance, chance), errors, steps=100)
    assert not cause.significant and "explains" not in cause.verdict
    assert cause.fewer_interval[0] < 0 < cause.fewer_interval[1]


def test_new_errors_elsewhere_are_told():
    with_it, without = np.zeros(COUNT), np.zeros(COUNT)
    with_it[:20] = 1.0
    without[500:560] = 0.9
    errors = np.zeros(COUNT, bool)
    errors[:20] = True
    cause = compare_arms("rotation", *arms(2, with_it, without), errors, steps=100)
    assert cause.fewer == 20 and cause.elsewhere > 40
    assert "new elsewhere" in cause.verdict
    # Fewer of these errors, but more in all: that is told by the two means.
    assert np.mean(cause.errors_without) > np.mean(cause.errors_with)


def test_what_makes_more_errors_than_it_mends_explains_nothing():
    """Without it all 20 of this run's errors are gone and 55 others come: significant, and the wrong way round."""
    with_it, without = np.zeros(COUNT), np.zeros(COUNT)
    with_it[:20] = 1.0
    without[500:560] = 0.9
    errors = np.zeros(COUNT, bool)
    errors[:20] = True
    cause = compare_arms("rotation", *arms(2, with_it, without), errors, steps=100)
    assert cause.p_value == pytest.approx(2 / 252) and cause.fewer_interval[0] > 0
    assert not cause.significant and "explains" not in cause.verdict
    assert "more errors in all" in cause.verdict


def test_the_interval_holds_its_level():
    """Of many repetitions of nothing, few intervals miss 0."""
    chance = np.random.default_rng(3).beta(0.3, 3, COUNT)
    errors = np.random.default_rng(4).random(COUNT) < chance
    missed = 0
    for seed in range(60):
        low, high = compare_arms("shear", *arms(seed, chance, chance), errors, steps=1).fewer_interval
        missed += not low <= 0 <= high
    assert missed <= 8


def test_continuing_is_no_cause():
    with_it, without = np.zeros(COUNT), np.zeros(COUNT)
    with_it[:20] = 1.0
    errors = np.zeros(COUNT, bool)
    errors[:20] = True
    cause = compare_arms("rotation", *arms(5, with_it, without), errors, steps=50, continued=True)
    assert cause.kind == "removal effect"
    assert "Removal effect" in cause.verdict and "explains" not in cause.verdict


def test_no_errors_at_all():
    nothing = np.zeros((5, COUNT), bool)
    cause = compare_arms("rotation", nothing, nothing, np.zeros(COUNT, bool), steps=1)
    assert cause.fewer == 0 and cause.p_value == 1 and not cause.significant


def test_the_more_distortions_are_left_out_the_more_it_takes():
    with_it, without = np.full(COUNT, 0.01), np.full(COUNT, 0.01)
    with_it[:30], without[:30] = 0.9, 0.1
    errors = np.zeros(COUNT, bool)
    errors[:40] = True
    one = compare_arms("horizontal_flip", *arms(0, with_it, without), errors, steps=100)
    names = ["horizontal_flip", *(f"other_{number}" for number in range(6))]
    many = adjusted(dict.fromkeys(names, one), 40)
    # 2 / 252 is the least that five against five can give: of seven such, none below 0.05 when adjusted.
    assert all(cause.adjusted_p_value == pytest.approx(7 * 2 / 252) for cause in many.values())
    assert one.significant and not any(cause.significant for cause in many.values())
    assert all("explains" not in cause.verdict for cause in many.values())
    assert adjusted({"horizontal_flip": one}, 40)["horizontal_flip"] == one


def test_what_can_show_nothing_is_not_begun(tmp_path):
    names = [f"distortion_{number}" for number in range(7)]
    subject = SimpleNamespace(run=object(), path=tmp_path, distortions=[SimpleNamespace(name=name) for name in names])
    with pytest.raises(UsageError, match="7 distortions and 5 runs per arm can show nothing.* --seeds 6"):
        Ablation.of(subject, names, seeds=5, steps=None)
    assert Ablation.of(subject, names, seeds=6, steps=None).names == tuple(names)
    assert Ablation.of(subject, names[:6], seeds=5, steps=None).seeds == 5
