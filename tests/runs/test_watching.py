"""A training is the same to the bit whoever watches it, also where the network computes by compiled kernels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deeper import draws
from deeper.distortions.apply import Distorter
from deeper.models import Architecture, create, kernels
from deeper.models.kernels import library
from deeper.monitor import MetricsFile, TensorBoard
from deeper.training.events import CheckpointDue, DetailDone
from deeper.training.loop import train
from deeper.training.optimizers import Sgd
from deeper.training.options import Options
from deeper.training.state import State
from deeper.training.stepping import Feed

STEPS = 6
OPTIONS = Options(
    batch=4, epochs=3, optimizer=Sgd(rate=0.01), detail_every=2, report_every=1, checkpoint_every=1.5, seed=3
)


class Noise:
    """Eight noisy colour pictures of two classes."""

    kind = "8 pictures"
    ids = tuple(f"picture {number}" for number in range(8))
    keys = draws.keys(ids)
    labels = np.arange(8) % 2
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)

    def __len__(self) -> int:
        return 8

    def take(self, positions):
        return self.images[positions]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels switched on for one test."""
    monkeypatch.setattr(library, "_active", library._active)
    assert kernels.prepare() is None


def inception() -> nn.Module:
    torch.manual_seed(0)
    model = create(Architecture(model="inception_v1", classes=2, channels=3, height=64, width=64))
    return model.to(memory_format=torch.channels_last)


def feed() -> Feed:
    return Feed(
        pictures=Noise(),
        distorter=Distorter((), seed=3, size=(64, 64)),
        normalise=lambda images: images - 0.5,
        sample=torch.zeros(1, 3, 64, 64),
        classes=2,
        precision="fp32",
    )


def run(folder: Path | None, saved: tuple[dict, dict] | None = None) -> tuple[dict[str, Tensor], tuple[dict, dict]]:
    """All tensors at the end, and the state of the checkpoint at step 3. `folder`: where monitors write; None: no
    monitor. `saved`: a state to go on from."""
    state = State(inception(), OPTIONS, steps=STEPS, device="cpu")
    if saved is not None:
        state.load(*saved)
    monitors = []
    if folder is not None:
        monitors = [
            TensorBoard(folder / "tensorboard", ("a", "b"), first_step=state.step, notice=pytest.fail),
            MetricsFile(folder / "metrics.jsonl", first_step=state.step),
        ]
    kept = None
    for event in train(state, feed(), evaluate=None, pictures=lambda positions: Noise.images[positions]):
        for monitor in monitors:
            monitor.handle(event)
        if isinstance(event, CheckpointDue) and event.step == 3:
            kept = state.facts(), {name: tensor.clone() for name, tensor in state.tensors().items()}
    for monitor in monitors:
        monitor.close()
    return {name: tensor.clone() for name, tensor in state.tensors().items()}, kept


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.usefixtures("compiled")
def test_an_inception_trains_alike_watched_or_not_and_resumed(tmp_path: Path) -> None:
    alone, saved = run(None)
    watched, _ = run(tmp_path / "whole")
    assert equal(alone, watched)
    resumed, _ = run(tmp_path / "resumed", saved)
    assert equal(alone, resumed)


@pytest.mark.usefixtures("compiled")
def test_a_step_run_again_leaves_no_trace(tmp_path: Path) -> None:
    state = State(inception(), OPTIONS, steps=STEPS, device="cpu")
    looked = 0
    for event in train(state, feed(), evaluate=None, pictures=lambda positions: Noise.images[positions]):
        if isinstance(event, DetailDone):
            before = {name: tensor.clone() for name, tensor in state.tensors().items()}
            gradients = [weight.grad.clone() for weight in event.model.parameters()]
            drawn = torch.get_rng_state()
            event.again()
            assert equal(before, state.tensors()) and torch.equal(drawn, torch.get_rng_state())
            assert all(torch.equal(*pair) for pair in zip(gradients, (one.grad for one in event.model.parameters())))
            looked += 1
    assert looked == 3


def test_the_share_of_zeros_stands_in_the_metrics(tmp_path: Path) -> None:
    run(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    details = [line for line in lines if line["event"] == "detail"]
    assert [line["step"] for line in details] == [1, 3, 5]
    assert all(len(line["sparsity"]) > 20 for line in details)
    assert all(0 <= share <= 1 for line in details for share in line["sparsity"].values())
