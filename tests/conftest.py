"""What all tests share: where the data is, how the command line is run, a small real dataset."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Several workers share two cores: one thread each. Before torch is imported anywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.patience import patient, slowness

# Where the tests run in the background of a shell, interrupts are ignored, and would be in every process started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Busy machines miss deadlines, and CI must not fail by a throw of the dice; `make long` throws them, many times.
settings.register_profile("ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci")


# The rooms whose tests take longest go last, so that a machine too slow for all of them has run the rest. The longest
# tests of all, the guide's and the documentation's, not at the very end, where one worker would wait for the other.
_LAST = ("guide", "docs", "review", "serving", "inspection", "audit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rooms = {item: Path(item.path).relative_to(Path(__file__).parent).parts[0] for item in items}
    items.sort(key=lambda item: _LAST.index(rooms[item]) + 1 if rooms[item] in _LAST else 0)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what can no longer end in time, where DEEPER_TEST_UNTIL, in seconds since 1970, says when that is.

    CI has a limit, and a shared machine may run at a tenth of its speed. Without the variable everything runs.
    """
    if not (until := os.environ.get("DEEPER_TEST_UNTIL")):
        return
    left = float(until) - time.time()
    marker = item.get_closest_marker("minutes")
    needed = 60 * marker.args[0] * slowness() if marker else 0
    if left < needed or left <= 0:
        pytest.skip(f"no time: {needed / 60:.0f} minutes wanted, {max(left, 0) / 60:.0f} left before CI's limit")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with MNIST and flowers12 that DEEPER_DATA names; the only reason to skip is that there is none."""
    folder = Path(os.environ.get("DEEPER_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "mnist").is_dir():
        pytest.skip(f"no data under {folder}: set DEEPER_DATA")
    return folder


RunDeeper = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_deeper(tmp_path: Path) -> RunDeeper:
    """Runs `python -m deeper …` as a process in `tmp_path`; gives its return code, output and errors."""

    def run(*words: object, timeout: float = 120, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "deeper", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=cwd or tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            timeout=patient(timeout),
        )

    return run


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory):
    """600 training, 150 validation and 150 test digits of the embedded set, as a dataset."""
    from deeper.records import BuildOptions, Dataset, build, open_source

    digits = open_source("digits")
    arrays = {}
    for split, count in (("train", 600), ("validation", 150), ("test", 150)):
        items = [item for item in digits.items if item.split == split]
        items = items[:count]  # they come class by class in turn
        arrays[split] = (np.stack([item.array for item in items]), [item.label for item in items])
    target = tmp_path_factory.mktemp("datasets") / "small"
    build(open_source(arrays), target, options=BuildOptions(workers=1))
    return Dataset(target)
