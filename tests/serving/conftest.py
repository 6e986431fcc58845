"""A real server process on a real run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deeper.runs import train
from tests.patience import patient
from tests.serving.browsing import CHROMIUM, FLAGS


@contextmanager
def serving(
    *words: object, log: Path | None = None, said: list[str] | None = None, **environment: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`deeper serve …` on a free port: its address and process. SIGTERM at the end. `log`: where its log goes. `said`:
    where its lines up to the address go."""
    with open(log or os.devnull, "wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "deeper", "serve", *map(str, words), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
    try:
        assert process.stdout is not None
        seen = ""
        while not (found := re.search(r"serving on (http://\S+)", seen)):
            line = process.stdout.readline()
            assert line, f"the server ended: {seen}"
            seen += line
            if said is not None:
                said.append(line)
        _wait_until_ready(found[1])
        yield found[1], process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patient(30))
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            process.stdout.close()


def _wait_until_ready(address: str) -> None:
    import time
    import urllib.request

    for _ in range(1600):
        try:
            with urllib.request.urlopen(f"{address}/readyz", timeout=patient(5)) as answer:
                if answer.status == 200:
                    return
        except OSError:  # refused, or no answer in time
            time.sleep(0.05)
    raise AssertionError("the server did not become ready")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, with a camera that is none."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


# In fp32, so that it is the same network on every processor.
OPTIONS = {"batch": 50, "precision": "fp32"}


@pytest.fixture(scope="session")
def served_run(small_dataset, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("served") / "digits"
    train(small_dataset, recipe="fast", out=path, epochs=8, quiet=True, options=OPTIONS)
    return path


@pytest.fixture(scope="session")
def address(served_run) -> Iterator[str]:
    with serving(served_run) as (found, _):
        yield found


@pytest.fixture(scope="session")
def pictures(small_dataset) -> np.ndarray:
    split = small_dataset.split("test")
    return np.stack([split.picture(position) for position in range(60)])


@pytest.fixture(scope="session")
def wanted(served_run, pictures):
    from deeper.prediction import Classifier

    return Classifier(served_run, engine="torch")(pictures)
