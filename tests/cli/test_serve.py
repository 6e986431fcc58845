"""What clients may call the server, and whose pages may ask: as one types it, and as headers write it."""

from __future__ import annotations

import pytest

from deeper.cli.serve import _host, _origin
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
