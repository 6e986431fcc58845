"""`deeper serve` under load: against `deeper predict`, against Flask apps, and far beyond what it can carry.

    python benchmarks/serving.py RUN [--seconds 15] [--rounds 3] [--without-keras] [--overload-seconds 120]

RUN has an Inception v3 at 299 pixels and its int8 export (`benchmarks/parity.py` makes one). Bodies are JPEG files of
500 pixels. Clients run in this process, on the same processors, so their time counts. All listens on 127.0.0.1.

1. Saturation: 32 connections that ask again at once; rounds interleaved with `deeper predict`'s path and the peers. Also
   in pictures a second of processor time (of server and client together), which stays true on a machine that others use.
2. Half load: requests at random times (Poisson), half of the rate at saturation: median and 99th percentile.
3. Overload: 2, 5 and 10 times that rate, for minutes, since the first and the last batch of 64 pictures, each more than a
   second, are seconds without an answer: which answers come, how many good ones, how quick liveness is, the queue, memory.
   Good answers also as a share of what the clients leave: 570 requests a second cost them processors that the engine lacks.

Every figure is printed beside its limit; exits with 1 where one is beyond it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from load import CONNECTIONS, Load, closed_loop, open_loop

from deeper import Classifier

QUEUE = 256
# Megabytes that the server may grow by under overload: bodies on their way, and what malloc keeps of them.
GROWTH = 100
KERAS_PYTHON = ".venv-tensorflow/bin/python"


@contextlib.contextmanager
def server(words: list[str], port: int, ready: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server process, ready."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{ready}", timeout=2):
                break
            if process.poll() is not None:
                raise SystemExit(f"ended at once: {' '.join(words)}")
            time.sleep(0.1)
        else:
            raise SystemExit(f"not ready after two minutes: {' '.join(words)}")
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


class Limits:
    """Prints each figure beside its limit, and remembers whether one was beyond it."""

    def __init__(self) -> None:
        self.beyond = 0

    def most(self, what: str, value: float, limit: float, shown: str = ".0f") -> str:
        return self._told(what, value <= limit, f"{value:{shown}}", f"at most {limit:{shown}}")

    def least(self, what: str, value: float, limit: float, shown: str = ".2f") -> str:
        return self._told(what, value >= limit, f"{value:{shown}}", f"at least {limit:{shown}}")

    def _told(self, what: str, fine: bool, value: str, limit: str) -> str:
        self.beyond += not fine
        return f"{what} {value} ({limit}{'' if fine else ': BEYOND'})"


def metrics(port: int) -> dict[str, float]:
    """What `/metrics` says, by name; labels are left out, for one model is served."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {re.sub(r"\{.*\}", "", line.rpartition(" ")[0]): float(line.rpartition(" ")[2]) for line in lines}


def batches(before: dict[str, float], after: dict[str, float]) -> tuple[float, float]:
    """Mean milliseconds and pictures of the batches between two readings."""
    count, seconds, pictures = (
        after.get(name, 0) - before.get(name, 0)
        for name in ("deeper_batch_seconds_count", "deeper_batch_seconds_sum", "deeper_batch_pictures_sum")
    )
    return 1000 * seconds / max(1, count), pictures / max(1, count)


def processor_seconds(process: subprocess.Popen[bytes] | None = None) -> float:
    """That this process, and a server, have used so far."""
    mine = time.process_time()
    if process is None:
        return mine
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return mine + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def megabytes(process: subprocess.Popen[bytes]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000  # type: ignore[index]


def bodies_of(folder: Path) -> list[bytes]:
    """64 JPEG files of 500 pixels: smooth noise, which compresses like photographs."""
    import io

    from PIL import Image

    generator, made = np.random.default_rng(0), []
    for _ in range(64):
        small = Image.fromarray(generator.integers(0, 256, (40, 40, 3), np.uint8))
        buffer = io.BytesIO()
        small.resize((500, 500), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        made.append(buffer.getvalue())
    folder.mkdir(parents=True, exist_ok=True)
    return made


def predict_rate(classifier: Classifier, bodies: list[bytes], seconds: float) -> tuple[float, float]:
    """Pictures a second, and a second of processor time, of the path that `deeper predict` takes."""
    began, used, done = time.perf_counter(), processor_seconds(), 0

    def endless() -> Iterator[bytes]:
        while time.perf_counter() - began < seconds:
            yield from bodies

    for _ in classifier.predict_many(endless()):
        done += 1
    return done / (time.perf_counter() - began), done / (processor_seconds() - used)


def left(load: Load, at_saturation: list[float]) -> float:
    """What clients that ask ten times as often leave of the processors, as a share of what they left at saturation: on a
    machine of its own the server would have all of it."""
    cores = len(os.sched_getaffinity(0))
    return (cores - load.processor / load.lasted) / (cores - statistics.median(at_saturation))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--overload-seconds", type=float, default=120, help="of each; 0: none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-keras", action="store_true")
    arguments = parser.parse_args()
    bodies = bodies_of(Path("build"))
    classifier = Classifier(arguments.run, engine="openvino", precision="int8")
    ports = {name: free_port() for name in ("serve", "flask deeper", "flask Keras")}
    here = str(Path(__file__).with_name("flask_peer.py"))
    run, python = str(arguments.run), sys.executable
    serve = [
        python,
        "-m",
        "deeper",
        "serve",
        f"it={run}",
        "--engine",
        "openvino",
        "--precision",
        "int8",
        "--queue",
        str(QUEUE),
    ]
    words = {
        "serve": [*serve, "--port", str(ports["serve"])],
        "flask deeper": [python, here, "deeper", str(ports["flask deeper"]), run],
        "flask Keras": [KERAS_PYTHON, here, "keras", str(ports["flask Keras"]), "299"],
    }
    if arguments.without_keras:
        del words["flask Keras"]
    paths = {"serve": "/predict", "flask deeper": "/", "flask Keras": "/"}
    rates: dict[str, list[float]] = {name: [] for name in ("predict", *words)}
    costs: dict[str, list[float]] = {name: [] for name in rates}
    tails: dict[str, list[float]] = {name: [] for name in words}
    clients: list[float] = []
    limits = Limits()
    with contextlib.ExitStack() as stack:
        began = time.perf_counter()
        processes = {"serve": stack.enter_context(server(words["serve"], ports["serve"], "/readyz"))}
        print(f"deeper serve, start to ready: {time.perf_counter() - began:.1f} s")
        for name in list(words)[1:]:
            processes[name] = stack.enter_context(server(words[name], ports[name], "/livez"))
        predict_rate(classifier, bodies, 3)
        first = metrics(ports["serve"])
        for number in range(arguments.rounds):
            rate, cost = predict_rate(classifier, bodies, arguments.seconds)
            rates["predict"].append(rate)
            costs["predict"].append(cost)
            for name in words:
                used = processor_seconds(processes[name])
                load = asyncio.run(closed_loop(ports[name], paths[name], bodies, arguments.seconds))
                rates[name].append(load.rate)
                costs[name].append(load.statuses[200] / (processor_seconds(processes[name]) - used))
                tails[name].append(load.percentile(0.99))
                if name == "serve":
                    clients.append(load.processor / load.lasted)
            shown = ", ".join(f"{name} {rates[name][-1]:.1f} ({costs[name][-1]:.1f})" for name in rates)
            print(f"round {number + 1}, images a second (of processor time): {shown}", flush=True)
        middle = {name: statistics.median(values) for name, values in rates.items()}
        cheap = {name: statistics.median(values) for name, values in costs.items()}
        wanted = {"predict": 0.75, "flask deeper": 1.0, "flask Keras": 3.0}
        for name in ("predict", *list(words)[1:]):
            # The machine has other users: the better of the two tells what the server can do.
            clock, processor = middle["serve"] / middle[name], cheap["serve"] / cheap[name]
            said = limits.least(f"deeper serve / {name}:", max(clock, processor), wanted[name])
            print(f"{said}: {clock:.2f} by the clock, {processor:.2f} by processor time")
        tail = {name: statistics.median(values) for name, values in tails.items()}
        for name in words:
            print(f"99th percentile at {CONNECTIONS} connections, {name}: {tail[name]:.0f} ms")
        if "flask deeper" in tail:
            print(limits.most("99th percentile of deeper serve, ms:", tail["serve"], tail["flask deeper"]))
        port, capacity = ports["serve"], middle["serve"]
        batch, size = batches(first, metrics(port))
        print(f"batches at saturation: {batch:.0f} ms, {size:.1f} pictures")
        first = metrics(port)
        half = asyncio.run(open_loop(port, "/predict", bodies, capacity / 2, arguments.seconds))
        small, few = batches(first, metrics(port))
        print(
            f"half load ({capacity / 2:.0f}/s): batches {small:.0f} ms, {few:.1f} pictures; median "
            f"{half.percentile(0.5):.0f} ms, {limits.most('99th percentile', half.percentile(0.99), 3 * batch)} ms, "
            f"{dict(half.statuses)}"
        )
        if arguments.overload_seconds:
            # What a full queue takes is taken once.
            asyncio.run(open_loop(port, "/predict", bodies, 2 * capacity, 10))
        for times in (2, 5, 10) if arguments.overload_seconds else ():
            before = megabytes(processes["serve"])
            load = asyncio.run(open_loop(port, "/predict", bodies, capacity * times, arguments.overload_seconds))
            odd = sum(count for status, count in load.statuses.items() if status not in (200, 503, "late"))
            said = [
                f"{times}× capacity: {dict(load.statuses)}",
                limits.most("other answers than 200 and 503", odd, 0),
                f"good answers, of the peak: {load.rate / capacity:.2f} as they are"
                + (f"; {load.reopened} idle connections had been closed" if load.reopened else "")
                + (f"; {load.unsent} requests were not sent, 900 being under way" if load.unsent else ""),
                limits.least(
                    "  of what the clients leave of the processors", load.rate / capacity / left(load, clients), 0.9
                ),
                limits.most("liveness, 99th percentile, ms", 1000 * float(np.quantile(load.live, 0.99)), 100),
                limits.most("queue", max(load.queued), QUEUE),
                limits.most("memory grew by MB", megabytes(processes["serve"]) - before, GROWTH),
            ]
            print("\n  ".join(said), flush=True)
    print(f"{limits.beyond} figures are beyond their limits" if limits.beyond else "all within their limits")
    raise SystemExit(1 if limits.beyond else 0)


if __name__ == "__main__":
    main()
