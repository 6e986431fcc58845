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

from deeper.errors import WeightsError
from deeper.models import Architecture, create
from deeper.models.blocks import AveragePool, Convolution, MaxPool, Style
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
    with pytest.raises(WeightsError, match="no place for stranger"):
        from_keras_arrays(model, name, {**layers, "stranger": {"kernel": torch.zeros(1)}})


SAME = """
import sys, numpy as np, tensorflow as tf
images, kernel = np.load(sys.argv[1]), np.load(sys.argv[2])
stride = int(sys.argv[3])
convolved = tf.nn.conv2d(images, kernel, stride, "SAME").numpy()
pooled = tf.nn.max_pool2d(images, kernel.shape[0], stride, "SAME").numpy()
averaged = tf.nn.avg_pool2d(images, 3, 1, "SAME").numpy()
np.savez(sys.argv[4], convolved=convolved, pooled=pooled, averaged=averaged)
"""


@pytest.mark.parametrize(("size", "kernel"), [(14, 7), (15, 7), (14, 3), (15, 3), (7, 2)])
def test_tensorflow_same_padding(size: int, kernel: int, tmp_path: Path) -> None:
    """Our SAME at stride 2 is TensorFlow's, for convolutions, max-pools and average pools."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, size, size + 3, generator=generator) - 3
    style = Style(batch_norm=False)
    layer = Convolution(3, 4, kernel, style=style, stride=2, activation=False)
    np.save(tmp_path / "images.npy", images.permute(0, 2, 3, 1).numpy())
    np.save(tmp_path / "kernel.npy", layer.convolution.weight.detach().permute(2, 3, 1, 0).numpy())
    paths = [str(tmp_path / name) for name in ("images.npy", "kernel.npy")]
    command = [PYTHON, "-c", SAME, *paths, "2", str(tmp_path / "out.npz")]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, capture_output=True, env=environment, check=True)
    pool = MaxPool(kernel, 2, padding="same", tensorflow_padding=True)
    with np.load(tmp_path / "out.npz") as wanted, torch.no_grad():
        for name, ours in (
            ("convolved", layer(images)),
            ("pooled", pool(images)),
            ("averaged", AveragePool(3)(images)),
        ):
            theirs = torch.from_numpy(wanted[name]).permute(0, 3, 1, 2)
            assert ours.shape == theirs.shape
            assert torch.allclose(ours, theirs, atol=1e-5), name
