"""Endpoint shapes and parameter counts as TF-Slim's own tests publish them (research/slim/nets/inception_*_test.py)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from deeper.errors import UsageError
from deeper.models import MODELS, Architecture, create
from deeper.models.describe import describe

V1 = {
    "Conv2d_1a_7x7": (64, 112),
    "MaxPool_2a_3x3": (64, 56),
    "Conv2d_2b_1x1": (64, 56),
    "Conv2d_2c_3x3": (192, 56),
    "MaxPool_3a_3x3": (192, 28),
    "Mixed_3b": (256, 28),
    "Mixed_3c": (480, 28),
    "MaxPool_4a_3x3": (480, 14),
    **dict.fromkeys(("Mixed_4b", "Mixed_4c", "Mixed_4d"), (512, 14)),
    "Mixed_4e": (528, 14),
    "Mixed_4f": (832, 14),
    "MaxPool_5a_2x2": (832, 7),
    "Mixed_5b": (832, 7),
    "Mixed_5c": (1024, 7),
}
V2 = {
    "Conv2d_1a_7x7": (64, 112),
    "MaxPool_2a_3x3": (64, 56),
    "Conv2d_2b_1x1": (64, 56),
    "Conv2d_2c_3x3": (192, 56),
    "MaxPool_3a_3x3": (192, 28),
    "Mixed_3b": (256, 28),
    "Mixed_3c": (320, 28),
    **dict.fromkeys(("Mixed_4a", "Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e"), (576, 14)),
    **dict.fromkeys(("Mixed_5a", "Mixed_5b", "Mixed_5c"), (1024, 7)),
}
STEM = {
    "Conv2d_1a_3x3": (32, 149),
    "Conv2d_2a_3x3": (32, 147),
    "Conv2d_2b_3x3": (64, 147),
    "MaxPool_3a_3x3": (64, 73),
    "Conv2d_3b_1x1": (80, 73),
    "Conv2d_4a_3x3": (192, 71),
    "MaxPool_5a_3x3": (192, 35),
}
V3 = {
    **STEM,
    "Mixed_5b": (256, 35),
    "Mixed_5c": (288, 35),
    "Mixed_5d": (288, 35),
    **dict.fromkeys(("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), (768, 17)),
    "Mixed_7a": (1280, 8),
    "Mixed_7b": (2048, 8),
    "Mixed_7c": (2048, 8),
}
V4 = {
    "Conv2d_1a_3x3": (32, 149),
    "Conv2d_2a_3x3": (32, 147),
    "Conv2d_2b_3x3": (64, 147),
    "Mixed_3a": (160, 73),
    "Mixed_4a": (192, 71),
    **dict.fromkeys(("Mixed_5a", "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_5e"), (384, 35)),
    **{f"Mixed_6{letter}": (1024, 17) for letter in "abcdefgh"},
    **{f"Mixed_7{letter}": (1536, 8) for letter in "abcd"},
}
# TF-Slim's PreAuxLogits is the output of Repeat_1.
RESNET = {
    **STEM,
    "Mixed_5b": (320, 35),
    "Mixed_6a": (1088, 17),
    "Repeat_1": (1088, 17),
    "Mixed_7a": (2080, 8),
    "Conv2d_7b_1x1": (1536, 8),
}
# arXiv 1611.03530, figure 3.
SMALL = {
    "Conv2d_1a_3x3": (96, 28),
    "Mixed_3a": (64, 28),
    "Mixed_3b": (80, 28),
    "Mixed_3c": (160, 14),
    **dict.fromkeys(("Mixed_4a", "Mixed_4b", "Mixed_4c"), (160, 14)),
    "Mixed_4d": (144, 14),
    "Mixed_4e": (240, 7),
    **dict.fromkeys(("Mixed_5a", "Mixed_5b"), (336, 7)),
}
TABLES = {
    "inception_small": SMALL,
    "inception_v1": V1,
    "inception_v2": V2,
    "inception_v3": V3,
    "inception_v4": V4,
    "inception_resnet_v2": RESNET,
}


def build(name: str, preset: str = "slim", **arguments: Any) -> nn.Module:
    with torch.device("meta"):
        plain = {"preset": preset, **arguments} if MODELS[name].presets else arguments
        return create(Architecture(model=name, classes=1000, channels=3, height=299, width=299, arguments=plain))


def endpoints(model: nn.Module, height: int, width: int) -> dict[str, tuple[int, ...]]:
    """The output shape of every direct child that ran, in order."""
    shapes: dict[str, tuple[int, ...]] = {}

    def follow(scope: str, module: nn.Module) -> None:
        module.register_forward_hook(lambda module, inputs, output: shapes.__setitem__(scope, tuple(output.shape)))

    for scope, child in model.named_children():
        follow(scope, child)
    with torch.no_grad():
        model(torch.zeros(2, 3, height, width, device="meta"))
    return shapes


@pytest.mark.parametrize("name", TABLES)
def test_native_size(name: str) -> None:
    size = MODELS[name].native
    found = endpoints(build(name).eval(), size, size)
    table = TABLES[name]
    for scope, (channels, side) in table.items():
        assert found[scope] == (2, channels, side, side), scope
    assert [scope for scope in found if scope in table] == list(table)
    assert found["Logits"] == (2, 1000)


@pytest.mark.parametrize(
    ("name", "height", "width", "scope", "shape"),
    [
        # Half size and free sizes: testHalfSizeImages, testGlobalPoolUnknownImageShape.
        ("inception_v1", 112, 112, "Mixed_5c", (1024, 4, 4)),
        ("inception_v1", 250, 300, "Mixed_5c", (1024, 8, 10)),
        ("inception_v2", 112, 112, "Mixed_5c", (1024, 4, 4)),
        ("inception_v2", 250, 300, "Mixed_5c", (1024, 8, 10)),
        ("inception_v3", 150, 150, "Mixed_7c", (2048, 3, 3)),
        ("inception_v3", 400, 600, "Mixed_7c", (2048, 11, 17)),
        ("inception_v4", 150, 150, "Mixed_7d", (1536, 3, 3)),
        ("inception_v4", 350, 400, "Mixed_7d", (1536, 9, 11)),
        ("inception_resnet_v2", 150, 150, "Conv2d_7b_1x1", (1536, 3, 3)),
        ("inception_resnet_v2", 400, 600, "Conv2d_7b_1x1", (1536, 11, 17)),
        # The minimum.
        ("inception_v1", 32, 32, "Mixed_5c", (1024, 1, 1)),
        ("inception_v2", 32, 32, "Mixed_5c", (1024, 1, 1)),
        ("inception_v3", 75, 75, "Mixed_7c", (2048, 1, 1)),
        ("inception_v4", 75, 75, "Mixed_7d", (1536, 1, 1)),
        ("inception_resnet_v2", 75, 75, "Conv2d_7b_1x1", (1536, 1, 1)),
    ],
)
def test_other_sizes(name: str, height: int, width: int, scope: str, shape: tuple[int, int, int]) -> None:
    assert endpoints(build(name).eval(), height, width)[scope] == (2, *shape)


@pytest.mark.parametrize("name", ["inception_v3", "inception_v4", "inception_resnet_v2"])
def test_one_pixel_below_the_minimum_cannot_work(name: str) -> None:
    """The stated minimum is the real one: without the check, 74 pixels leave nothing for the last reduction."""
    model = build(name).eval()
    x = torch.zeros(1, 3, 74, 74, device="meta")
    with pytest.raises(RuntimeError, match="(?i)kernel size|output size|too small"):
        for scope, child in model.named_children():
            if not scope.startswith(("Aux", "Dropout", "Logits")):
                x = child(x)


@pytest.mark.parametrize(
    ("name", "count"), [("inception_v1", 5_607_184), ("inception_v2", 10_173_112), ("inception_v3", 21_802_784)]
)
def test_slim_parameter_counts(name: str, count: int) -> None:
    """testModelHasExpectedNumberOfParameters: the trunk's convolutions, betas and moving statistics."""
    state = build(name).state_dict()
    trunk = [
        tensor
        for key, tensor in state.items()
        if not key.startswith(("AuxLogits", "Logits")) and not key.endswith("num_batches_tracked")
    ]
    assert sum(tensor.numel() for tensor in trunk) == count


def test_v3_convolutions_and_batch_norm_channels() -> None:
    """FACTS: without logits and auxiliary head 21,751,136 convolution weights and 17,216 batch-norm channels."""
    state = {key: value for key, value in build("inception_v3").state_dict().items() if not key.startswith("Aux")}
    assert sum(value.numel() for key, value in state.items() if key.endswith("convolution.weight")) == 21_751_136
    assert sum(value.numel() for key, value in state.items() if key.endswith("norm.bias")) == 17_216


@pytest.mark.parametrize(
    ("name", "multiply_adds"),
    # torchvision's documentation: 1.498 and 5.713 billion; timm's: 12.28 and 13.18 with its own counting of pools.
    [("inception_v1", 1.498), ("inception_v3", 5.713), ("inception_v4", 12.25), ("inception_resnet_v2", 13.16)],
)
def test_multiply_adds(name: str, multiply_adds: float) -> None:
    size = MODELS[name].native
    description = describe(Architecture(model=name, classes=1000, channels=3, height=size, width=size))
    assert description.multiply_adds / 1e9 == pytest.approx(multiply_adds, abs=0.006)


@pytest.mark.parametrize("size", [75, 128, 299, 350])
@pytest.mark.parametrize("name", ["inception_v3", "inception_v4", "inception_resnet_v2", "inception_v1"])
def test_auxiliary_heads_take_every_size_with_one_set_of_weights(name: str, size: int) -> None:
    model = build(name, "paper").train()
    output = model(torch.zeros(2, 3, size, size, device="meta"))
    assert [tuple(logits.shape) for logits in output.aux] == [(2, 1000)] * (2 if name == "inception_v1" else 1)


@pytest.mark.parametrize("name", ["inception_v1", "inception_v3", "inception_v4", "inception_resnet_v2"])
def test_auxiliary_heads_can_be_left_out(name: str) -> None:
    model = build(name, "paper", auxiliary=False).train()
    assert model(torch.zeros(2, 3, 299, 299, device="meta")).aux == ()
    assert not any("Aux" in scope for scope, _ in model.named_modules())


def test_scopes_are_those_of_slim() -> None:
    scopes = {
        layer.scope
        for layer in describe(Architecture(model="inception_v3", classes=10, channels=3, height=299, width=299)).layers
    }
    assert "Mixed_5b/Branch_1/Conv2d_0b_5x5/convolution" in scopes
    assert "Mixed_6b/Branch_2/Conv2d_0e_1x7/norm" in scopes
    assert "Mixed_7a/Branch_0/Conv2d_1a_3x3/activation" in scopes
    assert "Mixed_5b/Branch_3/AvgPool_0a_3x3" in scopes


# Figure 5 of arXiv 1502.03167 by TF-Slim's names: 1×1; 3×3 reduce and 3×3; double 3×3 reduce and double 3×3; pool and
# projection. Its pool projections of (4c) and (4d), 128, contradict its own 576 outputs: 96 there, as in TF-Slim.
FIGURE_5 = {
    "Mixed_3b": (64, (64, 64), (64, 96), ("AveragePool", 32)),
    "Mixed_3c": (64, (64, 96), (64, 96), ("AveragePool", 64)),
    "Mixed_4a": (None, (128, 160), (64, 96), ("MaxPool", None)),
    "Mixed_4b": (224, (64, 96), (96, 128), ("AveragePool", 128)),
    "Mixed_4c": (192, (96, 128), (96, 128), ("AveragePool", 128)),
    "Mixed_4d": (160, (128, 160), (128, 160), ("AveragePool", 96)),
    "Mixed_4e": (96, (128, 192), (160, 192), ("AveragePool", 96)),
    "Mixed_5a": (None, (128, 192), (192, 256), ("MaxPool", None)),
    "Mixed_5b": (352, (192, 320), (160, 224), ("AveragePool", 128)),
    "Mixed_5c": (352, (192, 320), (192, 224), ("MaxPool", 128)),
}


def test_the_small_ones_parameters_are_those_of_its_papers_table() -> None:
    """arXiv 1611.03530, table 1: 1,649,402 with ten classes."""
    with torch.device("meta"):
        model = create(Architecture(model="inception_small", classes=10, channels=3, height=28, width=28))
    assert sum(weight.numel() for weight in model.parameters()) == 1_649_402


@pytest.mark.parametrize(("side", "last"), [(8, 2), (12, 3), (27, 7), (32, 8), (75, 19)])
def test_the_small_one_takes_other_sizes(side: int, last: int) -> None:
    assert endpoints(build("inception_small").eval(), side, side)["Mixed_5b"] == (2, 336, last, last)


def test_half_as_wide_is_a_quarter_of_the_small_one() -> None:
    whole, half = (build("inception_small", depth_multiplier=share) for share in (1.0, 0.5))
    counts = [sum(weight.numel() for weight in model.Mixed_4a.parameters()) for model in (whole, half)]
    assert counts[0] / counts[1] == pytest.approx(4, rel=0.01)
    with pytest.raises(UsageError, match="depth_multiplier must be above 0"):
        build("inception_small", depth_multiplier=0.0)


def test_v2_has_the_columns_of_its_papers_figure() -> None:
    model = build("inception_v2", "paper")
    assert tuple(model.Conv2d_1a_7x7.convolution.weight.shape) == (64, 3, 7, 7)
    for name, (one, three, double, (pool, projection)) in FIGURE_5.items():
        shrinks = one is None
        wanted = [] if shrinks else [[(one, 1, 1)]]
        last = 2 if shrinks else 1
        wanted.append([(three[0], 1, 1), (three[1], 3, last)])
        wanted.append([(double[0], 1, 1), (double[1], 3, 1), (double[1], 3, last)])
        wanted.append([] if projection is None else [(projection, 1, 1)])
        block = getattr(model, name)
        branches = [
            [
                (layer.out_channels, layer.kernel_size[0], layer.stride[0])
                for layer in branch.modules()
                if isinstance(layer, nn.Conv2d)
            ]
            for branch in block.children()
        ]
        assert branches == wanted, name
        *_, pooling = block.children()
        kinds = [type(layer).__name__ for layer in pooling.modules()]
        assert [kind for kind in kinds if kind.endswith("Pool")] == [pool], name
