from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from deeper.models.kernels.products import products

LAST = torch.channels_last


def weights(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return [torch.randn(shape, dtype=dtype).to(memory_format=LAST).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("kernel", [(1, 1), (5, 4)])
def test_gradients_in_double_precision(kernel: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 4, dtype=torch.float64).to(memory_format=LAST).requires_grad_()
    given = weights((3, 3, *kernel), (2, 3, *kernel))
    assert torch.autograd.gradcheck(lambda x, *given: products(x, given), (x, *given))
    assert torch.allclose(products(x, given), F.conv2d(x, torch.cat(given)))


def test_under_autocast() -> None:
    """In bf16, with gradients in the weights' own type and layout, and none for a frozen one."""
    x = torch.randn(2, 16, 5, 5).to(memory_format=LAST).requires_grad_()
    first, second = weights((8, 16, 1, 1), (24, 16, 1, 1), dtype=torch.float32)
    second.requires_grad_(False)
    with torch.autocast("cpu", torch.bfloat16):
        result = products(x, [first, second])
    assert result.dtype == torch.bfloat16 and result.is_contiguous(memory_format=LAST)
    wanted = F.conv2d(x, torch.cat([first, second]))
    assert (result - wanted).norm() < 0.01 * wanted.norm()
    result.float().square().sum().backward()
    assert second.grad is None and x.grad is not None and x.grad.dtype == torch.float32
    assert first.grad is not None and first.grad.dtype == torch.float32 and first.grad.stride() == first.stride()
