from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deeper.models.kernels.layout import OWN, Joint, Slot, join, rows
from deeper.models.kernels.norm import Norm, norm_relu

pytestmark = pytest.mark.usefixtures("compiled")
LAST = torch.channels_last


def norm(channels: int, **changes: Any) -> Norm:
    plain: dict[str, Any] = {
        "gamma": torch.rand(channels) + 0.5,
        "beta": torch.randn(channels) / 2,
        "mean": torch.zeros(channels),
        "variance": torch.ones(channels),
        "epsilon": 0.001,
        "momentum": 0.1,
    }
    return Norm(channels=channels, **{**plain, **changes})


def pictures(channels: int, height: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    values = torch.randn(6, channels, height, width) * 2 + torch.linspace(-3, 3, channels).view(-1, 1, 1)
    return values.to(dtype, memory_format=LAST)


def relative(ours: Tensor, wanted: Tensor) -> float:
    return float((ours.detach().double() - wanted.detach()).abs().max() / wanted.detach().abs().max())


@pytest.mark.parametrize("channels", [1, 5, 48, 320])
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.bfloat16, 5e-3)])
def test_equals_batch_norm_and_relu(channels: int, relu: bool, dtype: torch.dtype, tolerance: float) -> None:
    """Against PyTorch's own in float64, from the same (rounded) inputs."""
    torch.manual_seed(channels)
    x, gradient = pictures(channels, 13, 9, dtype), pictures(channels, 13, 9, dtype)
    given = norm(channels, relu=relu)
    exact = x.double().requires_grad_()
    gamma, beta = given.gamma.double().requires_grad_(), given.beta.double().requires_grad_()  # type: ignore[union-attr]
    mean, variance = torch.zeros(channels).double(), torch.ones(channels).double()
    wanted = F.batch_norm(exact, mean, variance, gamma, beta, True, 0.1, 0.001)
    wanted = wanted.relu() if relu else wanted
    wanted.backward(gradient.double())

    mine = x.clone().requires_grad_()
    for parameter in (given.gamma, given.beta):
        assert parameter is not None
        parameter.requires_grad_()
    (result,) = norm_relu(mine, [given], reuse=False)
    result.backward(gradient)
    assert result.dtype == dtype and result.is_contiguous(memory_format=LAST)
    assert relative(result, wanted) < tolerance
    assert mine.grad is not None and exact.grad is not None
    assert relative(mine.grad, exact.grad) < tolerance
    for ours, theirs in ((given.gamma, gamma), (given.beta, beta)):
        assert ours is not None and ours.grad is not None and theirs.grad is not None
        assert relative(ours.grad, theirs.grad) < 5e-6
    assert given.mean is not None and given.variance is not None
    assert relative(given.mean, mean) < 2e-6 and relative(given.variance, variance) < 2e-6


def test_a_large_mean_does_not_eat_the_variance() -> None:
    x = (torch.randn(8, 3, 40, 40) * 0.01 + 100).to(memory_format=LAST)
    given = norm(3, momentum=1.0)
    norm_relu(x, [given])
    assert given.variance is not None
    assert torch.allclose(given.variance.double(), x.double().var((0, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("joined", [True, False])
def test_gradients_in_double_precision(joined: bool) -> None:
    """Groups with and without gamma, an average pool either way of counting, in place of a block's output or not."""
    torch.manual_seed(0)
    x = torch.randn(2, 9, 5, 4, dtype=torch.float64).to(memory_format=LAST).requires_grad_()
    gamma, first, second, third = (torch.randn(n, dtype=torch.float64, requires_grad=True) for n in (3, 3, 4, 2))

    def block(x: Tensor, gamma: Tensor, first: Tensor, second: Tensor, third: Tensor) -> Tensor:
        joint = Joint(9)
        slot = Slot(joint) if joined else OWN
        free = {"mean": None, "variance": None}
        norms = [
            norm(3, gamma=gamma, beta=first, slot=slot, **free),
            norm(4, gamma=None, beta=second, pool=3, slot=slot.after(3) if joined else OWN, **free),
            norm(2, gamma=None, beta=third, pool=3, counts_padding=True, slot=slot.after(7) if joined else OWN, **free),
        ]
        parts = norm_relu(x, norms, reuse=False)
        return join(joint, parts) if joined else torch.cat(parts, 1)

    assert torch.autograd.gradcheck(block, (x, gamma, first, second, third))


@pytest.mark.parametrize("reuse", [False, True])
def test_some_channels_of_a_wider_tensor(reuse: bool) -> None:
    """Values and gradients; with memory of its own the gradient lies closer than what was taken in."""
    torch.manual_seed(0)
    wide, gradient = pictures(10, 5, 4), pictures(5, 5, 4)
    norms = [norm(3), norm(2, pool=3)]
    results = []
    for x in (wide.clone().narrow(1, 2, 5), wide.narrow(1, 2, 5).contiguous(memory_format=LAST)):
        mine = x.requires_grad_()
        parts = norm_relu(mine, norms, reuse=reuse)
        (by_x,) = torch.autograd.grad(torch.cat(parts, 1), mine, gradient)
        results.append((torch.cat(parts, 1).detach(), by_x))
    assert all(torch.equal(ours, wanted) for ours, wanted in zip(*results))


def test_statistics_of_another_type_are_refused() -> None:
    """The kernels would read beyond their ends."""
    for dtype, name in ((torch.float64, "beta"), (torch.float32, "gamma"), (torch.bfloat16, "variance")):
        other = torch.float32 if dtype == torch.float64 else torch.float64
        fitting = {"gamma": None, "beta": torch.zeros(4), "mean": torch.zeros(4), "variance": torch.ones(4)}
        wanted = torch.float64 if dtype == torch.float64 else torch.float32
        changes = {key: tensor if tensor is None else tensor.to(wanted) for key, tensor in fitting.items()}
        with pytest.raises(TypeError, match="compiled batch norm of"):
            norm_relu(pictures(4, 3, 3, dtype), [norm(4, **{**changes, name: torch.ones(4, dtype=other)})])


def test_pooled_group_equals_average_pool_first() -> None:
    x = pictures(6, 7, 5)
    for counts in (True, False):
        (ours,) = norm_relu(x, [norm(6, gamma=None, beta=torch.zeros(6), pool=3, counts_padding=counts)])
        pooled = F.avg_pool2d(x.double(), 3, 1, 1, count_include_pad=counts)
        assert relative(ours, F.batch_norm(pooled, None, None, training=True, eps=0.001).relu()) < 2e-6


def test_the_number_of_threads_changes_no_bit() -> None:
    x, gradient = pictures(64, 31, 31), pictures(64, 31, 31)
    given = norm(64)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            mine = x.clone().requires_grad_()
            (result,) = norm_relu(mine, [given], reuse=False)
            result.backward(gradient)
            results.append((result.detach(), mine.grad))
    finally:
        torch.set_num_threads(before)
    for result, by_x in results[1:]:
        assert by_x is not None and results[0][1] is not None
        assert torch.equal(result, results[0][0]) and torch.equal(by_x, results[0][1])


def test_what_is_not_a_number_stays_so() -> None:
    """Otherwise a diverged run would go on with zeros."""
    for dtype in (torch.float32, torch.bfloat16):
        x = pictures(4, 6, 6, dtype)
        x[2, 1, 3, 3] = float("nan")
        (result,) = norm_relu(x, [norm(4)])
        assert result[:, 1].isnan().all() and not result[:, 0].isnan().any()


def test_memory_is_used_again_and_the_graph_then_spent() -> None:
    x = pictures(8, 6, 6).requires_grad_()
    taken = x * 1
    (result,) = norm_relu(taken, [norm(8)])
    kept = taken.detach().clone()
    result.sum().backward(retain_graph=True)
    assert not torch.equal(taken.detach(), kept)
    with pytest.raises(RuntimeError, match="only once"):
        result.sum().backward()


def test_one_value_has_no_deviation() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm_relu(torch.ones(1, 4, 1, 1), [norm(4)])


def test_rows_of_any_layout() -> None:
    wide = torch.randn(2, 10, 3, 4).to(memory_format=LAST)
    part = wide.narrow(1, 2, 5)
    taken, stride = rows(part)
    assert taken is part and stride == 10
    for odd in (part.contiguous(), wide[:, :, ::2], wide[:, ::2], wide.flip(3)):
        copy, stride = rows(odd)
        assert stride == copy.shape[1] and torch.equal(copy, odd) and copy.is_contiguous(memory_format=LAST)
    small = torch.randn(3, 5, 1, 1)
    assert rows(small)[0] is small and rows(torch.randn(1, 1, 1, 1))[1] == 1
