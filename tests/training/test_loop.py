"""The loop at its ends: stopped early, resumed, and weights that stop being numbers."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deeper import checkpoint, draws
from deeper.distortions.apply import Distorter
from deeper.errors import DivergedError
from deeper.models.output import Output
from deeper.runs import Run, resume, train
from deeper.training.events import CheckpointDue, EpochDone, Event, Finished
from deeper.training.loop import train as loop
from deeper.training.optimizers import Sgd
from deeper.training.options import Options
from deeper.training.schedules import Constant
from deeper.training.state import State
from deeper.training.stepping import Feed, Stepper

OPTIONS = Options(batch=4, epochs=10, optimizer=Sgd(rate=0.01), schedule=Constant())


class Grey:
    """Eight pictures of one grey in two classes: nothing to learn."""

    kind = "8 pictures"
    ids = tuple(f"picture {number}" for number in range(8))
    keys = draws.keys(ids)
    labels = np.arange(8) % 2

    def __len__(self) -> int:
        return 8

    def take(self, positions):
        return np.full((len(positions), 4, 4, 1), 128, np.uint8)


class Linear(nn.Module):
    def __init__(self, bias: float = 0.0) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 2)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.bias.copy_(torch.tensor([bias, -bias]))

    def forward(self, images: Tensor) -> Output:
        features = images.flatten(1)
        return Output(self.layer(features), (), features)


class Half:
    """An evaluation that never gets better."""

    accuracy = 0.5


FEED = Feed(
    pictures=Grey(),
    distorter=Distorter((), seed=0, size=(4, 4)),
    normalise=lambda images: images,
    sample=torch.zeros(1, 1, 4, 4),
    classes=2,
    precision="fp32",
)


def events(options: Options, state: State, saving: float = 0.0) -> list[Event]:
    """All of a training. `saving`: seconds that a checkpoint takes."""
    found = []
    for event in loop(state, FEED, evaluate=lambda model, size: Half(), pictures=Grey().take):
        if isinstance(event, CheckpointDue):
            time.sleep(saving)
            saved.append((state.facts(), {name: tensor.clone() for name, tensor in state.tensors().items()}))
        found.append(event)
    return found


saved: list[tuple[dict, dict[str, Tensor]]] = []


@pytest.fixture(autouse=True)
def nothing_saved() -> None:
    saved.clear()


def test_a_run_that_stopped_early_stays_stopped_early_when_it_is_resumed() -> None:
    options = replace(OPTIONS, early_stopping=2)
    *_, end = events(options, State(Linear(), options, steps=20, device="cpu"))
    assert isinstance(end, Finished) and (end.reason, end.step) == ("early", 6)
    again = State(Linear(), options, steps=20, device="cpu")
    again.load(*saved[-1])
    *rest, end = events(options, again)
    assert isinstance(end, Finished) and (end.reason, end.step) == ("early", 6)
    assert not any(isinstance(event, EpochDone) for event in rest)


def test_a_killed_training_loses_minutes_however_long_an_epoch_is(monkeypatch) -> None:
    options = replace(OPTIONS, checkpoint_every=100.0, validate_every=100.0)
    state = State(Linear(), options, steps=8, device="cpu")
    assert [event.step for event in events(options, state) if isinstance(event, CheckpointDue)] == [8]
    # Before a validation sooner, here before the last one: what it takes would be lost too.
    monkeypatch.setattr("deeper.training.loop.LOST_BEFORE_VALIDATING", 0.0)
    state = State(Linear(), options, steps=8, device="cpu")
    assert [event.step for event in events(options, state) if isinstance(event, CheckpointDue)] == [7, 8]
    monkeypatch.setattr("deeper.training.loop.LOST_AT_MOST", 0.0)
    state = State(Linear(), options, steps=8, device="cpu")
    assert [event.step for event in events(options, state) if isinstance(event, CheckpointDue)] == list(range(1, 9))


def test_large_checkpoints_wait_until_they_are_a_small_share_of_the_time(monkeypatch) -> None:
    options = replace(OPTIONS, checkpoint_every=0.1, validate_every=100.0)

    def saved_at(took: float) -> list[int]:
        seen = events(options, State(Linear(), options, steps=8, device="cpu"), saving=took)
        return [event.step for event in seen if isinstance(event, CheckpointDue)]

    monkeypatch.setattr("deeper.training.loop.QUICK", math.inf)
    assert saved_at(0.0) == list(range(1, 9))
    monkeypatch.setattr("deeper.training.loop.QUICK", 0.1)
    assert saved_at(0.2) == [1, 8]  # eight steps take far less than fifty times as long


def test_a_run_whose_patience_ends_with_its_last_step_is_done() -> None:
    options = replace(OPTIONS, early_stopping=2)
    state = State(Linear(), options, steps=6, device="cpu")
    *_, end = events(options, state)
    again = State(Linear(), options, steps=6, device="cpu")
    again.load(*saved[-1])
    *_, resumed = events(options, again)
    assert end.reason == resumed.reason == "done"


@pytest.mark.parametrize(("every", "judged"), [(0.5, 9.0), (9.0, 0.5)])
def test_weights_that_are_no_numbers_are_neither_judged_nor_saved(every: float, judged: float) -> None:
    """The loss of the step was finite; what it made of the weights is not."""
    options = replace(OPTIONS, optimizer=Sgd(rate=1e40), checkpoint_every=every, validate_every=judged)
    state = State(Linear(bias=30.0), options, steps=20, device="cpu")
    seen: list[Event] = []
    with pytest.raises(DivergedError, match="weights are no longer finite; lower the rate"):
        seen += events(options, state)
    assert saved == []


def test_a_checkpoint_that_is_not_finite_is_passed_over(small_dataset, tmp_path, capsys) -> None:
    options = {"batch": 50, "precision": "fp32", "checkpoint_every": 0.5}
    out = tmp_path / "run"
    train(small_dataset, epochs=1, out=out, quiet=True, options=options)
    before = (out / "bundle" / "weights.safetensors").read_bytes()
    facts, tensors = checkpoint.read(out / "checkpoints", 12)
    tensors["model/logits.weight"][0, 0] = float("inf")
    checkpoint.save(out / "checkpoints", {name: facts[name] for name in facts if "tensors" not in name}, tensors)
    assert resume(out).step == 12
    assert "checkpoint of step 12 are not finite; taking the one before" in capsys.readouterr().err
    assert (out / "bundle" / "weights.safetensors").read_bytes() == before
    assert Run(out).load("last").step == 12


@pytest.mark.parametrize(("most", "moved"), [(1.0, 1.0), (None, 10.0), (20.0, 10.0)])
def test_a_long_gradient_is_cut_to_the_norm_that_is_asked_for(most: float | None, moved: float) -> None:
    options = replace(OPTIONS, optimizer=Sgd(rate=0.5, momentum=0.0, weight_decay=0.0), clip_norm=most)
    model = Linear()
    state = State(model, options, steps=5, device="cpu")
    stepper = Stepper(state, FEED)
    before = [weight.detach().clone() for weight in model.parameters()]
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    model.layer.weight.grad[0, :4] = 5.0  # of norm 10
    stepper.move()
    change = torch.cat([(weight.detach() - old).flatten() for weight, old in zip(model.parameters(), before)])
    assert float(change.norm()) == pytest.approx(0.5 * moved, rel=1e-5)
