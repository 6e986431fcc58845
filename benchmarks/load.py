"""Clients for `serving.py`: some that ask again at once, and some that ask at random times, however slow the answers are.

python benchmarks/load.py PORT     asks /livez and /metrics ten times a second until its input ends: a process of its own,
                                   since in that of busy clients it would wait for them, not for the server
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

CONNECTIONS = 32


@dataclass
class Load:
    """What came back: seconds and status of every request."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int | str] = field(default_factory=Counter)
    lasted: float = 0.0
    live: list[float] = field(default_factory=list)
    """Seconds of /livez, asked beside."""
    queued: list[float] = field(default_factory=list)
    """Pictures in the server's queue, looked at beside."""
    processor: float = 0.0
    """Processor seconds that the clients took, of those that `lasted`."""
    unsent: int = 0
    """Requests that were due and not sent, since 900 were under way."""
    reopened: int = 0
    """Connections that the server had closed for being idle before they were used again."""

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return self.statuses[200] / self.lasted

    def percentile(self, share: float) -> float:
        """Milliseconds of the good answers."""
        return 1000 * float(np.quantile(self.seconds, share)) if self.seconds else float("nan")


class Client:
    """One connection: HTTP/1.1 by hand, so that the client costs little of the processors that it shares."""

    def __init__(self, port: int, path: str) -> None:
        self.port, self.path = port, path
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, body: bytes, load: Load) -> None:
        """One request, and once more where the server closed an idle connection just as it was used again, before a byte
        of an answer: as the pools of HTTP clients do."""
        began = time.perf_counter()
        status, raced = await self._asked(body, load)
        if raced:
            load.reopened += 1
            status, _ = await self._asked(body, load)
        load.statuses[status] += 1
        if status == 200:
            load.seconds.append(time.perf_counter() - began)

    async def _asked(self, body: bytes, load: Load) -> tuple[int, bool]:
        """The status, 0 where there was none; and whether an old connection ended without a byte."""
        used, came = self.writer is not None, False
        try:
            # As every client of HTTP with a pool does: what was closed while it lay idle is not used again.
            if self.reader is not None and self.reader.at_eof():
                load.reopened += 1
                self.close()
                used = False
            if self.writer is None:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            assert self.reader is not None
            self.writer.write(
                f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
                f"Content-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            came = True
            status = int(head.split(b" ", 2)[1])
            length = re.search(rb"content-length: (\d+)", head)
            assert length, head
            await self.reader.readexactly(int(length[1]))
            if b"connection: close" in head:
                self.close()
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            return 0, used and not came and not getattr(error, "partial", b"")
        return status, False

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


async def closed_loop(port: int, path: str, bodies: list[bytes], seconds: float) -> Load:
    """Each connection asks again as soon as it is answered."""
    load, began, used = Load(), time.perf_counter(), time.process_time()

    async def one(number: int) -> None:
        client, turn = Client(port, path), number
        while time.perf_counter() - began < seconds:
            await client.ask(bodies[turn % len(bodies)], load)
            turn += CONNECTIONS
        client.close()

    await asyncio.gather(*(one(number) for number in range(CONNECTIONS)))
    load.lasted, load.processor = time.perf_counter() - began, time.process_time() - used
    return load


async def open_loop(port: int, path: str, bodies: list[bytes], rate: float, seconds: float) -> Load:
    """Requests at random times, however slow the answers are; at most 900 connections."""
    load, began, chance = Load(), time.perf_counter(), random.Random(0)
    free: list[Client] = []
    pending: set[asyncio.Task[None]] = set()

    async def once(body: bytes) -> None:
        client = free.pop() if free else Client(port, path)
        await client.ask(body, load)
        free.append(client)

    watching = subprocess.Popen([sys.executable, __file__, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    due, turn, used = began, 0, time.process_time()
    while due - began < seconds:
        due += chance.expovariate(rate)
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if len(pending) < 900:
            task = asyncio.create_task(once(bodies[turn % len(bodies)]))
            pending.add(task)
            task.add_done_callback(pending.discard)
        else:
            load.unsent += 1
        turn += 1
    load.lasted, load.processor = time.perf_counter() - began, time.process_time() - used
    good = load.statuses[200]
    await asyncio.gather(*pending)
    seen = json.loads(watching.communicate()[0])
    load.live, load.queued = seen["live"], seen["queued"]
    # Those that came after the end would flatter the rate.
    load.statuses["late"] = load.statuses[200] - good
    load.statuses[200] = good
    for client in free:
        client.close()
    return load


def watch(port: int) -> None:
    """Prints JSON: seconds of /livez, and pictures in the queue."""
    live, queued = [], []
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.wait(0.1):
        asked = time.perf_counter()
        _get(port, "/livez")
        live.append(time.perf_counter() - asked)
        found = re.search(rb"^deeper_queued_pictures\{.*\} (\S+)", _get(port, "/metrics"), re.MULTILINE)
        queued.append(float(found[1]) if found else 0.0)
    print(json.dumps({"live": live, "queued": queued}))


def _get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.read()


if __name__ == "__main__":
    watch(int(sys.argv[1]))
