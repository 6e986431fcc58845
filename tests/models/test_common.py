"""One suite over every network of the catalog."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from deeper.errors import UsageError
from deeper.models import MODELS, Architecture, Output, create, set_noise

CLASSES = 7


def architecture(name: str, *, size: int | None = None, channels: int = 3) -> Architecture:
    side = size or MODELS[name].smallest
    return Architecture(model=name, classes=CLASSES, channels=channels, height=side, width=side)


def build(name: str, *, size: int | None = None, channels: int = 3, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return create(architecture(name, size=size, channels=channels))


def pictures(model: str, count: int = 4, *, channels: int = 3, size: int | None = None) -> torch.Tensor:
    side = size or MODELS[model].smallest
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def run(model: nn.Module, images: torch.Tensor) -> Output:
    with torch.no_grad():
        output = model.eval()(images)
    assert isinstance(output, Output)
    return output


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_shapes_in_training_and_evaluation(name: str, channels: int) -> None:
    model = build(name, channels=channels)
    images = pictures(name, 2, channels=channels)
    evaluated = run(model, images)
    assert evaluated.logits.shape == (2, CLASSES)
    assert evaluated.aux == ()
    assert evaluated.features.ndim == 2 and evaluated.features.shape[0] == 2
    trained = model.train()(images)
    assert isinstance(trained, Output)
    assert trained.logits.shape == (2, CLASSES)
    assert all(logits.shape == (2, CLASSES) for logits in trained.aux)
    assert trained.features.shape == evaluated.features.shape


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_linear_in_features(name: str) -> None:
    """What attribution and embeddings rely on: `features` is what the last layer sees."""
    model = build(name)
    output = run(model, pictures(name, CLASSES + 3))
    heads = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer.out_features == CLASSES]
    assert any(torch.allclose(head(output.features), output.logits, atol=1e-4) for head in heads)


@pytest.mark.parametrize("name", MODELS)
def test_save_and_load(name: str, tmp_path: Path) -> None:
    model, other = build(name, seed=0), build(name, seed=1)
    images = pictures(name)
    before = run(model, images).logits
    assert not torch.equal(run(other, images).logits, before)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(run(other, images).logits, before)


@pytest.mark.parametrize("name", MODELS)
def test_optimisation_lowers_the_loss(name: str) -> None:
    """A few plain gradient steps on one batch: every trained parameter gets a gradient and the loss falls."""
    model = build(name).train()
    images, labels = pictures(name, 8), torch.arange(8) % CLASSES
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002)

    def loss() -> torch.Tensor:
        set_noise(model, 0, 0)  # the same masks each time, so that the losses compare
        output: Output = model(images)
        total = F.cross_entropy(output.logits, labels)
        for logits in output.aux:
            total = total + 0.4 * F.cross_entropy(logits, labels)
        return total

    first = loss()
    first.backward()
    missing = [scope for scope, weight in model.named_parameters() if weight.grad is None]
    assert missing == []
    optimizer.step()
    assert loss().item() < first.item()


@pytest.mark.parametrize("name", MODELS)
def test_bf16_agrees_roughly(name: str) -> None:
    model = build(name)
    images = pictures(name)
    exact = run(model, images).logits
    with torch.autocast("cpu", torch.bfloat16):
        rough = run(model, images).logits.float()
    assert not torch.equal(rough, exact)
    assert (rough - exact).norm() / exact.norm() < 0.05


@pytest.mark.parametrize("name", MODELS)
def test_channels_last_gives_the_same(name: str) -> None:
    model = build(name)
    images = pictures(name)
    before = run(model, images).logits
    last = run(model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)).logits
    assert torch.allclose(last, before, rtol=1e-4, atol=1e-4 * before.abs().max().item())


@pytest.mark.parametrize("name", MODELS)
def test_exports(name: str) -> None:
    """`torch.export` with a free batch size gives the model's own answers at another batch size."""
    model = build(name).eval()
    images = pictures(name, 3)
    program = torch.export.export(model, (pictures(name, 2),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    output = program.module()(images)
    assert isinstance(output, Output)
    assert torch.allclose(output.logits, run(model, images).logits, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_too_small_an_input_is_refused_with_the_size_that_works(name: str) -> None:
    smallest = MODELS[name].smallest
    with pytest.raises(UsageError, match=f"smallest input is {smallest}×{smallest}"):
        create(architecture(name, size=smallest - 1))
    run(build(name, size=smallest), pictures(name))  # and that size does work


@pytest.mark.parametrize("name", MODELS)
def test_wrong_channel_count_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="3 × height × width, got 2 × 1 ×"):
        build(name)(pictures(name, 2, channels=1))


@pytest.mark.parametrize("name", MODELS)
def test_same_seed_same_weights_and_the_generator_alone_decides(name: str) -> None:
    one, same, other = (build(name, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)
