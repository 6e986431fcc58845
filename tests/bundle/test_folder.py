"""Replacing a bundle: no moment without one, no mixture, whoever crashes or reads meanwhile."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deeper import bundle
from deeper.bundle import folder
from tests.patience import patient
from tests.sample_network import network, write

# Replaces a bundle without end by one of two prepared ones in turn; no torch, so that it starts and turns quickly.
WRITER = """
import itertools, sys
from pathlib import Path
from deeper.bundle import folder
kinds = [{file.name: file.read_bytes() for file in Path(kind).iterdir()} for kind in sys.argv[2:]]
print("ready", flush=True)
for number in itertools.count():
    folder.replace(Path(sys.argv[1]), kinds[number % 2])
"""


@pytest.fixture(scope="module")
def kinds(tmp_path_factory) -> list[Path]:
    """Two bundles that differ in weights and description: `training.parity` is 0 and 1."""
    parent = tmp_path_factory.mktemp("kinds")
    weights = network().state_dict()
    doubled = {name: tensor * 2 for name, tensor in weights.items()}
    return [
        write(parent / "even", weights=weights, training={"parity": 0}),
        write(parent / "odd", weights=doubled, training={"parity": 1}),
    ]


def contents(kind: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in kind.iterdir()}


def parity(path: Path) -> int:
    value = bundle.load(path).info.training["parity"]
    assert isinstance(value, int)
    return value


def test_folders_exchange_their_names(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    assert folder.exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "file").read_text() == "other"
    assert (tmp_path / "other" / "file").read_text() == "one"


@pytest.mark.parametrize("kills", [8, pytest.param(50, marks=pytest.mark.long)])
def test_killed_at_random_points_there_is_always_a_whole_bundle(tmp_path, kinds, kills):
    path = tmp_path / "bundle"
    folder.replace(path, contents(kinds[0]))
    chance = random.Random(7)
    seen = set()
    killed = 0
    # Until both were met: how far a writer comes depends on the disk.
    while killed < kills or (seen != {0, 1} and killed < 8 * kills):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, path, *kinds],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0, 0.2 * (1 + killed / kills)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        # Exchanged, so under its own name, not found beside it.
        assert (path / "bundle.json").is_file()
        seen.add(parity(path))
        killed += 1
    assert seen == {0, 1}
    # What the crashes left is cleared away by the next save.
    folder.replace(path, contents(kinds[0]))
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]


def test_a_reader_never_meets_a_mixture(tmp_path, kinds):
    path = tmp_path / "bundle"
    folder.replace(path, contents(kinds[0]))
    both = [contents(kind) for kind in kinds]
    stop, written = threading.Event(), 0

    def rewrite() -> None:
        nonlocal written
        while not stop.is_set():
            written += 1
            folder.replace(path, both[written % 2])

    thread = threading.Thread(target=rewrite)
    thread.start()
    seen: list[int] = []
    try:
        ends = time.monotonic() + patient(30)
        while time.monotonic() < ends and (written < 20 or len(seen) < 50 or len(set(seen)) < 2):
            seen.append(parity(path))
    finally:
        stop.set()
        thread.join()
    assert written >= 20 and len(seen) >= 50 and set(seen) == {0, 1}


def test_without_exchange_a_crash_between_the_moves_is_survived(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "exchange", lambda one, other: False)
    path = write(tmp_path / "bundle", training={"parity": 0})
    rename, moves = os.rename, []

    def crash(source, target):
        # Files written atomically are renamed too; folders only by the replacement.
        if Path(source).is_dir():
            moves.append(Path(target).name)
            if len(moves) == 2:
                raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        write(path, training={"parity": 1})
    monkeypatch.setattr(os, "rename", rename)
    assert moves == [".bundle.old", "bundle"] and not path.exists()
    assert bundle.is_bundle(path) and parity(path) == 0
    # The next save puts everything in its place.
    write(path, training={"parity": 1})
    assert parity(path) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]
