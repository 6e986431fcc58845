"""What belongs together, by a pattern over ids."""

from __future__ import annotations

import pytest

from deeper.errors import UsageError
from deeper.records.sources.groups import groups_of


def test_what_matches_nothing_is_on_its_own() -> None:
    """An empty match is no group: all pictures would have been one."""
    groups, notices = groups_of(["plant1/a.jpg", "plant2/b.jpg", "c.jpg"], "((?:plant[0-9]+)?)")
    assert groups == ["plant1", "plant2", None]
    assert len(notices) == 1 and "leaves 1 pictures on their own, first 'c.jpg'" in notices[0]
    with pytest.raises(UsageError, match="it matches no id"):
        groups_of(["a/1.jpg", "b/2.jpg"], "([0-9]*)")
