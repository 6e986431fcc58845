"""`corrections.csv`: every decision on the disk at once, undone by a line of its own, robust against crashes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deeper.errors import SourceError, UsageError
from deeper.records.corrections import Corrections, Decision, read_corrections

HOSTILE = ('a,"b"', "line\nbreak", "é 漢字", "bad\udcff.png", "=1+1", " space ")


def test_decisions_survive_and_the_last_one_holds(tmp_path: Path) -> None:
    path = tmp_path / "corrections.csv"
    log = Corrections(path)
    assert not path.exists() and not log.made
    log.decide(Decision(id="a", kind="relabel", given="4", to="9", who="me"))
    log.decide(Decision(id="b", kind="exclude", given="4"))
    log.decide(Decision(id="a", kind="keep", given="4"))
    for found in (log.decisions, read_corrections(path)):
        assert {name: one.kind for name, one in found.items()} == {"b": "exclude", "a": "keep"}
    assert list(log.made)[-1] == "a" and log.decisions["a"].when
    lines = path.read_text().splitlines()
    assert lines[0] == "id,decision,from,to,who,when" and lines[1].startswith("a,relabel,4,9,me,20")


def test_undo_takes_back_one_decision_after_the_other(tmp_path: Path) -> None:
    log = Corrections(tmp_path / "c.csv")
    log.decide(Decision(id="a", kind="relabel", given="4", to="9"))
    log.decide(Decision(id="b", kind="unsure"))
    log.decide(Decision(id="a", kind="exclude"))
    assert log.undo("a") is not None and log.decisions["a"].kind == "relabel"
    assert list(log.made)[-1] == "b"
    assert log.undo("a") is None and "a" not in log
    assert set(Corrections(tmp_path / "c.csv").decisions) == {"b"}
    with pytest.raises(UsageError, match="nothing to take back"):
        log.undo("a")


def test_to_keep_what_an_earlier_decision_gave_is_that_decision_and_undo_goes_step_by_step(tmp_path: Path) -> None:
    log = Corrections(tmp_path / "c.csv")

    def holds() -> tuple[str, str, str]:
        (one,) = log.decisions.values()
        assert read_corrections(tmp_path / "c.csv")["a"] == one
        return one.kind, one.given, one.to

    log.decide(Decision(id="a", kind="relabel", given="4", to="9"))
    log.decide(Decision(id="a", kind="exclude", given="9"))
    assert holds() == ("exclude", "4", "")
    log.decide(Decision(id="a", kind="unsure", given="9"))
    assert holds() == ("relabel", "4", "9")
    log.decide(Decision(id="a", kind="keep", given="4"))
    assert holds() == ("keep", "4", "")
    assert [one.kind for one in log.made["a"]] == ["relabel", "exclude", "unsure", "keep"]
    for kind, to in (("relabel", "9"), ("exclude", ""), ("relabel", "9")):
        found = log.undo("a")
        assert found is not None and (found.kind, found.to) == (kind, to)
        assert holds() == (kind, "4", to)
    assert log.undo("a") is None and log.decisions == {}


@pytest.mark.parametrize(
    ("lines", "kind", "given"),
    [
        ("a,relabel,,9\na,keep,9,", "relabel", ""),
        ("a,relabel,,9\na,relabel,9,7", "relabel", ""),
        ("a,relabel,,9\na,keep,4,", "keep", "4"),
        ("a,relabel,4,9\na,relabel,9,4\na,keep,4,", "keep", "4"),
        ("a,relabel,4,9\na,keep,,", "keep", "4"),
    ],
)
def test_chains_that_were_written_by_hand(tmp_path: Path, lines: str, kind: str, given: str) -> None:
    (tmp_path / "c.csv").write_text(f"id,decision,from,to\n{lines}\n")
    found = read_corrections(tmp_path / "c.csv")["a"]
    assert (found.kind, found.given) == (kind, given)


@pytest.mark.parametrize("name", HOSTILE)
def test_any_id_and_class_comes_back(tmp_path: Path, name: str) -> None:
    log = Corrections(tmp_path / "c.csv")
    log.decide(Decision(id=name, kind="relabel", given=name, to=name + "2"))
    log.decide(Decision(id="x", kind="keep"))
    found = read_corrections(tmp_path / "c.csv")[name]
    assert (found.id, found.given, found.to) == (name, name, name + "2")


def test_a_line_cut_short_anywhere_loses_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    log = Corrections(path)
    log.decide(Decision(id="first", kind="keep"))
    whole = path.read_bytes()
    log.decide(Decision(id='se"c\nond é', kind="relabel", given="a", to="rose", when="2026-01-01"))
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        again = Corrections(path)
        found = again.decisions
        assert set(found) <= {"first", 'se"c\nond é'}
        if length >= len(whole):
            assert "first" in found
        if len(found) == 2:
            assert found['se"c\nond é'].to == "rose"
        again.decide(Decision(id="third", kind="exclude"))
        assert Corrections(path).decisions == again.decisions
        assert set(again.decisions) == {*found, "third"}


def test_files_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes("\ufeffDecision,ID,To\r\nrelabel,a,rose\r\n\r\nexclude,b,".encode())
    log = Corrections(path)
    assert log.decisions["a"].to == "rose" and log.decisions["b"].kind == "exclude"
    log.decide(Decision(id="c", kind="relabel", given="x", to="y"))
    found = read_corrections(path)
    assert set(found) == {"a", "b", "c"} and found["c"].to == "y"


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    first, second = Corrections(tmp_path / "c.csv"), Corrections(tmp_path / "c.csv")
    for number in range(20):
        (first, second)[number % 2].decide(Decision(id=str(number), kind="keep"))
    assert len(read_corrections(tmp_path / "c.csv")) == 20


def test_what_another_took_back_meanwhile_is_not_taken_back_again(tmp_path: Path) -> None:
    first = Corrections(tmp_path / "c.csv")
    first.decide(Decision(id="a", kind="keep"))
    second = Corrections(tmp_path / "c.csv")
    first.undo("a")
    before = (tmp_path / "c.csv").read_bytes()
    with pytest.raises(UsageError, match="nothing to take back"):
        second.undo("a")
    assert (tmp_path / "c.csv").read_bytes() == before
    # And it has taken in what the other did.
    second.decide(Decision(id="a", kind="exclude"))
    assert read_corrections(tmp_path / "c.csv")["a"].kind == "exclude" and second.undo("a") is None


def test_what_was_decided_is_there_after_sigkill(tmp_path: Path) -> None:
    code = """
import sys
from deeper.records.corrections import Corrections, Decision
log = Corrections(sys.argv[1])
for number in range(10**9):
    log.decide(Decision(id=str(number), kind="keep"))
    print(number, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "c.csv"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = [process.stdout.readline() for _ in range(30)][-1]
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read().splitlines()
    process.wait()
    process.stdout.close()
    told = int((rest or [last])[-1])
    assert len(read_corrections(tmp_path / "c.csv")) >= told + 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hello", "wanted the columns id,decision"),
        ("a,b\n1,2\n", "wanted the columns id,decision"),
        ("id,decision\na,delete\n", "no decision 'delete'"),
        ("id,decision,to\na,relabel,\n", "needs the class"),
        ("id,decision,to\na,keep,rose\n", "has no class that it gets"),
        ("id,decision\n,keep\n", "without the id"),
        ('id,decision\na,"keep"x\n', "no sound CSV"),
    ],
)
def test_files_that_are_none_are_refused_and_unharmed(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(text)
    with pytest.raises(SourceError, match=says):
        read_corrections(path)
    assert path.read_text() == text


def test_a_missing_file_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no file .*deeper review"):
        read_corrections(tmp_path / "none.csv")
    (tmp_path / "c.csv").write_bytes(b"id,decision\n\xff\xfe,keep\n")
    with pytest.raises(SourceError, match="no UTF-8"):
        read_corrections(tmp_path / "c.csv")


def test_a_bad_line_of_another_process_is_refused_without_half_of_what_came_with_it(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    log = Corrections(path)
    log.decide(Decision(id="a", kind="exclude"))
    good = path.read_text()
    path.write_text(good + "b,exclude,,,,\nc,nonsense,,,,\n")
    for _ in range(2):
        with pytest.raises(SourceError, match="nonsense"):
            log.decide(Decision(id="d", kind="exclude"))
    path.write_text(good + "b,exclude,,,,\nc,exclude,,,,\n")
    log.decide(Decision(id="d", kind="exclude"))
    assert sorted(log.decisions) == ["a", "b", "c", "d"] == sorted(read_corrections(path))
    assert log.undo("b") is None, "it was taken in once"
