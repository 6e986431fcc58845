"""What real Keras and TensorFlow write, through the public path: the same logits."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import deeper
from tests.models.parity.references import assert_parity, pictures
from tests.models.weights.slim_v3 import NAMES

PYTHON = Path(os.environ.get("DEEPER_TENSORFLOW_PYTHON", ".venv-tensorflow/bin/python"))

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(not PYTHON.exists(), reason=f"no {PYTHON}: make test-tensorflow installs it"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tensorflow")
    (folder / "names.json").write_text(json.dumps(NAMES))
    np.save(folder / "pictures.npy", pictures(75).numpy())
    script = Path(__file__).with_name("tensorflow_writer.py")
    command = [PYTHON, script, folder / "names.json", folder / "pictures.npy", folder]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return folder


NESTED = ["nested.h5", "nested.weights.h5", "nested.keras"]


@pytest.mark.parametrize("name", ["legacy.h5", "three.weights.h5", "whole.keras", *NESTED, "one.ckpt", "two.ckpt"])
def test_logits(folder: Path, name: str) -> None:
    loaded = deeper.load_weights(folder / name, size=75)
    assert (loaded.weights.model, loaded.weights.classes) == ("inception_v3", 30)
    assert loaded.weights.source == ("slim" if "ckpt" in name else "keras")
    assert not (loaded.fitted.replaced or loaded.fitted.adapted or loaded.fitted.begun or loaded.fitted.dropped)
    with torch.no_grad():
        assert_parity(loaded.model(pictures(75)).logits, torch.from_numpy(np.load(folder / "logits.npy")))
