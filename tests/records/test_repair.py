"""What a repair takes from a `dataset.json` that was edited, and what it says of one that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deeper.records import BuildOptions, build
from deeper.records import info as dataset_info
from deeper.records.corrections import Corrections, Decision
from deeper.records.repair import repair
from deeper.records.sources import Item, Source
from deeper.records.verify import verify

Make = Callable[..., Source]


@pytest.fixture
def source(listing: Make, save: Callable[..., Item]) -> Source:
    """Colour pictures."""
    return listing([save(f"{number:02d}.png", f"c{number % 2}") for number in range(24)])


@pytest.fixture
def made(tmp_path: Path, source: Source) -> Path:
    """A grey dataset of them, one left out and one relabelled."""
    log = Corrections(tmp_path / "c.csv")
    log.decide(Decision(id="00.png", kind="exclude", given="c0"))
    log.decide(Decision(id="01.png", kind="relabel", given="c1", to="c0"))
    build(source, tmp_path / "made", options=BuildOptions(channels=1, corrections=(log.path,)))
    return tmp_path / "made"


def edit(made: Path, **values: object) -> None:
    plain = json.loads((made / dataset_info.FILE).read_text())
    (made / dataset_info.FILE).write_text(json.dumps({**plain, **values}))


def test_channels_and_corrections_are_kept(made: Path, source: Source) -> None:
    before = dataset_info.load(made)
    assert before.channels == 1 and before.corrections is not None
    edit(made, name="mine")
    done = repair(made)
    assert dataset_info.load(made) == replace(before, name="mine")
    assert not any("guessed" in notice or "lost" in notice for notice in done.notices)
    report = build(source, made, options=BuildOptions(add=True))
    assert (report.kept, report.skipped, report.excluded) == (0, 23, 1)
    assert verify(made).sound


def test_without_a_readable_file_what_is_guessed_and_lost_is_said(made: Path) -> None:
    (made / dataset_info.FILE).write_bytes(b"{")
    done = repair(made)
    after = dataset_info.load(made)
    assert after.channels == 3 and after.corrections is None
    assert any("channels are guessed to be 3" in notice for notice in done.notices)
    assert any("what --corrections changed are lost" in notice for notice in done.notices)
    assert verify(made).sound


def test_channels_and_corrections_that_cannot_be_meant_are_said(made: Path) -> None:
    edit(made, channels=True, corrections={"excluded": [{"id": 7}]})
    done = repair(made)
    after = dataset_info.load(made)
    assert after.channels == 3 and after.corrections is None
    assert any("channels are guessed to be 3" in notice for notice in done.notices)
    assert any(
        "dataset.json: corrections" in notice and "brings excluded pictures back" in notice for notice in done.notices
    )
    assert verify(made).sound


def test_a_shard_whose_name_only_looks_like_an_addition(made: Path) -> None:
    shard = next(made.glob("train-*.tfrecord"))
    for path in (shard, shard.with_suffix(".idx")):
        path.rename(path.with_name(f"train-added{path.suffix}"))
    (made / dataset_info.FILE).unlink()
    repair(made)
    assert verify(made).sound
