"""`import deeper` has libgomp's threads sleep soon, and leaves what the user chose."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("1000", "None")),
        ({"GOMP_SPINCOUNT": "7"}, ("7", "None")),
        ({"OMP_WAIT_POLICY": "active"}, ("None", "active")),
    ],
)
def test_waiting_threads_sleep_unless_told_otherwise(given: dict[str, str], expected: tuple[str, str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    code = "import os, deeper; print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"
    ran = subprocess.run([sys.executable, "-c", code], env={**environment, **given}, capture_output=True, text=True)
    assert tuple(ran.stdout.split()) == expected
