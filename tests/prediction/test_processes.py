"""What a `Classifier` is to its process: what it imports, how much memory it takes, and what a fork makes of it."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deeper.prediction import Classifier
from tests.patience import patient
from tests.sample_network import digits, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("run") / "bundle")


@pytest.fixture(scope="module")
def images():
    return digits("test", 60)[0]


def test_a_forked_process_answers(folder):
    """Torch's pool of threads does not survive a fork: the child waited for it for ever."""
    code = f"""
import os, signal, sys, numpy as np, torch
from deeper import Classifier
torch.set_num_threads(2)
mine = Classifier({str(folder)!r}, engine="torch")
blank = np.zeros((28, 28), np.uint8)
mine(blank)
child = os.fork()
if not child:
    signal.alarm({patient(60)})
    mine(blank)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, timeout=patient(200)).returncode == 0


def test_predict_many_streams_in_bounded_memory(folder, images):
    classifier = Classifier(folder, device="cpu", batch=8)
    taken = 0

    def endless():
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield images[number % 60]

    answers = list(itertools.islice(classifier.predict_many(endless()), 20))
    assert [one.label for one in answers] == [one.label for one in classifier(images[:20])]
    assert taken <= 24 + 8 + 1  # one batch answered from, and no more than one decoded ahead
