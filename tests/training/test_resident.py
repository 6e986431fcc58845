"""What a GPU would do differently, as far as a processor shows it: pictures gathered on the device, a compiled step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeper.batches import Joined, Selected, Streaming, open_pictures
from deeper.errors import UsageError
from deeper.images import Preprocess
from deeper.runs import train, work
from deeper.training import resident as room_of
from deeper.training.resident import Resident, resident
from deeper.training.stepping import compiled

OPTIONS = {"batch": 50, "precision": "fp32"}
WEIGHTS = "bundle/weights.safetensors"


@pytest.fixture
def pictures(small_dataset):
    return open_pictures(small_dataset.split("train"), Preprocess(height=28, width=28, channels=1), workers=1)


def test_pictures_on_the_device_are_the_same_by_position(pictures) -> None:
    lying = Resident(pictures, "cpu")
    positions = np.array([5, 3, 599, 3])
    assert np.array_equal(lying.tensor(positions).numpy(), pictures.take(positions))
    assert len(lying) == 600 and lying.take(positions).shape == (4, 0, 0, 0)


def test_training_from_them_changes_nothing(small_dataset, tmp_path, monkeypatch) -> None:
    train(small_dataset, epochs=1, out=tmp_path / "host", quiet=True, options=OPTIONS)
    made = []

    def forced(pictures, device):
        made.append(Resident(pictures, device))
        return made[-1]

    monkeypatch.setattr(work, "resident", forced)
    train(small_dataset, epochs=1, out=tmp_path / "device", quiet=True, options=OPTIONS)
    assert made and (tmp_path / "host" / WEIGHTS).read_bytes() == (tmp_path / "device" / WEIGHTS).read_bytes()


def test_only_what_is_held_and_fits_goes_to_the_device(small_dataset, pictures, monkeypatch) -> None:
    assert resident(pictures, "cpu") is None
    # The meta device stands for a GPU: shapes without memory.
    monkeypatch.setattr(room_of, "room", lambda device: 4 * pictures.images.nbytes)
    found = resident(Joined([Selected(pictures, np.arange(10)), pictures]), "meta")
    assert found is None, "610 pictures are more than a quarter"
    found = resident(pictures, "meta")
    assert found is not None and found.images.shape == (600, 28, 28, 1)
    streamed = Streaming(small_dataset.split("train"), Preprocess(height=28, width=28, channels=1), workers=1)
    assert resident(streamed, "meta") is None


def test_a_compiled_step_trains_the_plain_model(small_dataset, tmp_path, monkeypatch) -> None:
    asked = []

    def compiled(model, **how):
        asked.append(how)
        return lambda images: model(images)

    monkeypatch.setattr(torch, "compile", compiled)
    train(small_dataset, epochs=1, out=tmp_path / "plain", quiet=True, options=OPTIONS)
    assert not asked
    train(small_dataset, epochs=1, out=tmp_path / "compiled", quiet=True, options={**OPTIONS, "compile": True})
    assert asked and asked[0] == {"dynamic": False}
    assert (tmp_path / "plain" / WEIGHTS).read_bytes() == (tmp_path / "compiled" / WEIGHTS).read_bytes()


def test_on_a_gpu_compiled_steps_are_replayed_as_graphs(monkeypatch) -> None:
    asked = {}
    monkeypatch.setattr(torch, "compile", lambda model, **how: asked.update(how))
    compiled(torch.nn.Identity(), "cuda:1")
    assert asked == {"dynamic": False, "mode": "reduce-overhead"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_one_line(small_dataset, tmp_path) -> None:
    with pytest.raises(UsageError, match="torch finds no GPU here; use cpu"):
        train(small_dataset, out=tmp_path / "run", quiet=True, device="cuda")
    assert not (tmp_path / "run").exists()
