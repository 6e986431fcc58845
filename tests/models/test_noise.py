from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from deeper.errors import UsageError
from deeper.models import Architecture, create
from deeper.models.noise import Dropout, set_noise


def network(probability: float = 0.5) -> nn.Sequential:
    return nn.Sequential(Dropout(probability), Dropout(probability)).train()


def masks(model: nn.Sequential, seed: int, step: int, shape: tuple[int, ...] = (64, 100)) -> list[torch.Tensor]:
    set_noise(model, seed, step)
    return [layer(torch.ones(shape)) for layer in model]


@pytest.mark.parametrize("probability", [0.5, 0.2, 0.8, 0.001])
def test_share_of_zeros_and_expectation(probability: float) -> None:
    kept = masks(network(probability), 0, 0, (1000, 1000))[0]
    deviation = (probability * (1 - probability) / 1e6) ** 0.5
    assert abs((kept == 0).float().mean().item() - probability) < 5 * deviation + 1e-5
    assert kept.mean().item() == pytest.approx(1, abs=5 * deviation / (1 - probability))
    assert len(kept.unique()) == 2


@pytest.mark.parametrize("probability", [0.5, 0.3])
def test_masks_depend_on_seed_step_layer_and_call_only(probability: float) -> None:
    model = network(probability)
    first = masks(model, 1, 2)
    second_call = model[0](torch.ones(64, 100))
    torch.rand(10)  # torch's generator plays no part
    assert all(torch.equal(a, b) for a, b in zip(first, masks(network(probability), 1, 2), strict=True))
    others = [first[1], second_call, masks(model, 1, 3)[0], masks(model, 2, 2)[0]]
    for other in others:
        assert not torch.equal(first[0], other)
        # Independent masks agree in p² + (1 − p)² of the units.
        agreement = ((first[0] == 0) == (other == 0)).float().mean().item()
        assert agreement == pytest.approx(probability**2 + (1 - probability) ** 2, abs=0.04)


def test_units_are_independent_of_their_neighbours() -> None:
    kept = (masks(network(), 5, 5, (1000, 64))[0] > 0).double()
    correlation = torch.corrcoef(kept.T) - torch.eye(64, dtype=torch.double)
    assert correlation.abs().max() < 0.17  # five deviations of 1/√1000 over 2,016 pairs


def test_gradient_is_the_mask() -> None:
    model = network()
    x = torch.randn(8, 8, dtype=torch.bfloat16, requires_grad=True)
    set_noise(model, 0, 0)
    y = model[0](x)
    y.sum().backward()
    assert y.dtype == torch.bfloat16 and x.grad is not None
    assert torch.equal(y, x.detach() * x.grad)
    assert set(x.grad.unique().tolist()) == {0.0, 2.0}


def test_evaluation_and_zero_probability_change_nothing() -> None:
    x = torch.randn(4, 4)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0).train()(x) is x


def test_without_set_noise_torch_draws() -> None:
    torch.manual_seed(0)
    first = Dropout(0.5).train()(torch.ones(100))
    torch.manual_seed(0)
    assert torch.equal(first, nn.functional.dropout(torch.ones(100), 0.5))


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_impossible_probability_is_refused(probability: float) -> None:
    with pytest.raises(UsageError, match=r"must be in \[0, 1\)"):
        Dropout(probability)


def test_compiled_once_for_all_steps() -> None:
    """A step's key is no part of what is compiled."""
    model = create(Architecture(model="nielsen", classes=10, channels=1, height=28, width=28)).train()
    counter = CompileCounter()
    compiled = torch.compile(model, backend=counter, fullgraph=True, dynamic=False)
    for step in range(3):
        set_noise(model, 0, step)
        compiled(torch.ones(2, 1, 28, 28))
    assert counter.frame_count == 1
