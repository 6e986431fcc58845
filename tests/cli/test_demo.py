"""`deeper demo` where MNIST is nowhere and cannot be had."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from deeper.cli import main


@pytest.fixture
def no_mnist(tmp_path, monkeypatch):
    """Neither data nor network: the mirror is a port of this machine that nobody listens at."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEEPER_DATA", raising=False)
    monkeypatch.setenv("DEEPER_CACHE", str(tmp_path / "cache"))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DEEPER_MIRROR", f"http://127.0.0.1:{bound.getsockname()[1]}")
        yield


@pytest.mark.parametrize("cache", ["missing", "not to be written"])
def test_without_data_and_network_it_runs_on_digits(no_mnist, cache, capsys, tmp_path: Path) -> None:
    if cache != "missing":
        (tmp_path / "cache").write_text("a file where a folder should be")  # as a home that is read-only
    main(["demo", "--epochs", "0.02", "--json"])
    said = capsys.readouterr()
    plain = json.loads(said.out)
    assert plain["source"] == "digits" and plain["total"] > 100 and plain["run"] == "runs/demo"
    assert "MNIST is not at hand: running on `digits`, digits drawn from fonts, instead" in said.err


def test_a_source_that_was_named_is_not_exchanged(no_mnist, capsys) -> None:
    with pytest.raises(SystemExit) as left:
        main(["demo", "--source", "mnist"])
    assert left.value.code == 8 and "could not be downloaded" in capsys.readouterr().err
    assert not Path("runs").exists()
