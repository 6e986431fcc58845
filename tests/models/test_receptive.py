"""What a value sees, against published figures and against what a gradient really reaches."""

from __future__ import annotations

import pytest
import torch

from deeper.models import Architecture, create
from deeper.models.receptive import receptive_fields


def of(name: str, size: int, channels: int = 3) -> Architecture:
    return Architecture(model=name, classes=10, channels=channels, height=size, width=size)


def test_inception_v3_sees_what_is_published() -> None:
    """Araujo et al. 2019, table: Inception v3 ends with a receptive field of 1311 pixels."""
    fields = receptive_fields(of("inception_v3", 299))
    assert fields["Conv2d_1a_3x3"] == (3, 3)
    assert fields["Mixed_7c"] == (1311, 1311)
    assert "Logits" not in fields and "AuxLogits" not in fields


def test_nielsen_by_hand() -> None:
    # 5; 2 more by a pool; 4 steps of 2 pixels; a pool over 2 values, 2 pixels apart.
    fields = receptive_fields(of("nielsen", 28, channels=1))
    assert fields["conv1"] == (5, 5) and fields["pool1"] == (6, 6)
    assert fields["conv2"] == (14, 14) and fields["pool2"] == (16, 16)


def test_a_gradient_reaches_exactly_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = receptive_fields(of("inception_v3", 299))["Mixed_5d"]
    # A maximum passes a gradient to one value of its window; a mean, to all.
    monkeypatch.setattr("deeper.models.blocks.F.max_pool2d", torch.nn.functional.avg_pool2d)
    model = create(of("inception_v3", 299)).eval()
    for weight in model.parameters():
        torch.nn.init.constant_(weight, 1e-2)  # nothing cancels, nothing is cut off by a ReLU
    kept: dict[str, torch.Tensor] = {}
    model.Mixed_5d.register_forward_hook(lambda module, given, made: kept.update(made=made))
    picture = torch.ones(1, 3, 299, 299, requires_grad=True)
    model(picture)
    kept["made"][0, :, 17, 17].sum().backward()
    assert picture.grad is not None
    reached = picture.grad[0].abs().amax(0) > 0
    rows, columns = reached.any(1).nonzero()[:, 0], reached.any(0).nonzero()[:, 0]
    seen = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
    assert seen == wanted
