from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from deeper.models.blocks import WORTH_A_KERNEL, MaxPool
from deeper.models.kernels import switched_off
from deeper.models.kernels.pool import max_pool

pytestmark = pytest.mark.usefixtures("compiled")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "layer",
    [
        MaxPool(3, 2),
        MaxPool(2, 2),
        MaxPool(3, 1, padding="same"),
        MaxPool(3, 2, padding="same"),
        MaxPool(3, 2, padding="same", tensorflow_padding=True),
        MaxPool(2, 2, padding="same"),
        MaxPool(5, 3, padding="same"),
    ],
    ids=str,
)
def test_equals_pytorch_to_the_bit(layer: MaxPool, dtype: torch.dtype) -> None:
    """Values and gradients; few distinct values, so that windows have several winners and the first must be taken."""
    torch.manual_seed(0)
    for height, width in ((8, 13), (7, 6), (9, 9)):
        x = torch.randint(-4, 3, (3, WORTH_A_KERNEL + 5, height, width)).to(dtype, memory_format=torch.channels_last)
        mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        ours = layer(mine)
        with switched_off():
            wanted = layer(theirs)
        assert ours.grad_fn.name() == "_MaxPoolBackward" and torch.equal(ours, wanted)
        # Small whole numbers, whose sums are exact in either type.
        gradient = torch.randint(-3, 4, wanted.shape).to(dtype)
        ours.backward(gradient)
        wanted.backward(gradient)
        assert mine.grad is not None and theirs.grad is not None and torch.equal(mine.grad, theirs.grad)


def test_windows_that_a_byte_cannot_tell_are_pytorchs() -> None:
    x = torch.rand(2, WORTH_A_KERNEL, 20, 20).to(memory_format=torch.channels_last).requires_grad_()
    assert MaxPool(15, 1, padding="same")(x).grad_fn.name() == "_MaxPoolBackward"
    large = MaxPool(17, 1, padding="same")
    assert large(x).grad_fn.name() != "_MaxPoolBackward" and torch.equal(large(x), F.max_pool2d(x, 17, 1, 8))
    with pytest.raises(ValueError, match="up to 15, got 17"):
        large.fused(x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("places", [*((place,) for place in range(9)), (0, 4), (2, 3, 8)], ids=str)
def test_what_is_not_a_number_wins_wherever_it_stands(places: tuple[int, ...], dtype: torch.dtype) -> None:
    """Values and gradients, also beside infinities."""
    torch.manual_seed(0)
    x = torch.randn(2, WORTH_A_KERNEL, 3, 3)
    x[:, 1::2, 1, 2] = float("inf")
    for place in places:
        x[1, ::3, place // 3, place % 3] = float("nan")
    x = x.to(dtype, memory_format=torch.channels_last)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours, wanted = MaxPool(3, 2)(mine), F.max_pool2d(theirs, 3, 2)
    assert ours.grad_fn.name() == "_MaxPoolBackward" and ours[1, ::3].isnan().all()
    torch.testing.assert_close(ours, wanted, rtol=0, atol=0, equal_nan=True)
    ours.backward(torch.ones_like(ours))
    wanted.backward(torch.ones_like(wanted))
    assert mine.grad is not None and theirs.grad is not None and torch.equal(mine.grad, theirs.grad)


def test_gradients_in_double_precision() -> None:
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: max_pool(x, 3, 2, (0, 1), (3, 3)), (x,))
