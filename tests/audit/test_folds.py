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
