"""Networks of one's own that reach a layer under two names or hold a mask: saved, gone on with, loaded."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from deeper import bundle, checkpoint
from deeper.runs import evaluate_run, resume, train
from deeper.training.events import StepDone

NETWORK = """
import torch
from torch import nn

class Aliased(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 5, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, classes)
        self.net = nn.Sequential(self.features, self.head)
        self.again = nn.Linear(8, classes)
        self.again.weight = self.head.weight
        self.register_buffer("mask", torch.stack([torch.zeros(classes), torch.full((classes,), -torch.inf)]))

    def forward(self, images):
        return self.net(images) + self.mask[0]
"""
MODEL = "aliased_net:Aliased"
OPTIONS = {
    "batch": 50,
    "precision": "fp32",
    "report_every": 1,
    "averaging": {"decay": 0.9, "every": 2},
    "recalibrate": "always",
}


@pytest.fixture
def places(tmp_path, monkeypatch):
    (tmp_path / "aliased_net.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "whole", tmp_path / "interrupted"


def test_it_is_saved_gone_on_with_and_loaded(small_dataset, places):
    whole, out = places
    given = {"model": MODEL, "epochs": 2, "quiet": True, "options": OPTIONS}

    def interrupt(event):
        if isinstance(event, StepDone) and event.step == 7:
            os.kill(os.getpid(), signal.SIGINT)

    finished = train(small_dataset, out=whole, **given)
    assert train(small_dataset, out=out, handlers=[interrupt], **given).reason == "interrupted"
    assert resume(out, quiet=True).reason == "done"
    for name in ("bundle/weights.safetensors", "checkpoints/step-00000024/tensors.safetensors"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name

    stored = load_file(out / "bundle" / "weights.safetensors")
    loaded = bundle.load(out / "bundle", model=MODEL).model.state_dict()
    assert stored.keys() == loaded.keys()
    for name, tensor in stored.items():
        assert torch.equal(tensor, loaded[name]), name
    pairs = {name: name.replace("features.", "net.0.") for name in stored if "features." in name and "net" not in name}
    assert len(pairs) == 7 and all(torch.equal(stored[one], stored[other]) for one, other in pairs.items())
    (mask,) = (tensor for name, tensor in stored.items() if name.endswith("mask"))
    averages = checkpoint.weights(out / "checkpoints", 24)
    assert mask[1].eq(-torch.inf).all() and not any(tensor.isnan().any() for tensor in averages.values())
    # Statistics that were measured anew are kept under both names: else the bundle answers by the old ones.
    assert finished.batch_norm["recalibration_pictures"] > 0
    assert evaluate_run(out, split="validation", model=MODEL).accuracy == finished.validation.accuracy
