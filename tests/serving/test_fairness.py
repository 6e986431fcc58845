"""What one request may not do to others: hold up the loop, the memory, the decoders or the queue."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import numpy as np
import pytest

from deeper.images import encode_png
from deeper.serving.parsing import Parser
from tests.patience import patient, slowness
from tests.processes import alive
from tests.serving.conftest import serving
from tests.serving.test_limits import bomb, raw, resident
from tests.serving.test_protocols import PIXELS, ask


def large_bodies() -> dict[str, tuple[str, bytes]]:
    """Thirty megabytes each, of what is slow to parse."""
    open_path, tensorflow = "/v2/models/digits/infer", "/v1/models/digits:predict"
    numbers = b"[" + b"7," * 14_000_000 + b"7]"
    start = json.dumps({"inputs": [{**PIXELS, "data": 0}]}).encode()
    text = b'["' + b"x" * 4_000_000 + b'"' + b',""' * 1_000_000 + b"]"
    files = json.dumps(["A" * 28_000_000]).encode()
    return {
        "numbers": (open_path, start.replace(b'"data": 0', b'"data": ' + numbers)),
        "texts": (open_path, start.replace(b'"data": 0', b'"data": ' + text)),
        "base64": (
            open_path,
            json.dumps({"inputs": [{"name": "files", "datatype": "BYTES", "shape": [1], "data": 0}]})
            .encode()
            .replace(b'"data": 0', b'"data": ' + files),
        ),
        "instances": (tensorflow, b'{"instances": [' + numbers + b"]}"),
    }


@pytest.mark.parametrize("kind", ["numbers", "texts", "base64", "instances"])
def test_large_bodies_hold_nobody_up(served_run, pictures, wanted, kind) -> None:
    path, body = large_bodies()[kind]
    picture = encode_png(pictures[0])
    slow_by = slowness()
    with serving(served_run, "--engine", "torch", "--timeout", 240) as (address, process):
        ask(address + path, body)  # the parser's process is there from now on
        before, found = resident(process), []
        asking = threading.Thread(target=lambda: found.extend(ask(address + path, body)[0] for _ in range(2)))
        asking.start()
        slow = []
        while asking.is_alive():
            began = time.monotonic()
            assert ask(f"{address}/livez")[0] == 200
            slow.append(time.monotonic() - began)
            time.sleep(0.01)
        assert ask(f"{address}/predict", picture)[1]["class"] == wanted[0].label
        assert found == [400, 400]
        # In this process and on two busy cores the client itself is often late: most answers must come at once.
        slow_by = max(slow_by, slowness())
        assert len(slow) >= 5 and np.quantile(slow, 0.9) < 0.1 * slow_by and max(slow) < 0.6 * slow_by
        assert resident(process) - before < 150 << 20


def test_a_large_body_that_is_right_is_answered(address, pictures, wanted) -> None:
    many = np.concatenate([pictures] * 4)[:200]
    body = {"instances": many.tolist()}
    assert len(json.dumps(body)) > 300_000
    status, plain = ask(f"{address}/v1/models/digits:predict", body)
    assert status == 200
    assert [one["class"] for one in plain["predictions"]] == ([one.label for one in wanted] * 4)[:200]


def test_the_parser_ends_with_a_server_that_is_killed(served_run) -> None:
    with serving(served_run) as (address, process):
        ask(f"{address}/v1/models/digits:predict", b'{"instances": [' + b" " * 100_000 + b"]}")
        listed = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
        children = listed.stdout.split()
        assert children
        process.kill()
        process.wait()
        deadline = time.monotonic() + patient(10)
        while any(alive(int(one)) for one in children):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_the_parser_outlives_a_signal_to_the_whole_service() -> None:
    """As systemd sends it: what was taken is still to be parsed."""

    async def asked() -> list[int]:
        parser = Parser()
        first = await parser(1 << 20, os.getpid)
        os.kill(first, signal.SIGTERM)
        await asyncio.sleep(0.5)
        second = await parser(1 << 20, os.getpid)
        parser.stop()
        return [first, second]

    first, second = asyncio.run(asked())
    assert first == second


def _post(length: int, path: str = "/predict") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def test_all_bodies_together_are_bounded(served_run, pictures) -> None:
    with serving(served_run, "--largest-body", 1, "--bodies", 1.5) as (address, _):
        with raw(address) as held:
            held.sendall(_post(900_000) + bytes(899_999))
            time.sleep(0.5 * slowness())  # it reads them
            with raw(address) as other:
                other.sendall(_post(900_000) + bytes(899_999))
                answer = other.recv(4096)
                assert answer.startswith(b"HTTP/1.1 503") and b"retry-after: 1" in answer
            assert ask(f"{address}/predict", encode_png(pictures[0]))[0] == 200
            held.sendall(b"x")
            assert held.recv(4096).startswith(b"HTTP/1.1 400")
        assert ask(f"{address}/predict", bytes(900_000))[0] == 400


def test_a_full_queue_refuses_before_the_body(served_run, pictures) -> None:
    """Pictures that are decoded slowly fill a queue of two; the third request is refused by its head alone."""
    slow = bomb(6_900)
    with serving(served_run, "--queue", 2) as (address, _):
        with raw(address) as one, raw(address) as two, raw(address) as third:
            for client in (one, two):
                client.sendall(_post(len(slow)) + slow)
            _wait_for_queue(address, 2)
            # Its body never comes: any answer is one to its head.
            third.sendall(_post(20_000_000))
            assert third.recv(4096).startswith(b"HTTP/1.1 503")
            for client in (one, two):
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
        status, plain = ask(f"{address}/v1/models/digits:predict", {"instances": pictures[:3].tolist()})
        assert status == 413 and "at most 2" in plain["error"]


def _queued(address: str) -> float:
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        lines = [one for one in answer.read().decode().splitlines() if one.startswith("deeper_queued_pictures{")]
    return float(lines[0].split()[-1])


def _wait_for_queue(address: str, count: int) -> None:
    """Until so many pictures are queued."""
    deadline = time.monotonic() + patient(5)
    while _queued(address) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_deadline_and_leaving_cover_decoding(served_run) -> None:
    slow = bomb(7_000)
    with serving(served_run, "--timeout", 0.2) as (address, _):
        status, plain = ask(f"{address}/predict", slow)
        assert status == 504 and plain["error"] == "no answer within 0.2 seconds"
    with serving(served_run) as (address, _):
        clients = [raw(address) for _ in range(12)]
        for one in clients:
            one.sendall(_post(len(slow)) + slow)
        _wait_for_queue(address, 6)
        for one in clients:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()
        slow_by = slowness()
        began = time.monotonic()
        # Twelve would take some seconds to decode.
        while _queued(address):
            assert time.monotonic() - began < 1.5 * slow_by
            time.sleep(0.05)
