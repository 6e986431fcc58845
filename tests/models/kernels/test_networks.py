"""Whole networks: the same answers, names and behaviour with the kernels as without."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeper.models import MODELS, Architecture, Output, create, set_noise
from deeper.models.blocks import Convolution, Style
from deeper.models.kernels import switched_off
from deeper.models.mixed import Average, Branch, Conv, Fork, Max, Mixed, Residual

pytestmark = pytest.mark.usefixtures("compiled")
LAST = torch.channels_last
STYLES = [Style(), Style(gamma=True, average_padding=True, tensorflow_padding=False)]


def block(style: Style) -> Mixed:
    """Every kind of branch."""
    return Mixed(
        24,
        [
            [Conv(8, 1)],
            [Conv(6, 1), Conv(10, 3)],
            [Conv(7, 1), Conv(9, (1, 7)), Fork((Conv(5, (1, 3)), Conv(6, (3, 1))))],
            [Conv(4, 1), Fork((Conv(3, (1, 3)), Conv(2, (3, 1))))],
            [Average(3), Conv(12, 1)],
            [Average(3), Conv(12, 1), Conv(5, 3)],
            [Max(3), Conv(11, 1)],
            [Conv(13, 3)],
            [Max(3)],
        ],
        style,
    )


def shrinking(style: Style) -> Mixed:
    return Mixed(
        24,
        [[Conv(8, 3, 2, "valid")], [Conv(6, 1), Conv(10, 3, 2, "valid")], [Max(3, 2, "valid")]],
        style,
    )


def twice(module: nn.Module) -> tuple[nn.Module, nn.Module]:
    module = module.train().to(memory_format=LAST)  # type: ignore[call-overload]
    return module, copy.deepcopy(module)


def no_further(ours: Tensor | None, plain: Tensor | None, wanted: Tensor | None, times: float = 2) -> bool:
    assert ours is not None and plain is not None and wanted is not None
    scale = wanted.detach().double().norm()
    mistake, usual = ((part.detach().double() - wanted.detach()).norm() / scale for part in (ours, plain))
    return bool(mistake <= times * usual + 1e-5)


def close(ours: Tensor, wanted: Tensor, tolerance: float) -> bool:
    return bool((ours - wanted).norm() <= tolerance * wanted.norm() + 1e-7)


@pytest.mark.parametrize("style", STYLES, ids=["slim", "torchvision"])
@pytest.mark.parametrize("build", [block, shrinking])
@pytest.mark.parametrize("bf16", [False, True])
def test_a_block(build: object, style: Style, bf16: bool) -> None:
    """No further from float64 than PyTorch's own operators are, in values, gradients and statistics."""
    torch.manual_seed(0)
    mine, theirs = twice(build(style))  # type: ignore[operator]
    exact = copy.deepcopy(mine).double()
    x = torch.randn(8, 24, 9, 9).to(torch.bfloat16 if bf16 else torch.float32, memory_format=LAST)
    first, second, third = (x.clone().requires_grad_(), x.clone().requires_grad_(), x.double().requires_grad_())
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        ours = mine(first)
        with switched_off():
            plain = theirs(second)
    wanted = exact(third)
    assert ours.grad_fn.name() == "_JoinBackward" and ours.is_contiguous(memory_format=LAST)
    assert ours.dtype == plain.dtype
    gradient = torch.randn(ours.shape).to(ours.dtype, memory_format=LAST)
    for result in (ours, plain, wanted):
        result.backward(gradient.to(result.dtype))
    assert no_further(ours, plain, wanted) and no_further(first.grad, second.grad, third.grad)
    times = 4 if bf16 else 2  # a dozen rounding errors of bf16 are few to compare by
    for (name, weight), other, true in zip(mine.named_parameters(), theirs.parameters(), exact.parameters()):
        assert weight.grad is not None and weight.grad.dtype == torch.float32, name
        assert no_further(weight.grad, other.grad, true.grad, times), name
    for (name, value), other, true in zip(mine.named_buffers(), theirs.buffers(), exact.buffers()):
        assert no_further(value, other, true, times), name


def gradients(model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    set_noise(model, 0, 0)
    output: Output = model(images)
    labels = torch.arange(len(images)) % 5
    loss = F.cross_entropy(output.logits, labels) + sum(0.4 * F.cross_entropy(aux, labels) for aux in output.aux)
    loss.backward()  # type: ignore[no-untyped-call]
    parts = [weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]
    return output.logits.detach(), torch.cat(parts)


LARGE = ("inception_v4", "inception_resnet_v2")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in LARGE)) for name in MODELS])
def test_a_network_is_no_further_from_the_truth(name: str) -> None:
    """Deep networks blow rounding up; so both are measured against float64."""
    side = MODELS[name].smallest + 16
    torch.manual_seed(0)
    mine, theirs = twice(create(Architecture(model=name, classes=5, channels=3, height=side, width=side)))
    exact = copy.deepcopy(mine).double()
    images = torch.randn(6, 3, side, side).to(memory_format=LAST)
    ours = gradients(mine, images)
    with switched_off():
        plain = gradients(theirs, images)
        truth = gradients(exact, images.double())
    for part, other, wanted in zip(ours, plain, truth):
        assert no_further(part, other, wanted)


def test_a_watched_layer_is_computed_as_it_stands() -> None:
    torch.manual_seed(0)
    mine, theirs = twice(block(Style()))
    x = torch.randn(4, 24, 9, 9).to(memory_format=LAST)
    seen: list[str] = []
    handles = [
        layer.register_forward_hook(lambda *_, name=name: seen.append(name)) for name, layer in mine.named_modules()
    ]
    ours = mine(x)
    with switched_off():
        assert torch.equal(ours, theirs(x))
    assert set(seen) == {name for name, _ in mine.named_modules()}
    for handle in handles:
        handle.remove()
    assert mine(x).grad_fn.name() == "_JoinBackward"
    with torch.autocast("cpu", torch.bfloat16):
        # The max-pool keeps float32 where the convolutions give bf16.
        assert mine(x).dtype == torch.float32


def test_frozen_layers() -> None:
    """One whose statistics stand still computes with them; one whose weights are frozen gets no gradient."""
    mine, _ = twice(block(Style()))
    frozen = mine.get_submodule("Branch_1.Conv2d_0a_1x1")
    for weight in frozen.parameters():
        weight.requires_grad_(False)
    x = torch.randn(4, 24, 9, 9).to(memory_format=LAST)
    mine(x).sum().backward()
    assert all(weight.grad is None for weight in frozen.parameters())
    assert all(
        weight.grad is not None for name, weight in mine.named_parameters() if not name.startswith("Branch_1.Conv2d_0a")
    )
    frozen.eval()
    before = frozen.norm.running_mean.clone()  # type: ignore[union-attr, operator]
    counted = int(mine.get_submodule("Branch_0.Conv2d_0a_1x1").norm.num_batches_tracked)  # type: ignore[union-attr, arg-type]
    mine(x)
    assert torch.equal(frozen.norm.running_mean, before)  # type: ignore[union-attr, arg-type]
    assert int(mine.get_submodule("Branch_0.Conv2d_0a_1x1").norm.num_batches_tracked) == counted + 1  # type: ignore[union-attr, arg-type]


def test_evaluation_never_uses_them() -> None:
    mine, theirs = twice(block(Style()))
    x = torch.randn(4, 24, 9, 9).to(memory_format=LAST)
    with switched_off():
        wanted = theirs.eval()(x)
    assert torch.equal(mine.eval()(x), wanted)


def test_other_types_and_layouts_are_left_to_pytorch() -> None:
    layer = Convolution(3, 8, 3, style=Style()).train()
    assert layer(torch.randn(2, 3, 9, 9).double().to(memory_format=LAST).float()).grad_fn.name() == "_NormReluBackward"
    assert "_NormRelu" not in layer(torch.randn(2, 3, 9, 9)).grad_fn.name()
    assert "_NormRelu" not in layer.double()(torch.randn(2, 3, 9, 9).double().to(memory_format=LAST)).grad_fn.name()


@pytest.mark.parametrize(
    "build",
    [
        lambda: Convolution(24, 8, 1, style=Style()),
        lambda: Mixed(24, [[Conv(8, 1)], [Average(3), Conv(6, 1)], [Max(3), Conv(5, 1)]], Style()),
    ],
    ids=["convolution", "block"],
)
def test_double_precision_into_single_precision_is_refused_as_by_pytorch(build: Callable[[], nn.Module]) -> None:
    layer, _ = twice(build())
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    x = torch.randn(2, 24, 5, 5, dtype=torch.float64).to(memory_format=LAST)
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast), pytest.raises(RuntimeError, match="type"):
            layer(x)
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())


def test_a_block_is_differentiated_a_second_time_rightly_or_not_at_all() -> None:
    pools = Mixed(24, [[Max(3)], [Max(5), Max(3)]], Style()).train()
    x = torch.randn(4, 24, 9, 9).to(memory_format=LAST).requires_grad_()
    result = pools(x)
    first, second = (torch.autograd.grad(result.square().sum(), x, retain_graph=True)[0] for _ in range(2))
    assert result.grad_fn.name() == "_JoinBackward" and torch.equal(first, second)
    for build in (block, shrinking):
        mine, _ = twice(build(Style()))
        result = mine(x)
        result.sum().backward(retain_graph=True)
        with pytest.raises(RuntimeError, match="differentiated only once"):
            result.sum().backward()


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in LARGE)) for name in MODELS])
def test_steps_in_bf16_lower_the_loss(name: str) -> None:
    """Channels-last, as training goes; every parameter is float32 and gets such a gradient. Four steps: after one alone the loss
    of Inception v4, at first a matter of its batch of eight, may be anywhere."""
    side = MODELS[name].smallest
    torch.manual_seed(0)
    model, _ = twice(create(Architecture(model=name, classes=5, channels=3, height=side, width=side)))
    images, labels = torch.randn(8, 3, side, side).to(memory_format=LAST), torch.arange(8) % 5

    def loss() -> Tensor:
        set_noise(model, 0, 0)
        with torch.autocast("cpu", torch.bfloat16):
            output: Output = model(images)
        assert output.logits.dtype == torch.bfloat16
        parts = (output.logits, *output.aux)
        weights = (1.0, *(0.4 for _ in output.aux))
        return torch.stack([w * F.cross_entropy(part.float(), labels) for w, part in zip(weights, parts)]).sum()

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(4):
        losses.append(loss())
        optimizer.zero_grad()
        losses[-1].backward()  # type: ignore[no-untyped-call]
        gradients = [weight.grad for weight in model.parameters()]
        assert all(gradient is not None and gradient.dtype == torch.float32 for gradient in gradients)
        optimizer.step()
    assert loss().item() < losses[0].item() - 0.3


def test_residual() -> None:
    torch.manual_seed(0)
    mine, theirs = twice(Residual(12, [[Conv(4, 1)], [Conv(5, 1), Conv(6, 3)]], Style(), scale=0.2))
    x = torch.randn(4, 12, 7, 7).to(memory_format=LAST)
    with switched_off():
        wanted = theirs(x)
    assert close(mine(x), wanted, 1e-5)


def test_nothing_is_held_after_a_step() -> None:
    mine, _ = twice(block(Style()))
    x = torch.randn(4, 24, 9, 9).to(memory_format=LAST)

    def tensors() -> int:
        gc.collect()
        return sum(1 for thing in gc.get_objects() if type(thing) is Tensor)

    mine(x).sum().backward()
    before = tensors()
    gc.disable()  # cycles would be found by the collector, too late for a step's memory
    try:
        for _ in range(3):
            mine(x).sum().backward()
            mine(x)
        left = sum(1 for thing in gc.get_objects() if type(thing) is Tensor)
    finally:
        gc.enable()
    assert left <= before


def test_stems_of_branches() -> None:
    names = {
        name: len(Branch(8, specs, Style()).stem())
        for name, specs in {
            "1×1": [Conv(4, 1)],
            "pooled": [Average(3), Conv(4, 1), Conv(4, 3)],
            "3×3": [Conv(4, 3)],
            "max": [Max(3), Conv(4, 1)],
            "ends": [Conv(4, 1), Fork((Conv(2, 1), Conv(2, 3)))],
        }.items()
    }
    assert names == {"1×1": 1, "pooled": 2, "3×3": 0, "max": 0, "ends": 1}
