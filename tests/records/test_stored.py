"""`stored`: every item once, in order, with the bytes that a build stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deeper import images
from deeper.records.sources import Item, Rejected
from deeper.records.stored import stored


@pytest.mark.parametrize("workers", [1, 4])
def test_in_order_with_what_cannot_be_read_among_it(
    tmp_path: Path, array_items: Callable[..., list[Item]], save: Callable[..., Item], workers: int
) -> None:
    items = array_items(1100)
    photo = save("photo.jpg", "rose")
    items[70] = Item("missing", "c0", None, None, tmp_path / "nowhere", None)
    items[700] = photo
    found = list(stored(items, workers))
    assert [item for item, _ in found] == items
    for item, encoded in found:
        if item.id == "missing":
            assert isinstance(encoded, Rejected) and encoded.id == "missing" and "cannot be read" in encoded.reason
        elif item is photo:
            assert photo.path is not None and encoded == Path(photo.path).read_bytes()
        else:
            assert isinstance(encoded, bytes)
            np.testing.assert_array_equal(images.decode(encoded)[..., 0], item.array)


def test_nothing_of_nothing() -> None:
    assert list(stored([], 4)) == []
