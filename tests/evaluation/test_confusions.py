"""Which classes are taken for which."""

from __future__ import annotations

import numpy as np

from deeper.evaluation import confusions


def test_the_most_frequent_come_first_ties_in_class_order() -> None:
    counts = np.array([[9, 2, 1], [1, 9, 0], [3, 1, 9]])
    assert confusions(counts) == [(2, 0, 3), (0, 1, 2), (0, 2, 1), (1, 0, 1), (2, 1, 1)]
    assert counts[0, 0] == 9  # what was given is left as it was


def test_where_nothing_is_wrong_there_is_none() -> None:
    assert confusions(np.diag([3, 0, 2])) == []
