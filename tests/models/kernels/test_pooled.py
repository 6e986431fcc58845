from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from deeper.models.kernels.pooled import pooled_convolution

pytestmark = pytest.mark.usefixtures("compiled")
LAST = torch.channels_last


def plainly(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.relu(F.max_pool2d(F.conv2d(x, weight, bias), 2))


def layer(channels: int, filters: int, side: int) -> tuple[Tensor, Tensor]:
    return torch.randn(filters, channels, side, side).requires_grad_(), torch.randn(filters).requires_grad_()


def both(x: Tensor, weight: Tensor, bias: Tensor, gradient: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
    """Output, gradients by input, weights and bias: ours, and PyTorch's in double precision."""
    results = []
    for function, dtype in ((pooled_convolution, torch.float32), (plainly, torch.float64)):
        taken = [tensor.detach().to(dtype).requires_grad_() for tensor in (x, weight, bias)]
        output = function(*taken)
        # Small whole numbers, of which many are zero.
        numbers = torch.arange(output.numel()).remainder(7).sub(3).clamp(0).reshape(output.shape)
        output.backward((numbers if gradient is None else gradient).to(dtype))
        results.append([output.detach(), *(tensor.grad for tensor in taken if tensor.grad is not None)])
    return results[0], results[1]


@pytest.mark.parametrize(
    ("count", "height", "width", "channels", "filters", "side"),
    [
        (3, 14, 14, 20, 40, 5),
        (17, 9, 12, 7, 3, 3),
        (33, 7, 6, 1, 5, 2),
        (2, 11, 13, 30, 9, 5),
        (1, 6, 8, 3, 1, 1),
        (2, 5, 4, 2, 4, 3),
        (2, 8, 40, 16, 4, 7),
    ],
)
def test_equals_pytorch(count: int, height: int, width: int, channels: int, filters: int, side: int) -> None:
    """Odd sides, of which the pool leaves the last row out; rows of weights of one vector and of several; whole chunks and
    others."""
    x = torch.randn(count, channels, height, width).to(memory_format=LAST)
    ours, wanted = both(x, *layer(channels, filters, side))
    for mine, theirs in zip(ours, wanted, strict=True):
        assert mine.shape == theirs.shape
        assert (mine.double() - theirs).norm() <= 2e-6 * theirs.norm() + 1e-5


def test_of_equal_results_the_first_wins_as_in_pytorch() -> None:
    """Few distinct numbers: most windows have several winners, and many results are exactly zero."""
    x = torch.randint(-1, 2, (16, 6, 10, 10)).float().to(memory_format=LAST)
    weight = torch.randint(-1, 2, (8, 6, 3, 3)).float()
    bias = torch.randint(-1, 2, (8,)).float()
    ours, wanted = both(x, weight, bias)
    assert all(torch.equal(mine.double(), theirs) for mine, theirs in zip(ours, wanted, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_passes(bad: float) -> None:
    """In the input, in the weights, and in what comes back."""
    x, (weight, bias) = torch.randn(2, 4, 6, 6).to(memory_format=LAST), layer(4, 3, 3)
    spoiled = x.clone()
    spoiled[1, 2, 3, 3] = bad
    output = pooled_convolution(spoiled, weight, bias)
    assert not output[1].isfinite().all() and output[0].isfinite().all()
    assert torch.equal(output.isnan(), plainly(spoiled, weight, bias).isnan())
    weights = weight.detach().clone()
    weights[1, 0, 0, 0] = bad
    assert not pooled_convolution(x, weights, bias)[:, 1].isfinite().all()
    gradient = torch.ones(2, 3, 2, 2)
    gradient[0] = bad
    ours, wanted = both(x, weight, bias + 99, gradient)
    assert not ours[1][0].isfinite().all() and ours[1][1].isfinite().all() and wanted[1][1].isfinite().all()
    assert not ours[2].isfinite().all() and not ours[3].isfinite().any()


def test_in_bf16() -> None:
    """No further from what is exact than PyTorch's own operators, whose sums backward are of rounded weights."""
    x, (weight, bias) = torch.randn(32, 20, 14, 14).bfloat16().to(memory_format=LAST), layer(20, 40, 5)
    found = []
    for function, dtype in ((pooled_convolution, None), (plainly, None), (plainly, torch.float64)):
        taken = [tensor.detach().to(dtype or tensor.dtype).requires_grad_() for tensor in (x, weight, bias)]
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is None):
            output = function(*taken)
        output.backward(torch.ones_like(output))
        found.append([output.detach(), *(tensor.grad for tensor in taken if tensor.grad is not None)])
    ours, theirs, exact = found
    assert ours[0].dtype == ours[1].dtype == torch.bfloat16 and ours[0].is_contiguous(memory_format=LAST)
    assert torch.equal(ours[0], theirs[0])
    for mine, usual, wanted in zip(ours, theirs, exact, strict=True):
        assert (mine.double() - wanted).norm() <= 1.01 * (usual.double() - wanted).norm()


def test_does_not_depend_on_how_many_threads_there_are() -> None:
    x, (weight, bias) = torch.randn(50, 8, 10, 10).to(memory_format=LAST), layer(8, 12, 3)
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(both(x, weight, bias)[0][1:])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(mine, first) for other in found[1:] for mine, first in zip(other, found[0], strict=True))


def test_an_input_and_a_gradient_that_lie_otherwise() -> None:
    x, (weight, bias) = torch.randn(4, 5, 8, 8), layer(5, 6, 3)
    gradient = torch.randn(4, 6, 3, 3)
    found = []
    for taken, given in ((x, gradient), (x.to(memory_format=LAST), gradient.to(memory_format=LAST))):
        needs = taken.requires_grad_()
        found.append(torch.autograd.grad(pooled_convolution(needs, weight, bias), (needs, weight, bias), given))
    assert all(torch.allclose(first, second, atol=1e-5) for first, second in zip(*found, strict=True))


def test_a_weight_that_lies_channels_last() -> None:
    x, (weight, bias) = torch.randn(4, 5, 8, 8).to(memory_format=LAST), layer(5, 6, 3)
    other = weight.detach().to(memory_format=LAST).requires_grad_()
    pooled_convolution(x, weight, bias).sum().backward()
    pooled_convolution(x, other, bias).sum().backward()
    assert weight.grad is not None and other.grad is not None and torch.equal(weight.grad, other.grad)


def test_an_input_that_wants_no_gradient_gets_none() -> None:
    x, (weight, bias) = torch.randn(4, 5, 8, 8).to(memory_format=LAST), layer(5, 6, 3)
    pooled_convolution(x, weight, bias).sum().backward()
    alone = weight.grad
    weight.grad = None
    pooled_convolution(x.clone().requires_grad_(), weight, bias).sum().backward()
    assert alone is not None and weight.grad is not None and torch.equal(alone, weight.grad)


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        (torch.zeros(2, 1, 12, 12), torch.zeros(3, 1, 3, 2)),
        (torch.zeros(2, 2, 12, 12), torch.zeros(3, 1, 5, 5)),
        (torch.zeros(2, 1, 12, 12, dtype=torch.float64), torch.zeros(3, 1, 5, 5)),
        (torch.zeros(2, 1, 12, 12), torch.zeros(3, 1, 5, 5, dtype=torch.bfloat16)),
    ],
)
def test_what_it_would_misread_is_refused(x: Tensor, weight: Tensor) -> None:
    with pytest.raises(ValueError, match="takes float32 weights of square kernels"):
        pooled_convolution(x, weight, torch.zeros(3))
