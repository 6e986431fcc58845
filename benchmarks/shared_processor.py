"""NielsenNet's training step beside other busy processes, with and without threads that spin while they wait.

    python benchmarks/shared_processor.py [--seconds 8] [--neighbours 1]

Each figure is from a process of its own, on all processors; "busy": `--neighbours` processes count in a loop meanwhile.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

# deeper first: libgomp reads how long to spin when torch is loaded.
MEASURED = """
import deeper, sys, time, torch
sys.path.insert(0, sys.argv[1])
from step_nielsen import ours
step, done = ours(256), 0
for _ in range(5):
    step()
began = time.perf_counter()
while time.perf_counter() - began < float(sys.argv[2]):
    step()
    done += 1
print(256 * done / (time.perf_counter() - began))
"""
BUSY = "while True: pass"
SETTINGS = {"sleeping soon (as deeper sets it)": {}, "spinning (libgomp's own way)": {"OMP_WAIT_POLICY": "active"}}


def rate(setting: dict[str, str], seconds: float) -> float:
    command = [sys.executable, "-c", MEASURED, str(Path(__file__).parent), str(seconds)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    return float(subprocess.run(command, env={**environment, **setting}, check=True, capture_output=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--neighbours", type=int, default=1)
    arguments = parser.parse_args()
    for busy in (False, True):
        neighbours = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(arguments.neighbours * busy)]
        try:
            for name, setting in SETTINGS.items():
                print(
                    f"{'busy' if busy else 'alone'}, {name}: {rate(setting, arguments.seconds):,.0f} img/s", flush=True
                )
        finally:
            for neighbour in neighbours:
                neighbour.kill()


if __name__ == "__main__":
    main()
