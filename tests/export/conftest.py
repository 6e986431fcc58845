"""A small trained run with every export that CI can make."""

from __future__ import annotations

from pathlib import Path

import pytest

from deeper.export import export
from deeper.runs import train

# In fp32, so that it is the same network on every processor.
OPTIONS = {"batch": 50, "precision": "fp32"}
# SavedModel needs TensorFlow: tests/export/test_savedmodel.py.
FORMATS = ("onnx", "openvino", "openvino-int8", "torch-export")


@pytest.fixture(scope="session")
def exported_run(small_dataset, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "run"
    train(small_dataset, recipe="fast", out=path, epochs=12, quiet=True, options=OPTIONS)
    export(path, FORMATS)
    return path
