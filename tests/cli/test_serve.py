"""What clients may call the server, and whose pages may ask: as one types it, and as headers write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeper.cli import main
from deeper.cli.serve import _host, _named, _origin
from deeper.errors import UsageError


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("https://photos.example/", "https://photos.example"),
        ("https://Photos.Example:443", "https://photos.example"),
        ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("http://[FE80::1]:80", "http://[fe80::1]"),
    ],
)
def test_an_origin_is_what_a_browser_sends(given, meant) -> None:
    assert _origin(given) == meant


@pytest.mark.parametrize(
    "given", ["photos.example", "https://", "https://photos.example/page", "file:///page", "http://a:b"]
)
def test_what_is_no_origin_is_told(given) -> None:
    with pytest.raises(UsageError, match=r"--allow-origin .*: wanted scheme and name"):
        _origin(given)


@pytest.mark.parametrize(
    ("given", "meant"),
    [("photos.example", "photos.example"), ("*", "*"), ("fe80::1", "[fe80::1]"), ("[FE80::0:1]", "[fe80::1]")],
)
def test_a_host_is_what_a_header_names(given, meant) -> None:
    assert _host(given) == meant


@pytest.mark.parametrize("given", ["photos.example:8000", "http://photos.example", "photos.example/", ""])
def test_what_is_no_host_is_told(given) -> None:
    with pytest.raises(UsageError, match="--allow-host"):
        _host(given)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--timeout", "0"], "--timeout: wanted seconds above 0, got 0"),
        (["--timeout", "nan"], "--timeout: wanted seconds above 0, got nan"),
        (["--wait", "-1"], "--wait: wanted milliseconds from 0, got -1"),
        (["--connections", "0"], "--connections: wanted at least 1, got 0"),
        (["--queue", "0"], "--queue: wanted at least 1, got 0"),
        (["--largest-batch", "0"], "--largest-batch: wanted at least 1, got 0"),
        (["--max-pixels", "0.0000001"], "--max-pixels: wanted millions, above 0, got 1e-07"),
    ],
)
def test_numbers_that_cannot_be_are_told_by_their_flag(words, message, capsys) -> None:
    with pytest.raises(SystemExit) as left:
        main(["serve", "nowhere", *words])
    assert left.value.code == 2 and capsys.readouterr().err == f"deeper serve: {message}\n"


def test_a_path_with_an_equals_sign_is_a_path() -> None:
    assert _named("runs/lr=0.1") == ("lr=0.1", Path("runs/lr=0.1"))
    assert _named("cats=runs/lr=0.1") == ("cats", Path("runs/lr=0.1"))
