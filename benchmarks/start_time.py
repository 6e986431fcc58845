"""How quickly the command line answers, and what training MNIST takes in memory.

    python benchmarks/start_time.py

Medians of seven starts each; one training run of two epochs of the fast recipe for its peak memory.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = {
    "import deeper": [sys.executable, "-c", "import deeper"],
    "deeper --help": [sys.executable, "-m", "deeper", "--help"],
    "deeper train --help": [sys.executable, "-m", "deeper", "train", "--help"],
    "python (empty)": [sys.executable, "-c", ""],
}


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    for name, command in COMMANDS.items():
        print(f"{name}: {statistics.median(seconds(command) for _ in range(7)):.3f} s")
    with tempfile.TemporaryDirectory() as temporary:
        dataset = Path(temporary) / "mnist"
        deeper = [sys.executable, "-m", "deeper"]
        subprocess.run([*deeper, "build", "mnist", "--out", dataset], check=True, stdout=subprocess.DEVNULL)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        subprocess.run(
            [*deeper, "train", dataset, "--epochs", "2", "--out", Path(temporary) / "run"],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(
            f"peak memory of building MNIST {before / 1e6:.2f} GB, of training NielsenNet on it {peak / 1e6:.2f} GB or less"
        )


if __name__ == "__main__":
    main()
