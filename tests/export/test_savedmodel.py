"""Real TensorFlow loads the SavedModel and answers as the bundle does."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from deeper import bundle
from deeper.errors import MissingExtraError
from deeper.export import export, measure
from deeper.images import Preprocess
from deeper.models import MODELS, Architecture, create

PYTHON = Path(__file__).parents[2] / ".venv-tensorflow" / "bin" / "python"


def test_without_tensorflow_it_says_what_to_install(exported_run, tmp_path) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install .*\[tensorflow,onnx"):
        export(exported_run, ["savedmodel"], out=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.tensorflow
def test_a_run_becomes_a_saved_model(exported_run, tmp_path) -> None:
    (one,) = export(exported_run, ["savedmodel"], out=tmp_path, tensorflow_python=str(PYTHON))
    assert one.changed == 0 and one.compared == 150 and one.difference <= 1e-4
    ran = subprocess.run([str(PYTHON), str(tmp_path / "savedmodel" / "check.py")], capture_output=True, text=True)
    # check.py needs safetensors, which TensorFlow's own environment has not: it is told so by Python, or passes.
    assert ran.returncode == 0 or "safetensors" in ran.stderr
    code = (
        "import sys, json, tensorflow\n"
        "loaded = tensorflow.saved_model.load(sys.argv[1])\n"
        "print(tensorflow.io.read_file(loaded.deeper.asset_path).numpy().decode())\n"
    )
    command = [str(PYTHON), "-c", code, str(tmp_path / "savedmodel" / "saved_model")]
    described = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    info = bundle.read_info(exported_run / "bundle")
    assert described["classes"] == list(info.classes) and described["preprocess"]["height"] == 28


@pytest.mark.tensorflow
def test_the_report_runs_it(exported_run, tmp_path, monkeypatch) -> None:
    run = shutil.copytree(exported_run, tmp_path / "run")
    # TensorFlow's interpreter has no deeper of its own, and none lies in this folder.
    monkeypatch.chdir(tmp_path)
    export(run, ["savedmodel"], tensorflow_python=str(PYTHON))
    said: list[str] = []
    rows = measure(run, limit=50, tensorflow_python=str(PYTHON), notice=said.append)
    (row,) = [one for one in rows if one.engine == "savedmodel"]
    assert row.changed == 0 and row.largest_difference <= 1e-4 and row.latency > 0 and row.throughput > 0
    # Without TensorFlow it is left out, and that is said.
    rows = measure(run, limit=50, notice=said.append)
    assert "savedmodel" not in [one.engine for one in rows] and "has no TensorFlow" in said[-1]


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("model", "preset"),
    [
        ("inception_v1", "torchvision"),
        ("inception_v2", "paper"),
        ("inception_v3", "torchvision"),
        ("inception_v3", "slim"),
        ("inception_v4", "slim"),
        ("inception_resnet_v2", "slim"),
    ],
)
def test_every_inception_and_padding(model, preset, tmp_path) -> None:
    torch.manual_seed(0)
    arguments = MODELS[model].presets[preset]
    architecture = Architecture(model=model, classes=5, channels=3, height=97, width=107, arguments=arguments)
    network = create(architecture)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    bundle.save(
        tmp_path / "bundle",
        weights=network.state_dict(),
        architecture=architecture,
        preprocess=Preprocess(height=97, width=107, channels=3, mean=(0.5,) * 3, deviation=(0.25,) * 3),
        classes=list("abcde"),
        pictures=np.random.default_rng(0).integers(0, 256, (3, 97, 107, 3), dtype=np.uint8),
    )
    (one,) = export(tmp_path / "bundle", ["savedmodel"], tensorflow_python=str(PYTHON))
    assert one.changed == 0 and one.difference <= 1e-4
