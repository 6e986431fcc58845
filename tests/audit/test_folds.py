"""Folds: every class in each, groups whole, whatever the order."""

from __future__ import annotations

import numpy as np
import pytest

from deeper.audit.folds import assign_folds
from deeper.errors import DatasetError

IDS = [f"picture {number}" for number in range(600)]
LABELS = np.arange(600) % 7


def test_every_class_is_spread_evenly() -> None:
    folds = assign_folds(IDS, LABELS, [None] * 600, 5, seed=0)
    counts = np.array([[(LABELS[folds == fold] == label).sum() for label in range(7)] for fold in range(5)])
    assert (counts.max(0) - counts.min(0) <= 1).all() and counts.sum() == 600


def test_groups_stay_whole() -> None:
    groups = [f"group {number // 4}" if number % 3 else None for number in range(600)]
    folds = assign_folds(IDS, LABELS, groups, 5, seed=0)
    for group in {one for one in groups if one is not None}:
        assert len({int(folds[place]) for place, one in enumerate(groups) if one == group}) == 1
    assert np.bincount(folds, minlength=5).min() > 60


def test_a_group_named_like_a_picture_is_another() -> None:
    folds = assign_folds(["a", "b", "c"], np.zeros(3, np.int64), [None, "a", "a"], 2, seed=0)
    assert folds[1] == folds[2] != folds[0]


def test_the_order_of_the_pictures_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(600)
    folds = assign_folds(IDS, LABELS, [None] * 600, 5, seed=3)
    shuffled = assign_folds([IDS[place] for place in order], LABELS[order], [None] * 600, 5, seed=3)
    np.testing.assert_array_equal(folds[order], shuffled)
    assert (folds != assign_folds(IDS, LABELS, [None] * 600, 5, seed=4)).any()


def test_many_small_classes_do_not_empty_a_fold() -> None:
    folds = assign_folds(IDS[:40], np.arange(40), [None] * 40, 5, seed=0)
    assert np.bincount(folds, minlength=5).tolist() == [8] * 5


def test_fewer_pictures_than_folds() -> None:
    with pytest.raises(DatasetError, match="3 pictures or groups cannot be judged in 5 folds"):
        assign_folds(IDS[:3], LABELS[:3], [None] * 3, 5, seed=0)


def test_few_classes_of_few_groups_leave_no_fold_empty() -> None:
    """Each class alone filled neighbouring folds, and the last one stayed empty."""
    labels = np.arange(60) // 30
    groups = [f"patient {number // 10}" for number in range(60)]
    folds = assign_folds(IDS[:60], labels, groups, 5, seed=0)
    assert sorted(np.bincount(folds, minlength=5).tolist()) == [10, 10, 10, 10, 20]
    order = np.random.default_rng(0).permutation(60)
    shuffled = assign_folds([IDS[one] for one in order], labels[order], [groups[one] for one in order], 5, seed=0)
    np.testing.assert_array_equal(folds[order], shuffled)
    for count in (2, 3, 4, 5, 6):
        assert np.bincount(assign_folds(IDS[:60], labels, groups, count, seed=1), minlength=count).min() > 0


def test_folds_stay_those_that_runs_were_made_with() -> None:
    """A run's folder says only which fold of how many it is."""
    folds = assign_folds(IDS[:20], LABELS[:20], [None] * 20, 4, seed=0)
    assert folds.tolist() == GOLDEN


# Printed by the code before empty folds were filled.
GOLDEN = [2, 3, 3, 3, 1, 2, 3, 1, 2, 0, 0, 2, 3, 2, 0, 1, 2, 1, 0, 1]
