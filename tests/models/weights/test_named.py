"""Published weights by name, against a real HTTP server on this machine."""

from __future__ import annotations

import functools
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deeper.errors import DownloadError
from deeper.models import MODELS
from deeper.models.weights.named import NAMED, Named, fetched, looks_like_a_name

CONTENT = b"weights " * 10_000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "net.pth").write_bytes(CONTENT)
    monkeypatch.setenv("DEEPER_CACHE", str(tmp_path / "cache"))
    handler = functools.partial(Quiet, directory=str(tmp_path / "public"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/net.pth"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "known",
    [
        {"sha256": hashlib.sha256(CONTENT).hexdigest()},
        {"sha256": hashlib.sha256(CONTENT).hexdigest()[:8]},
        {"md5": hashlib.md5(CONTENT).hexdigest()},
    ],
)
def test_a_file_is_fetched_once_and_checked(server: str, known: dict[str, str], tmp_path: Path) -> None:
    entry = Named(model="inception_v3", url=server, **known)  # type: ignore[arg-type]
    file = fetched("timm/net", entry=entry)
    assert file == tmp_path / "cache" / "weights" / "timm" / "net.pth"
    assert file.read_bytes() == CONTENT
    (tmp_path / "public" / "net.pth").unlink()
    assert fetched("timm/net", entry=entry) == file
    file.write_bytes(b"changed")
    with pytest.raises(DownloadError):
        fetched("timm/net", entry=entry)


def test_another_file_than_the_named_one_is_refused(server: str, tmp_path: Path) -> None:
    for wrong in (Named(model="x", url=server, sha256="0cc3c7bd"), Named(model="x", url=server, md5="9a0d58056eee")):
        with pytest.raises(DownloadError, match="wanted"):
            fetched("timm/net", entry=wrong)
        assert not list((tmp_path / "cache").rglob("net.pth"))


def test_weights_without_a_public_hash_are_not_fetched() -> None:
    with pytest.raises(DownloadError, match=r"no hash of it is public.*--weights inception_v4_2016_09_09\.tar\.gz"):
        fetched("slim/inception_v4")


def test_the_list() -> None:
    for name, entry in NAMED.items():
        assert looks_like_a_name(name)
        assert entry.model in MODELS and name.partition("/")[2].startswith(entry.model)
        assert bool(entry.checked_by) == bool(entry.sha256 or entry.md5)
        assert len(entry.sha256) in (0, 8, 64) and len(entry.md5) in (0, 32)
        # The digits in a file's name are those that are checked.
        if "-" in entry.file and entry.file.endswith(".pth"):
            assert entry.sha256.startswith(entry.file.removesuffix(".pth").rpartition("-")[2])
        assert replace(entry, look=None).file == entry.url.rpartition("/")[2]
