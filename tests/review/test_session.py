"""A review of a dataset that was corrected before, with its decisions in the file of the first review."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from deeper.errors import UsageError
from deeper.records import Dataset
from deeper.records import info as dataset_info
from deeper.records.corrections import Corrections, Decision, read_corrections
from deeper.records.info import CorrectionsInfo
from deeper.review import open_session
from tests.review.conftest import make


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


def test_two_windows_do_not_overwrite_each_other_unseen(dataset: Dataset) -> None:
    session = open_session(dataset.path)
    to = next(number for number, name in enumerate(dataset.classes) if name != session.suspects[0].given)
    first = session.decide(0, "relabel", to, seen=None)
    assert first["decision"] == {"kind": "relabel", "to": to} and "elsewhere" not in first
    # The other window still shows it undecided: it is told, and nothing is written.
    told = session.decide(0, "exclude", None, seen=None)
    assert told["elsewhere"] and told["decision"] == first["decision"] == session.describe()["suspects"][0]["decision"]
    # Having seen it, it may change it.
    changed = session.decide(0, "exclude", None, seen=told["decision"])["decision"]
    session.decide(1, "keep", None, seen=None)
    # The first window takes back its own decision, not the latest of all; but not what it has not seen.
    assert session.undo(0, seen=first["decision"]) == {
        "number": 0,
        "decision": changed,
        "decided": 2,
        "elsewhere": True,
    }
    assert session.undo(0, seen=changed)["decision"] == first["decision"]
    assert session.undo()["number"] == 1
    with pytest.raises(UsageError, match="no suspect"):
        session.undo(len(session.suspects))


def test_the_command_can_be_pasted_and_knows_of_earlier_corrections(tmp_path: Path) -> None:
    dataset = make(tmp_path / "it's mine")
    plain = open_session(dataset.path).describe()
    assert shlex.split(plain["typed"]) == [str(dataset.path / "corrections.csv")] and plain["corrected"] is False
    info = replace(dataset.info, corrections=CorrectionsInfo())
    dataset_info.save(dataset.path, info)
    assert open_session(dataset.path).describe()["corrected"] is True


def test_names_are_spelled_as_they_are(tmp_path: Path) -> None:
    """Joiners belong to Persian and to families of emoji; what turns a line around does not belong on the page."""
    names = (
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u202egpj",
    )
    shown = open_session(make(tmp_path / "mine", names).path).describe()["classes"]
    assert set(names[:2]) < set(shown) and r"\u202egpj" in shown


def test_a_table_that_names_a_picture_twice_asks_once(tmp_path: Path) -> None:
    dataset = make(tmp_path / "mine")
    first, second = dataset.split("train").ids[:2]
    table = tmp_path / "mine.csv"
    table.write_text(f"id\n{first}\n{second}\n{first}\nnot there\nnot there\n")
    session = open_session(dataset.path, suspects=table)
    assert [one.id for one in session.suspects] == [first, second] and session.missing == 1
    session.decide(0, "keep", None)
    assert session.decided == 1
