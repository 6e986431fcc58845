"""Downloads, against a real HTTP server on this machine that misbehaves on demand."""

from __future__ import annotations

import hashlib
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from deeper import download
from deeper.errors import DownloadError, StorageError
from tests.patience import patient

CONTENT = np.random.default_rng(0).bytes(1_000_000)
HASH = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """`/NAME/…` behaves as its method `do_NAME` says; every request is noted in `server.requests`."""

    def do_GET(self) -> None:
        way = self.path.split("/")[1]
        first = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(first[1]) if first else 0
        self.server.requests.append((way, start))  # type: ignore[attr-defined]
        getattr(self, f"answer_{way}")(start, bool(first))

    def _send(self, body: bytes, start: int, ranged: bool, *, cut: int | None = None, told_start: int | None = None):
        if ranged and start >= len(body):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        rest = body[start:]
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(len(rest)))
        if ranged:
            told = start if told_start is None else told_start
            self.send_header("Content-Range", f"bytes {told}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        self.wfile.write(rest[:cut])
        if cut is not None:
            self.close_connection = True

    def answer_good(self, start: int, ranged: bool) -> None:
        self._send(CONTENT, start, ranged)

    def answer_slow(self, start: int, ranged: bool) -> None:
        time.sleep(1)
        self._send(CONTENT, start, ranged)

    def answer_cut(self, start: int, ranged: bool) -> None:
        self._send(CONTENT, start, ranged, cut=300_000)

    def answer_dead(self, start: int, ranged: bool) -> None:
        self._send(CONTENT, start, ranged, cut=0)

    def answer_plain(self, start: int, ranged: bool) -> None:  # knows no ranges
        self._send(CONTENT, 0, False)

    def answer_shifted(self, start: int, ranged: bool) -> None:  # answers another range than it was asked for
        self._send(CONTENT, 0, ranged, told_start=0)

    def answer_wrong(self, start: int, ranged: bool) -> None:
        self._send(b"x" * 1000, start, ranged)

    def answer_missing(self, start: int, ranged: bool) -> None:
        self.send_error(404)

    def answer_busy(self, start: int, ranged: bool) -> None:
        if len(self.server.requests) < 3:  # type: ignore[attr-defined]
            self.send_error(503)
        else:
            self._send(CONTENT, start, ranged)

    def answer_moved(self, start: int, ranged: bool) -> None:
        self.send_response(302)
        self.send_header("Location", "/good/file")
        self.end_headers()

    def answer_local(self, start: int, ranged: bool) -> None:
        self.send_response(302)
        self.send_header("Location", "file:///etc/hostname")
        self.end_headers()

    def answer_chunked(self, start: int, ranged: bool) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for at in range(0, len(CONTENT), 300_000):
            piece = CONTENT[at : at + 300_000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def answer_silent(self, start: int, ranged: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000])
        self.wfile.flush()
        self.server.ended.wait(20)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


Handler.protocol_version = "HTTP/1.1"


class Server:
    def __init__(self, http: ThreadingHTTPServer) -> None:
        self.base = f"http://127.0.0.1:{http.server_port}"
        self.requests: list[tuple[str, int]] = http.requests  # type: ignore[attr-defined]

    def __call__(self, *ways: str) -> list[str]:
        return [f"{self.base}/{way}/file" for way in ways]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # A proxy of the machine must not come between.
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.01)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.requests = []  # type: ignore[attr-defined]
    http.ended = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Server(http)
    http.ended.set()  # type: ignore[attr-defined]
    http.shutdown()
    thread.join()
    http.server_close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("way", ["good", "plain", "chunked", "moved", "busy", "cut"])
def test_a_file_arrives_whole(way: str, server: Server, tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.gz"
    assert download.fetch(server(way), HASH.upper(), target) == target
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == ["file.gz"]


def test_what_is_there_is_not_fetched(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    download.fetch(server("good"), HASH, tmp_path / "file")
    assert server.requests == []
    (tmp_path / "file").write_bytes(b"something else")
    download.fetch(server("good"), HASH, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_broken_transfer_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    download.fetch(server("cut"), HASH, tmp_path / "file", progress=lambda done, total: seen.append((done, total)))
    # Every try goes on where the last one broke off: nothing is sent twice.
    assert server.requests == [("cut", 0), ("cut", 300_000), ("cut", 600_000), ("cut", 900_000)]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (1_000_000, 1_000_000)
    assert {total for _, total in seen} == {1_000_000}


def test_a_part_of_an_earlier_process_is_gone_on_with(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:700_000])
    download.fetch(server("good"), HASH, tmp_path / "file")
    assert server.requests == [("good", 700_000)]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_part_that_is_whole_already(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    download.fetch(server("good"), HASH, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [10, 1_000_000, 1_500_000])
def test_a_part_of_another_file_does_not_spoil_the_only_mirror(size: int, server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"z" * size)
    download.fetch(server("good"), HASH, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert server.requests == [("good", size), ("good", 0)]


def test_a_part_is_begun_anew_where_no_ranges_are_known(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT[:700_000])
    download.fetch(server("plain"), HASH, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    (tmp_path / "other.part").write_bytes(CONTENT[:700_000])
    download.fetch(server("shifted"), HASH, tmp_path / "other")
    assert (tmp_path / "other").read_bytes() == CONTENT


@pytest.mark.parametrize("bad", ["missing", "wrong", "dead", "local"])
def test_the_second_mirror(bad: str, server: Server, tmp_path: Path) -> None:
    download.fetch(server(bad, "good"), HASH, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert names(tmp_path) == ["file"]


def test_mirrors_share_what_arrived(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TRIES", 1)
    download.fetch(server("cut", "good"), HASH, tmp_path / "file")
    assert server.requests == [("cut", 0), ("good", 300_000)]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_no_mirror_helps(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"what was there")
    urls = [*server("missing", "wrong", "dead"), "ftp://127.0.0.1/file", "file:///etc/hostname", "http://[bad/"]
    with pytest.raises(DownloadError) as caught:
        download.fetch(urls, HASH, tmp_path / "file")
    message = str(caught.value)
    assert "\n" not in message
    for part in ("404", "wanted " + HASH[:12], "broke off after 0 of 1,000,000", "only http and https", "put the file"):
        assert part in message, part
    # A mirror that does not have it is asked once; one that breaks off is tried again.
    assert [way for way, _ in server.requests] == ["missing", "wrong", *["dead"] * download.TRIES]
    assert (tmp_path / "file").read_bytes() == b"what was there"
    with pytest.raises(DownloadError, match="no mirror given"):
        download.fetch([], HASH, tmp_path / "file")


def test_no_network_is_known_soon(server: Server, tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and not listening: refused
        closed = f"http://127.0.0.1:{bound.getsockname()[1]}/file"
        with pytest.raises(DownloadError, match="refused"):
            download.fetch([closed], HASH, tmp_path / "file")
    assert names(tmp_path) == []


def test_a_silent_server_is_left(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 2.0)
    monkeypatch.setattr(download, "TRIES", 1)
    download.fetch(server("silent", "good"), HASH, tmp_path / "file")
    # What came before the silence was kept.
    assert server.requests == [("silent", 0), ("good", 1000)]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_full_disk_is_no_broken_line(server: Server, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mounting, capture_output=True).returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    try:
        with pytest.raises(StorageError, match="the disk is full"):
            download.fetch(server("good"), HASH, disk / "file")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert len(server.requests) == 1


def test_a_place_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    with pytest.raises(StorageError, match="not a folder"):
        download.fetch(server("good"), HASH, tmp_path / "file" / "below")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_text("1")
    with pytest.raises(StorageError, match="a folder stands there"):
        download.fetch(server("good"), HASH, tmp_path / "folder")


def test_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DEEPER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert download.cache_folder() == tmp_path / ".cache" / "deeper"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert download.cache_folder() == tmp_path / "xdg" / "deeper"
    monkeypatch.setenv("DEEPER_CACHE", str(tmp_path / "mine"))
    assert download.cache_folder() == tmp_path / "mine"


def test_two_processes_wait_for_each_other(server: Server, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from deeper.download import fetch; fetch([sys.argv[1]], sys.argv[2], Path(sys.argv[3]))"
    words = [sys.executable, "-c", code, server("slow")[0], HASH, str(tmp_path / "file")]
    started = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [one.communicate(timeout=patient(60))[1] for one in started]
    assert [(one.returncode, error) for one, error in zip(started, said, strict=True)] == [(0, "")] * 3
    assert (tmp_path / "file").read_bytes() == CONTENT and names(tmp_path) == ["file"]
    assert server.requests == [("slow", 0)], "the others find it there"
