"""One suite over every network of the catalog."""

from __future__ import annotations

import copy
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


def build(name: str, *, channels: int = 3, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return create(architecture(name, channels=channels))


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    """Each network in turn; of module scope, so that all tests of one network run together."""
    return str(request.param)


@pytest.fixture(scope="module")
def prototype(name: str) -> nn.Module:
    return build(name)


@pytest.fixture
def model(prototype: nn.Module) -> nn.Module:
    """A network of its own for each test, for three channels and the smallest input."""
    return copy.deepcopy(prototype)


@pytest.fixture
def images(name: str) -> torch.Tensor:
    return pictures(name)


def pictures(name: str, count: int = 4, channels: int = 3) -> torch.Tensor:
    side = MODELS[name].smallest
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(1))


def run(model: nn.Module, images: torch.Tensor) -> Output:
    with torch.no_grad():
        output = model.eval()(images)
    assert isinstance(output, Output)
    return output


def assert_close(ours: torch.Tensor, wanted: torch.Tensor, tolerance: float = 1e-4) -> None:
    """The error relative to the largest value: random networks have logits of any size."""
    assert (ours - wanted).abs().max() <= tolerance * wanted.abs().max()


@pytest.mark.parametrize("channels", [1, 4])
def test_shapes_in_training_and_evaluation(name: str, channels: int) -> None:
    model = build(name, channels=channels)
    images = pictures(name, 2, channels)
    evaluated = run(model, images)
    assert evaluated.logits.shape == (2, CLASSES)
    assert evaluated.aux == ()
    assert evaluated.features.ndim == 2 and evaluated.features.shape[0] == 2
    trained = model.train()(images)
    assert isinstance(trained, Output)
    assert trained.logits.shape == (2, CLASSES)
    assert all(logits.shape == (2, CLASSES) for logits in trained.aux)
    assert trained.features.shape == evaluated.features.shape


def test_logits_are_linear_in_features(model: nn.Module, images: torch.Tensor) -> None:
    """What attribution and embeddings rely on: `features` is what the last layer sees."""
    output = run(model, images)
    head = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
    assert_close(head(output.features), output.logits)


def test_save_and_load(model: nn.Module, images: torch.Tensor, tmp_path: Path) -> None:
    before = run(model, images).logits
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.01)
    assert not torch.equal(run(model, images).logits, before)
    model.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(run(model, images).logits, before)


def test_one_optimisation_step_lowers_the_loss(name: str, model: nn.Module) -> None:
    """A short step against the gradient on one batch; every trained parameter gets a gradient."""
    model.train()
    images, labels = pictures(name, 8), torch.arange(8) % CLASSES

    def loss() -> torch.Tensor:
        set_noise(model, 0, 0)  # the same masks each time, so that the losses compare
        output: Output = model(images)
        total = F.cross_entropy(output.logits, labels)
        for logits in output.aux:
            total = total + 0.4 * F.cross_entropy(logits, labels)
        return total

    first = loss()
    first.backward()
    assert [scope for scope, weight in model.named_parameters() if weight.grad is None] == []
    norm = float(torch.nn.utils.get_total_norm([weight.grad for weight in model.parameters()]))
    start = [weight.detach().clone() for weight in model.parameters()]

    def lowered(length: float) -> bool:
        """Whether a step of that length lowers the loss by half of what the slope promises, `length * norm`."""
        with torch.no_grad():
            for weight, value in zip(model.parameters(), start, strict=True):
                weight.copy_(value - length / norm * weight.grad)
        return loss().item() < first.item() - 0.5 * length * norm

    # How far the slope holds differs: Inception v4, normalised over eight pictures of one pixel, has a slope of 80,000.
    assert any(lowered(length) for length in (1e-2, 1e-3, 1e-4, 1e-5))


def test_bf16_agrees_roughly(model: nn.Module, images: torch.Tensor) -> None:
    exact = run(model, images).logits
    with torch.autocast("cpu", torch.bfloat16):
        rough = run(model, images).logits.float()
    assert not torch.equal(rough, exact)
    assert (rough - exact).norm() / exact.norm() < 0.05


def test_channels_last_gives_the_same(model: nn.Module, images: torch.Tensor) -> None:
    before = run(model, images).logits
    last = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert_close(run(last, images.to(memory_format=torch.channels_last)).logits, before)


def test_exports(name: str, model: nn.Module) -> None:
    """`torch.export` with a free batch size gives the model's own answers at another batch size."""
    images = pictures(name, 3)
    free = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(model.eval(), (pictures(name, 2),), dynamic_shapes=free)
    output = program.module()(images)
    assert isinstance(output, Output)
    assert_close(output.logits, run(model, images).logits)


def test_too_small_an_input_is_refused_with_the_size_that_works(name: str, model: nn.Module) -> None:
    smallest = MODELS[name].smallest
    message = f"smallest input is {smallest}×{smallest}"
    with pytest.raises(UsageError, match=message):
        create(architecture(name, size=smallest - 1))
    with pytest.raises(UsageError, match=message):
        model(torch.zeros(1, 3, smallest, smallest - 1))
    run(model, pictures(name))  # and that size does work


def test_wrong_channel_count_is_refused(name: str, model: nn.Module) -> None:
    with pytest.raises(UsageError, match="3 × height × width, got 2 × 1 ×"):
        model(pictures(name, 2, channels=1))


def test_the_generator_alone_decides_the_weights(name: str, prototype: nn.Module) -> None:
    mine, same = prototype.state_dict(), build(name, seed=0).state_dict()
    assert all(torch.equal(mine[key], same[key]) for key in mine)
    other = build(name, seed=1).state_dict()
    assert all(not torch.equal(mine[key], other[key]) for key in mine if key.endswith("weight") and mine[key].ndim > 1)
