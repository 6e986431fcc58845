from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeper.models import Architecture, create, set_noise
from deeper.models.blocks import BatchNorm, Style
from deeper.models.kernels import switched_off
from deeper.models.kernels.pooled_pictures import MOST_CHANNELS, pooled_pictures

pytestmark = pytest.mark.usefixtures("compiled")
LAST = torch.channels_last


def plainly(images: Tensor, weight: Tensor, bias: Tensor, around: int) -> Tensor:
    return F.relu(F.max_pool2d(F.conv2d(images, weight, bias, padding=around), 2))


def layer(channels: int, filters: int) -> tuple[Tensor, Tensor]:
    return torch.randn(filters, channels, 5, 5).requires_grad_(), torch.randn(filters).requires_grad_()


def both(images: Tensor, weight: Tensor, bias: Tensor, around: int) -> tuple[list[Tensor], list[Tensor]]:
    """Output, gradients by weights and bias: ours, and PyTorch's in double precision."""
    results = []
    for function, dtype in ((pooled_pictures, torch.float32), (plainly, torch.float64)):
        weights = [tensor.detach().to(dtype).requires_grad_() for tensor in (weight, bias)]
        output = function(images.to(dtype), *weights, around)
        # Small whole numbers: what is added up does not depend on how.
        gradient = torch.arange(output.numel()).remainder(7).sub(3).reshape(output.shape).to(dtype)
        output.backward(gradient)
        results.append([output.detach(), *(tensor.grad for tensor in weights if tensor.grad is not None)])
    return results[0], results[1]


@pytest.mark.parametrize("filters", [1, 4, 20, 23])
@pytest.mark.parametrize("channels", range(1, MOST_CHANNELS + 1))
@pytest.mark.parametrize(
    ("count", "height", "width", "around"),
    [(3, 28, 28, 2), (9, 13, 40, 2), (1, 12, 12, 2), (2, 6, 7, 0), (8, 33, 75, 0), (17, 5, 31, 1), (2, 1, 1, 3)],
)
def test_equals_pytorch(count: int, height: int, width: int, around: int, channels: int, filters: int) -> None:
    """Odd sides, of which the pool leaves the last row out; rows of one vector and of several; whole chunks and others."""
    images = torch.randn(count, channels, height, width).to(memory_format=LAST)
    ours, wanted = both(images, *layer(channels, filters), around)
    for mine, theirs in zip(ours, wanted, strict=True):
        assert mine.shape == theirs.shape
        assert (mine.double() - theirs).norm() <= 2e-6 * theirs.norm() + 1e-5


def test_of_equal_results_the_first_wins_as_in_pytorch() -> None:
    """Few distinct numbers: most windows have several winners, and many results are exactly zero."""
    images = torch.randint(-1, 2, (16, 2, 28, 28)).float().to(memory_format=LAST)
    weight = torch.randint(-1, 2, (6, 2, 5, 5)).float().requires_grad_()
    bias = torch.randint(-1, 2, (6,)).float().requires_grad_()
    ours, wanted = both(images, weight, bias, 2)
    assert all(torch.equal(mine.double(), theirs) for mine, theirs in zip(ours, wanted, strict=True))


@pytest.mark.parametrize("place", range(4))
def test_what_is_not_a_number_passes(place: int) -> None:
    images = torch.randn(2, 1, 12, 12).to(memory_format=LAST)
    images[1, 0, 4 + place // 2, 6 + place % 2] = float("nan")
    weight, bias = layer(1, 3)
    ours, wanted = both(images, weight, bias, 2)
    assert torch.equal(ours[0].isnan(), wanted[0].isnan()) and ours[0][1].isnan().any() and not ours[0][0].isnan().any()
    assert ours[1].isnan().all() and wanted[1].isnan().all()


def test_rounds_the_result_alone() -> None:
    """Under autocast pictures, weights and sums stay float32: nearer to what is exact than PyTorch's own operators, in
    values and gradients."""
    images, (weight, bias) = torch.randn(8, 1, 28, 28).to(memory_format=LAST), layer(1, 20)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = pooled_pictures(images, weight, bias, 2), plainly(images, weight, bias, 2)
    exact = plainly(images, weight, bias, 2)
    assert ours.dtype == theirs.dtype == torch.bfloat16 and ours.is_contiguous(memory_format=LAST)
    assert torch.equal(ours, pooled_pictures(images, weight, bias, 2).bfloat16())
    assert (ours - exact).norm() < 0.75 * (theirs - exact).norm()
    found = [torch.autograd.grad(output.float().sum(), (weight, bias)) for output in (ours, theirs, exact)]
    for mine, usual, wanted in zip(*found, strict=True):
        assert (mine - wanted).norm() < 1e-5 * wanted.norm() + 0.1 * (usual - wanted).norm()


def test_does_not_depend_on_how_many_threads_there_are() -> None:
    images, (weight, bias) = torch.randn(37, 1, 28, 28).to(memory_format=LAST), layer(1, 20)
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(both(images, weight, bias, 2)[0])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(mine, first) for other in found[1:] for mine, first in zip(other, found[0], strict=True))


def test_a_gradient_that_lies_otherwise() -> None:
    images, (weight, bias) = torch.randn(4, 3, 16, 16).to(memory_format=LAST), layer(3, 5)
    gradient = torch.randn(4, 5, 8, 8)
    found = [
        torch.autograd.grad(pooled_pictures(images, weight, bias, 2), (weight, bias), given)
        for given in (gradient.contiguous(), gradient.to(memory_format=LAST), gradient[:, :1].expand(4, 5, 8, 8))
    ]
    assert all(torch.equal(first, second) for first, second in zip(found[0], found[1], strict=True))
    alike = gradient[:, :1].expand(4, 5, 8, 8).contiguous()
    wanted = torch.autograd.grad(pooled_pictures(images, weight, bias, 2), (weight, bias), alike)
    assert all(torch.equal(first, second) for first, second in zip(found[2], wanted, strict=True))


@pytest.mark.parametrize(
    ("images", "weight"),
    [
        (torch.zeros(2, 1, 12, 12), torch.zeros(3, 1, 3, 3)),
        (torch.zeros(2, 2, 12, 12), torch.zeros(3, 1, 5, 5)),
        (torch.zeros(2, 1, 12, 12, dtype=torch.float64), torch.zeros(3, 1, 5, 5)),
        (torch.zeros(2, 1, 12, 12), torch.zeros(3, 1, 5, 5, dtype=torch.bfloat16)),
    ],
)
def test_what_it_would_misread_is_refused(images: Tensor, weight: Tensor) -> None:
    with pytest.raises(ValueError, match="takes float32 pictures and 5 × 5 weights"):
        pooled_pictures(images, weight, torch.zeros(3), 2)


def nielsen(channels: int = 1) -> nn.Module:
    return create(Architecture(model="nielsen", classes=10, channels=channels, height=28, width=28)).to(
        memory_format=LAST
    )  # type: ignore[call-overload,no-any-return]


def calls(model: nn.Module, images: Tensor) -> bool:
    """Whether the network's output came about by the kernel."""
    seen, waiting = set(), [model(images).logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [before for before, _ in node.next_functions]
    return any(node.name() == "_PooledPicturesBackward" for node in seen)


@pytest.mark.parametrize("channels", [1, 3])
def test_nielsen_net_learns_as_without_it(channels: int) -> None:
    """All gradients of a step, with the dropout of the same step."""
    mine = nielsen(channels).train()
    theirs = copy.deepcopy(mine)
    images, labels = torch.randn(32, channels, 28, 28).to(memory_format=LAST), torch.randint(0, 10, (32,))
    for model in (mine, theirs):
        set_noise(model, 0, 1)
    F.cross_entropy(mine(images).logits, labels).backward()
    with switched_off():
        F.cross_entropy(theirs(images).logits, labels).backward()
    for (name, ours), wanted in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        assert ours.grad is not None and wanted.grad is not None
        assert (ours.grad - wanted.grad).norm() <= 1e-4 * wanted.grad.norm(), name


def test_nielsen_net_takes_it_in_training_where_nobody_watches() -> None:
    model, images = nielsen().train(), torch.randn(4, 1, 28, 28)
    assert calls(model, images)
    assert not calls(model.eval(), images)
    model.train()
    with switched_off():
        assert not calls(model, images)
    assert not calls(model, images.clone().requires_grad_())
    assert not calls(
        nielsen(MOST_CHANNELS + 1).train(), torch.randn(4, MOST_CHANNELS + 1, 28, 28).to(memory_format=LAST)
    )
    seen: list[torch.Size] = []
    watched = model.get_submodule("conv1").register_forward_hook(
        lambda module, given, output: seen.append(output.shape)
    )
    assert not calls(model, images) and seen == [(4, 20, 28, 28)]
    watched.remove()
    assert calls(model, images) and calls(copy.deepcopy(model), images)
    other = copy.deepcopy(model)
    other.pool1 = nn.AvgPool2d(2)
    assert not calls(other, images)


def change(model: nn.Module, path: str, name: str, value: object) -> None:
    setattr(model.get_submodule(path), name, value)


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("conv1", "activation", nn.LeakyReLU()),
        ("conv1", "norm", BatchNorm(20, Style())),
        ("conv2", "convolution", nn.Conv2d(20, 40, 5, padding_mode="reflect")),
        ("conv1.convolution", "padding_mode", "circular"),
        ("conv2.convolution", "bias", None),
        ("pool1", "reaches_over", True),
    ],
    ids=str,
)
def test_what_somebody_changed_is_computed_as_it_is(path: str, name: str, value: object) -> None:
    model, images = nielsen().train(), torch.randn(4, 1, 28, 28)
    change(model, path, name, value)
    assert not calls(model, images)


def test_a_parametrised_weight_is_computed_as_often_as_without_kernels() -> None:
    model, images = nielsen().train(), torch.randn(4, 1, 28, 28)
    torch.nn.utils.parametrizations.spectral_norm(model.get_submodule("conv1.convolution"))
    theirs = copy.deepcopy(model)
    assert not calls(model, images)
    with switched_off():
        theirs(images)
    assert all(torch.equal(mine, other) for mine, other in zip(model.buffers(), theirs.buffers(), strict=True))


def test_a_model_on_another_device_is_an_error_as_ever() -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        nielsen().train().to("meta")(torch.randn(4, 1, 28, 28))


def test_what_is_frozen_gets_no_gradient_and_changes_no_other() -> None:
    whole, images = nielsen().train(), torch.randn(4, 1, 28, 28)
    for frozen in ("conv1", "conv2"):
        partly = copy.deepcopy(whole)
        partly.get_submodule(frozen).requires_grad_(False)
        for model in (whole, partly):
            set_noise(model, 0, 1)
            model.zero_grad()
            model(images).logits.sum().backward()
        for (name, mine), all_of_them in zip(partly.named_parameters(), whole.parameters(), strict=True):
            if name.startswith(frozen):
                assert mine.grad is None
            else:
                assert (
                    mine.grad is not None and all_of_them.grad is not None and torch.equal(mine.grad, all_of_them.grad)
                )


@pytest.mark.parametrize("bias", [torch.zeros(1), torch.zeros(4), torch.zeros(3, device="meta")], ids=str)
def test_a_bias_that_does_not_fit_is_refused(bias: Tensor) -> None:
    with pytest.raises(ValueError, match="takes float32 pictures"):
        pooled_pictures(torch.zeros(2, 1, 12, 12), torch.zeros(3, 1, 5, 5), bias, 2)


def test_a_bias_that_lies_otherwise() -> None:
    images, (weight, _), bias = torch.randn(2, 1, 12, 12), layer(1, 3), torch.randn(3, 2)[:, 0]
    assert torch.allclose(pooled_pictures(images, weight, bias, 2), plainly(images, weight, bias, 2), atol=1e-5)
