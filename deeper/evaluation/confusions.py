"""Which classes are taken for which, the most frequent first: one order for tables, figures and reports."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def confusions(confusion: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(true class, given class, count) of the wrong answers, the most frequent first, ties in class order.

    `confusion`: counts[true, given], K × K.
    """
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    rows, columns = np.nonzero(wrong)
    counts = wrong[rows, columns]
    order = np.argsort(-counts, kind="stable")
    return list(zip(rows[order].tolist(), columns[order].tolist(), counts[order].tolist(), strict=True))
