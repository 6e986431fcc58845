"""The gap between batch and running statistics, and statistics measured anew."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from deeper.errors import UsageError
from deeper.models import Architecture, create
from deeper.models.batch_norm import Gap, by_batch, gap, layers_of, recalibrate


def small(momentum: float | None = 0.1) -> nn.Module:
    """Two kinds of batch norm, dropout, and a head that reads the mean of each channel."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8, momentum=momentum),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 8),
        nn.BatchNorm1d(8, momentum=momentum),
        nn.Linear(8, 4),
    )


def pictures(count: int = 40, batch: int = 10) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    images = 3 + 2 * torch.randn(count, 3, 8, 8, generator=generator)
    labels = torch.randint(0, 4, (count,), generator=generator)
    return list(zip(images.split(batch), labels.split(batch)))


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(model: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("momentum", [0.1, None])
def test_looking_changes_nothing(momentum) -> None:
    model = small(momentum).train()
    model[2].eval()
    before, modes = state(model), [module.training for module in model.modules()]
    seen: list[int] = []
    hook = model[1].register_forward_pre_hook(lambda layer, inputs: seen.append(1))
    assert gap(model, pictures()) is not None
    hook.remove()
    assert same(model, before)
    assert [module.training for module in model.modules()] == modes
    assert all(layer.momentum == momentum for layer in layers_of(model).values())
    assert len(seen) == 4  # with the batch's statistics; the other answer is measured by nobody
    assert not model[1]._forward_pre_hooks


def test_the_numbers_are_those_of_the_pictures() -> None:
    model = small()
    found = gap(model, pictures())
    assert found is not None
    model.eval()
    own, running, labels = [], [], []
    for images, targets in pictures():
        running.append(model(images))
        model[1].train(), model[7].train()
        own.append(model(images))
        model[1].eval(), model[7].eval()
        model[1].reset_running_stats(), model[7].reset_running_stats()
        labels.append(targets)
    by_own, by_running, wanted = torch.cat(own).detach(), torch.cat(running).detach(), torch.cat(labels)
    right, right_running = by_own.argmax(1) == wanted, by_running.argmax(1) == wanted
    assert (found.pictures, found.batch) == (40, 10)
    assert (found.batch_right, found.running_right) == (int(right.sum()), int(right_running.sum()))
    assert (found.lost, found.won) == (int((right & ~right_running).sum()), int((right_running & ~right).sum()))
    assert found.logit_difference == pytest.approx(float((by_own - by_running).abs().mean()), rel=1e-5)
    # Fresh statistics are mean 0 and variance 1.
    first = model[0](torch.cat([images for images, _ in pictures()]))
    mean, variance = first.detach().mean((0, 2, 3)), first.detach().var((0, 2, 3))
    drift = found.drifts[0]
    assert drift.layer == "1"
    assert drift.mean == pytest.approx(float(mean.abs().max()), rel=1e-4)
    assert drift.variance == pytest.approx(float(torch.maximum(variance, 1 / variance).max()), rel=1e-4)
    assert found.to_plain()["farthest"]["layer"] in {"1", "7"}


def test_measured_anew_the_gap_closes_and_statistics_are_exact() -> None:
    model = small()
    count = recalibrate(model, (images for images, _ in pictures()))
    assert count == 40
    first = model[0](torch.cat([images for images, _ in pictures()])).detach()
    torch.testing.assert_close(model[1].running_mean, first.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model[1].running_var, first.var((0, 2, 3)), rtol=1e-5, atol=1e-6)
    found = gap(model, pictures())
    assert found is not None and found.farthest.mean < 1e-4 and found.farthest.variance < 1.001
    # One batch of all pictures and its own statistics are then the same thing, up to n − 1.
    whole = [(torch.cat([images for images, _ in pictures()]), torch.cat([labels for _, labels in pictures()]))]
    recalibrate(model, [whole[0][0]])
    answered = gap(model, whole)
    assert answered is not None and answered.logit_difference < 0.05


def test_it_depends_on_nothing_but_weights_and_pictures() -> None:
    results = []
    for mode in (True, False):
        model = small().train(mode)
        torch.manual_seed(int(mode))
        recalibrate(model, (images for images, _ in pictures()))
        results.append(state(model))
        assert model.training is mode and int(model[1].num_batches_tracked) == 0
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_only_the_named_layers_move() -> None:
    model = small()
    recalibrate(model, [images for images, _ in pictures()], layers=["7"])
    assert torch.equal(model[1].running_mean, torch.zeros(8))
    assert not torch.equal(model[7].running_mean, torch.zeros(8))
    found = gap(model, pictures(), layers=["1"])
    assert found is not None and [drift.layer for drift in found.drifts] == ["1"]


def test_auxiliary_heads_keep_what_they_had_and_fused_layers_are_measured() -> None:
    architecture = Architecture(
        model="inception_v1", classes=3, channels=1, height=32, width=32, arguments={"momentum": 0.0003}
    )
    torch.manual_seed(0)
    model = create(architecture)
    before = state(model)
    images = torch.rand(32, 1, 32, 32)
    with torch.no_grad():
        untouched = model.eval()(images).logits
        with by_batch(model):
            inside = model(images).logits  # by the compiled kernels, where they are
    assert same(model, before)
    recalibrate(model, [images])
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {
        name for name in before if name.endswith(("running_mean", "running_var")) and not name.startswith("AuxLogits")
    }
    with torch.no_grad():
        answered = model(images).logits
    # Not equal: n − 1 against n, layer by layer.
    assert float((answered - inside).abs().mean()) < 0.4 * float((untouched - inside).abs().mean())


def test_where_only_auxiliary_heads_went_by_batches_nothing_is_to_be_compared() -> None:
    torch.manual_seed(0)
    model = create(Architecture(model="inception_v1", classes=3, channels=1, height=32, width=32))
    names = [name for name in layers_of(model) if name.startswith("AuxLogits")]
    assert names and gap(model, [(torch.rand(8, 1, 32, 32), torch.zeros(8, dtype=torch.int64))], layers=names) is None


def test_what_cannot_be() -> None:
    assert gap(nn.Linear(3, 2), []) is None
    assert gap(nn.BatchNorm2d(3, track_running_stats=False), []) is None
    model = small()
    before = state(model)
    with pytest.raises(UsageError, match="at least two pictures"):
        gap(model, [(images[:1], labels[:1]) for images, labels in pictures()])
    with pytest.raises(UsageError, match="at least two pictures"):
        recalibrate(model, [])
    assert same(model, before)


@pytest.mark.parametrize(
    ("pictures", "lost", "won", "differs"),
    [
        (500, 0, 0, False),
        (500, 4, 0, False),  # 0.8 points
        (500, 5, 0, True),
        (500, 30, 24, False),  # nearly as many won as lost: chance
        (500, 30, 5, True),
        (60, 1, 0, False),  # one picture
        (60, 4, 2, False),
        (60, 4, 0, True),
        (500, 0, 40, False),  # evaluation is better than training
    ],
)
def test_when_evaluation_differs(pictures, lost, won, differs) -> None:
    right = pictures // 2
    found = Gap(
        pictures=pictures,
        batch=50,
        batch_right=right + lost,
        running_right=right + won,
        lost=lost,
        won=won,
        logit_difference=math.pi,
        drifts=(),
    )
    assert found.differs is differs
