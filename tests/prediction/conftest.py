"""A small network of its own bundle, and digits that it has not seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeper.prediction import Classifier
from tests.sample_network import digits, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("run") / "bundle")


@pytest.fixture(scope="module")
def classifier(folder) -> Classifier:
    return Classifier(folder, device="cpu")


@pytest.fixture(scope="module")
def images():
    return digits("test", 60)[0]
