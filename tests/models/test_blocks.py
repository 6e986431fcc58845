from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from deeper.errors import UsageError
from deeper.models import MODELS, Architecture, create
from deeper.models.blocks import (
    AveragePool,
    Convolution,
    MaxPool,
    Style,
    initialise,
    pad_as_tensorflow,
    same_padding,
)
from deeper.models.catalog import expand
from deeper.models.mixed import Average, Branch, Conv, Fork, Max, Mixed, Residual


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    # From TensorFlow's documentation of SAME: total = max((ceil(size / stride) − 1) · stride + kernel − size, 0).
    [(224, 7, 2, 2, 3), (112, 3, 2, 0, 1), (113, 3, 2, 1, 1), (14, 2, 2, 0, 0), (7, 2, 2, 0, 1), (35, 3, 1, 1, 1)],
)
def test_tensorflow_same(size: int, kernel: int, stride: int, before: int, after: int) -> None:
    assert same_padding(size, kernel, stride) == (before, after)
    padded = pad_as_tensorflow(torch.ones(1, 1, size, size + 1), (kernel, kernel), (stride, stride))
    assert padded.shape[2] == size + before + after


def test_strided_convolution_pads_below_and_right() -> None:
    """On an even size SAME at stride 2 samples rows 1, 3, 5, … of the symmetric convolution, not 0, 2, 4, …."""
    torch.manual_seed(0)
    strided = Convolution(2, 3, 3, style=Style(batch_norm=False), stride=2)
    dense = Convolution(2, 3, 3, style=Style(batch_norm=False))
    dense.load_state_dict(strided.state_dict())
    images = torch.randn(1, 2, 8, 8)
    assert torch.allclose(strided(images), dense(images)[:, :, 1::2, 1::2], atol=1e-6)
    symmetric = Convolution(2, 3, 3, style=Style(batch_norm=False, tensorflow_padding=False), stride=2)
    symmetric.load_state_dict(strided.state_dict())
    assert torch.allclose(symmetric(images), dense(images)[:, :, ::2, ::2], atol=1e-6)


@pytest.mark.parametrize("size", [7, 8, 13])
@pytest.mark.parametrize("tensorflow", [True, False])
def test_max_pool_same_halves_rounding_up(size: int, tensorflow: bool) -> None:
    negative = -torch.rand(1, 1, size, size) - 1  # zeros in the padding would win
    pooled = MaxPool(3, 2, padding="same", tensorflow_padding=tensorflow)(negative)
    assert pooled.shape[2] == math.ceil(size / 2) if tensorflow or size % 2 == 0 else math.ceil((size - 3) / 2) + 1
    assert pooled.max() < 0
    assert MaxPool(3, 1, padding="same")(negative).shape == negative.shape


def test_average_pool_counts_padding_or_not() -> None:
    ones = torch.ones(1, 1, 4, 4)
    assert torch.equal(AveragePool(3)(ones), ones)
    assert AveragePool(3, counts_padding=True)(ones)[0, 0, 0, 0] == pytest.approx(4 / 9)


def test_batch_norm_without_gamma() -> None:
    layer = Convolution(3, 5, 1, style=Style())
    assert set(layer.state_dict()) == {
        "convolution.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    }
    assert sum(weight.numel() for weight in layer.parameters()) == 3 * 5 + 5
    with_gamma = Convolution(3, 5, 1, style=Style(gamma=True))
    with_gamma.load_state_dict(layer.state_dict(), strict=False)
    images = torch.randn(4, 3, 6, 6)
    assert torch.equal(layer(images), with_gamma(images))


@pytest.mark.parametrize(
    ("how", "deviation", "reach"),
    [
        # A normal cut at two deviations has 0.880 of its deviation: FACTS' 0.1 is that of the uncut one.
        ("truncated_normal", 0.0880, 0.2),
        ("variance_scaling", math.sqrt(2 / 1152), 2 * math.sqrt(2.6 / 1152)),
        ("glorot_uniform", math.sqrt(2 / (1152 + 2304)), math.sqrt(6 / (1152 + 2304))),
    ],
)
def test_initialisations(how: str, deviation: float, reach: float) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(128, 256, 3)
    initialise(layer, how)  # type: ignore[arg-type]
    assert layer.weight.std().item() == pytest.approx(deviation, rel=0.01)
    assert layer.weight.mean().item() == pytest.approx(0, abs=deviation / 100)
    assert 0.99 * reach < layer.weight.abs().max().item() <= reach * 1.0001
    assert layer.bias is not None and not layer.bias.any()


def test_branch_scopes() -> None:
    branch = Branch(8, [Conv(4, 1), Conv(6, (1, 7)), Conv(6, 3, stride=2, padding="valid")], Style())
    assert [name for name, _ in branch.named_children()] == ["Conv2d_0a_1x1", "Conv2d_0b_1x7", "Conv2d_1a_3x3"]
    pooled = Branch(8, [Average(3), Conv(4, 1)], Style())
    assert [name for name, _ in pooled.named_children()] == ["AvgPool_0a_3x3", "Conv2d_0b_1x1"]
    assert [name for name, _ in Branch(8, [Max(3, 2, "valid")], Style()).named_children()] == ["MaxPool_1a_3x3"]


def test_mixed_counts_channels() -> None:
    block = Mixed(8, [[Conv(4, 1)], [Conv(3, 1), Fork((Conv(5, (1, 3)), Conv(6, (3, 1))))], [Max(3)]], Style())
    assert block.outputs == 4 + 11 + 8
    assert block(torch.zeros(2, 8, 5, 5)).shape == (2, 23, 5, 5)


def test_residual_scale() -> None:
    block = Residual(4, [[Conv(2, 1)]], Style(), scale=0.5, activation=False).eval()
    x = torch.randn(1, 4, 3, 3)
    assert torch.allclose(block(x) - x, 0.5 * block.Conv2d_1x1(block.mixed(x)), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "torchvison"}, "inception_v3 has no preset 'torchvison'; did you mean 'torchvision'"),
        ({"initialisation": "truncated"}, "no initialisation 'truncated'; did you mean 'truncated_normal'"),
        ({"gamma": "yes"}, "gamma must be a bool such as False, got 'yes'"),
        ({"dropout": True}, "dropout must be a float"),
        ({"dropout": 1.5}, r"dropout must be in \[0, 1\)"),
        ({"momentum": 0}, "momentum must be above 0"),
        ({"auxilliary": False}, "did you mean 'auxiliary'"),
    ],
)
def test_impossible_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message), torch.device("meta"):
        create(Architecture(model="inception_v3", classes=5, channels=3, height=75, width=75, arguments=arguments))


def test_arguments_beside_a_preset_win() -> None:
    plain = expand("inception_v3", {"dropout": 0.3, "preset": "torchvision"})
    assert plain["dropout"] == 0.3 and plain["gamma"] is True and "preset" not in plain


@pytest.mark.parametrize(("name", "preset"), [(name, preset) for name in MODELS for preset in MODELS[name].presets])
def test_every_preset_builds_and_runs(name: str, preset: str) -> None:
    side = MODELS[name].smallest
    with torch.device("meta"):
        model = create(
            Architecture(model=name, classes=3, channels=3, height=side, width=side, arguments={"preset": preset})
        )
        assert model(torch.zeros(2, 3, side, side)).logits.shape == (2, 3)
