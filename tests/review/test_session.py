"""A review of a dataset that was corrected before, with its decisions in the file of the first review."""

from __future__ import annotations

import pytest

from deeper.records import Dataset
from deeper.records.corrections import Corrections, Decision, read_corrections
from deeper.review import open_session


@pytest.mark.parametrize("kind", ["keep", "unsure"])
def test_keeping_an_earlier_correction_is_shown_undone_and_built_as_meant(dataset: Dataset, kind: str) -> None:
    """The page shows what was pressed last; a build gives the picture the class that was kept."""
    session = open_session(dataset.path)
    suspect = session.suspects[0]
    path = session.corrections.path
    was = next(name for name in dataset.classes if name != suspect.given)
    # The dataset is the corrected one: its class is what the first review gave.
    Corrections(path).decide(Decision(id=suspect.id, kind="relabel", given=was, to=suspect.given))
    session = open_session(dataset.path)
    given = dataset.classes.index(suspect.given)
    assert session.decide(0, kind, None)["decision"] == {"kind": kind, "to": None}
    assert session.describe()["suspects"][0]["decision"] == {"kind": kind, "to": None}
    holds = read_corrections(path)[suspect.id]
    assert (holds.kind, holds.given, holds.to) == ("relabel", was, suspect.given)
    assert session.undo()["decision"] == {"kind": "relabel", "to": given}
    assert session.undo()["decision"] is None
    assert read_corrections(path) == {}
