"""From nothing to an answer: each engine in a fresh process, and `deeper serve` until it is ready.

    python benchmarks/cold_start.py RUN [--rounds 3]

RUN has its exports beside it (`benchmarks/parity.py` makes such runs). Rounds are interleaved. Wall-clock and processor
seconds, the least of the rounds: on two free cores the first lies between the second and its half.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from deeper.engines import exports_of
from deeper.images import encode_png

ENGINES = (("torch", "fp32"), ("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))
ASK = "from deeper import Classifier; Classifier({run!r}, engine={engine!r}, precision={precision!r})({picture!r})"


def processor_seconds(pid: int) -> float:
    """That a process and its threads have used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def first_answer(run: Path, engine: str, precision: str, picture: Path) -> tuple[float, float]:
    """Wall and processor seconds from the start of Python to the end of the first answer."""
    code = ASK.format(run=str(run), engine=engine, precision=precision, picture=str(picture))
    before, began = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - began, used


def ready(run: Path, engine: str, precision: str) -> tuple[float, float]:
    """Wall and processor seconds from the start of `deeper serve` to the first 200 of /readyz."""
    words = [sys.executable, "-m", "deeper", "serve", f"it={run}", "--port", "0"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*words, "--engine", engine, "--precision", precision],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        address = next(found[1] for line in lines if (found := re.search(r"serving on (http://\S+)", line)))
        while True:
            try:
                urllib.request.urlopen(f"{address}/readyz", timeout=5).close()
                return time.perf_counter() - began, processor_seconds(process.pid)
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    there = {"torch", *exports_of(arguments.run)}
    format_of = {"int8": "openvino-int8"}
    engines = [one for one in ENGINES if format_of.get(one[1], one[0]) in there]
    answers: dict[tuple[str, str], list[tuple[float, float]]] = {one: [] for one in engines}
    served: dict[tuple[str, str], list[tuple[float, float]]] = {one: [] for one in engines}
    with tempfile.TemporaryDirectory() as temporary:
        picture = Path(temporary) / "picture.png"
        picture.write_bytes(encode_png(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)))
        for _ in range(arguments.rounds):
            for engine, precision in engines:
                answers[engine, precision].append(first_answer(arguments.run, engine, precision, picture))
                served[engine, precision].append(ready(arguments.run, engine, precision))
    for engine, precision in engines:
        shown = [
            f"{min(wall for wall, _ in found):.1f} s ({min(used for _, used in found):.1f} s of processor)"
            for found in (answers[engine, precision], served[engine, precision])
        ]
        print(f"{engine:9} {precision:5} start to first answer {shown[0]}, deeper serve to ready {shown[1]}")


if __name__ == "__main__":
    main()
