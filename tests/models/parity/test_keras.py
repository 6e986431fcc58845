"""Keras' applications with random weights, loaded into ours under the preset `keras`.

TensorFlow lives in an environment of its own (`make test-tensorflow`); a child process runs it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from deeper.errors import UsageError
from deeper.models import Architecture, create
from deeper.models.weights import from_keras_arrays
from tests.models.parity.references import assert_parity, pictures

CLASSES = 30
PYTHON = Path(os.environ.get("DEEPER_TENSORFLOW_PYTHON", ".venv-tensorflow/bin/python"))

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(not PYTHON.exists(), reason=f"no {PYTHON}: make test-tensorflow installs it"),
]


@pytest.mark.parametrize(("name", "size"), [("inception_v3", 299), ("inception_v3", 75), ("inception_resnet_v2", 299)])
def test_logits(name: str, size: int, tmp_path: Path) -> None:
    images = pictures(size)
    np.save(tmp_path / "pictures.npy", images.numpy())
    script = Path(__file__).with_name("keras_reference.py")
    command = [PYTHON, script, name, str(size), str(CLASSES), tmp_path / "pictures.npy", tmp_path / "out.npz"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    layers: dict[str, dict[str, torch.Tensor]] = {}
    with np.load(tmp_path / "out.npz") as arrays:
        logits, parameters = torch.from_numpy(arrays["logits"]), int(arrays["parameters"])
        for key in arrays.files:
            layer, slash, variable = key.partition("/")
            if slash:
                layers.setdefault(layer, {})[variable] = torch.from_numpy(arrays[key])
    model = create(
        Architecture(model=name, classes=CLASSES, channels=3, height=size, width=size, arguments={"preset": "keras"})
    ).eval()
    placed = from_keras_arrays(model, name, layers)
    assert sum(tensor.numel() for tensor in placed.values()) == parameters
    missing = model.load_state_dict(placed, strict=False)
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    with torch.no_grad():
        assert_parity(model(images).logits, logits)
    with pytest.raises(UsageError, match="no place for stranger"):
        from_keras_arrays(model, name, {**layers, "stranger": {"kernel": torch.zeros(1)}})
