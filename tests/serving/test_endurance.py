"""A server that is told to end in the middle of its work, again and again, and one that a thousand clients hold on to."""

from __future__ import annotations

import concurrent.futures
import random
import resource
import signal
import socket
import subprocess
import time

import pytest

from deeper.images import encode_png
from tests.patience import patient
from tests.serving.conftest import serving
from tests.serving.test_limits import raw, resident
from tests.serving.test_protocols import ask


def _asked(address: str, picture: bytes, until: list[float]) -> list[tuple[float, bytes]]:
    """Ask again and again until the server has ended: (when the request was on its way, what came back)."""
    request = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    request += f"Content-Length: {len(picture)}\r\n\r\n".encode() + picture
    seen = []
    while not until or time.monotonic() < until[0] + 0.2:
        try:
            with raw(address) as one:
                one.sendall(request)
                sent = time.monotonic()
                answer = b""
                while part := one.recv(65536):
                    answer += part
        except OSError:
            # Refused, or taken by the system and never by the server; only one of before the end was accepted for sure.
            if until:
                break
            raise
        seen.append((sent, answer))
    return seen


def _drained(served_run, picture: bytes, seed: int) -> int:
    """End a server under load: every request that was sent before is answered whole. → how many were in flight."""
    with serving(served_run, "--engine", "torch") as (address, process):
        ended: list[float] = []
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            clients = [pool.submit(_asked, address, picture, ended) for _ in range(8)]
            time.sleep(random.Random(seed).uniform(0.3, 1.0))
            # Accepted is what the server has read; a moment passes between a client's send and that.
            told = time.monotonic()
            ended.append(told)  # before it is told: then a client may be refused
            process.send_signal(signal.SIGTERM)
            seen = [one for client in clients for one in client.result(patient(30))]
        assert process.wait(patient(30)) in (0, -signal.SIGTERM, 143)
    before = [answer for sent, answer in seen if sent < told - 0.05]
    assert len(before) > 5
    for answer in before:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") and body.endswith(b"}"), answer[:300]
    for _, answer in seen:
        assert not answer or answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 503")), answer[:300]
    return sum(sent <= told for sent, _ in seen)


def test_a_drain_under_load_loses_nothing(served_run, pictures) -> None:
    assert _drained(served_run, encode_png(pictures[0]), 0) > 5


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_twenty_drains_under_load_lose_nothing(served_run, pictures) -> None:
    picture = encode_png(pictures[0])
    for seed in range(20):
        _drained(served_run, picture, seed)


def _held(process: subprocess.Popen[str], address: str, count: int) -> None:
    """`count` clients that send a byte now and then are closed within 10 seconds, and cost little memory."""
    before = resident(process)
    sockets: list[socket.socket] = []
    try:
        for number in range(count):
            sockets.append(raw(address))
            start = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
            sockets[-1].sendall(start if number % 2 else start + b"Content-Length: 1000\r\n\r\n")
            sockets[-1].setblocking(False)
        opened, open_still = time.monotonic(), set(sockets)
        while open_still and time.monotonic() < opened + 12:
            time.sleep(0.25)
            for one in list(open_still):
                try:
                    one.send(b"x")
                    if one.recv(1000) == b"":
                        open_still.discard(one)
                except BlockingIOError:
                    pass
                except OSError:
                    open_still.discard(one)
        assert not open_still and time.monotonic() - opened < 10
        assert resident(process) - before < 100 << 20
        assert ask(f"{address}/livez")[0] == 200
    finally:
        for one in sockets:
            one.close()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_thousand_dribbling_clients_are_cut_off(served_run) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    with serving(served_run, "--connections", 1100) as (address, process):
        _held(process, address, 1000)
        assert process.poll() is None
