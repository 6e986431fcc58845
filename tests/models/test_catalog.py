from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from deeper.errors import UsageError
from deeper.models import MODELS, Architecture, create, native_size
from deeper.models.nielsen import NielsenNet
from deeper.values import from_plain, to_plain


def architecture(model: str = "nielsen", **arguments: object) -> Architecture:
    return Architecture(model=model, classes=10, channels=1, height=28, width=28, arguments=arguments)


def test_round_trip_through_json() -> None:
    value = architecture(dropout=0.4, sizes=(1, 2))
    assert Architecture.from_plain(json.loads(json.dumps(value.to_plain()))) == value
    assert from_plain(Architecture, to_plain(value)) == value


@pytest.mark.parametrize("field", ["classes", "channels", "height", "width"])
@pytest.mark.parametrize("value", [0, -3, 2.5, True])
def test_impossible_sizes_are_refused(field: str, value: object) -> None:
    sizes = {"classes": 10, "channels": 1, "height": 28, "width": 28, field: value}
    with pytest.raises(UsageError, match=f"{field} must be a whole number"):
        Architecture(model="nielsen", **sizes)  # type: ignore[arg-type]


def test_arguments_without_plain_form_are_refused() -> None:
    with pytest.raises(UsageError, match="arguments must be numbers, texts"):
        architecture(thing=object())


def test_architecture_needs_no_torch() -> None:
    code = "import sys, deeper.models.architecture; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_create_passes_arguments() -> None:
    model = create(architecture(dropout=0.25, hidden=50))
    assert isinstance(model, NielsenNet)
    assert model.dropout1.probability == 0.25
    assert model.full1.out_features == 50


@pytest.mark.parametrize("name", ["nielsenn", "Nielsen", "neilsen"])
def test_wrong_name_gets_the_nearest(name: str) -> None:
    with pytest.raises(UsageError, match="did you mean 'nielsen'"):
        create(architecture(name))


def test_wrong_argument_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="nielsen has no argument 'droput'; did you mean 'dropout'"):
        create(architecture(droput=0.5))


def test_native_sizes_are_at_least_the_smallest() -> None:
    for name, entry in MODELS.items():
        assert native_size(name)[0] == entry.native >= entry.smallest
    assert native_size("package.module:Class")[0] is None


def test_presets_name_arguments_that_exist() -> None:
    for entry in MODELS.values():
        for preset in entry.presets.values():
            assert set(preset) <= set(entry.arguments())


def test_unknown_attribute_of_the_package() -> None:
    import deeper.models

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        deeper.models.nothing  # noqa: B018


def test_pool_before_relu_is_the_published_order() -> None:
    """Values and gradients equal those of conv, ReLU, pool."""
    torch.manual_seed(0)
    model = NielsenNet(classes=10).double().eval()
    images = torch.randn(3, 1, 28, 28, dtype=torch.double)

    def published() -> torch.Tensor:
        x = torch.max_pool2d(torch.relu(model.conv1(images)), 2)
        x = torch.max_pool2d(torch.relu(model.conv2(x)), 2).flatten(1)
        x = torch.relu(model.full1(x))
        logits: torch.Tensor = model.logits(torch.relu(model.full2(x)))
        return logits

    ours = model(images).logits
    assert torch.allclose(ours, published(), atol=1e-12)
    gradients = torch.autograd.grad(ours.square().sum(), list(model.parameters()))
    wanted = torch.autograd.grad(published().square().sum(), list(model.parameters()))
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(gradients, wanted, strict=True))


def test_nielsen_has_the_published_parameters() -> None:
    """20·(25+1) + 40·(20·25+1) + 1000·1001 + 1000·1001 + 10·1001 (FACTS §2)."""
    model = create(architecture())
    assert sum(weight.numel() for weight in model.parameters()) == 520 + 20_040 + 1_001_000 + 1_001_000 + 10_010


def test_another_size_than_built_for_is_refused() -> None:
    with pytest.raises(UsageError, match="built for 28×28 pixels, got 32×28"):
        create(architecture())(torch.zeros(1, 1, 32, 28))


def test_unequal_sides() -> None:
    model = create(Architecture(model="nielsen", classes=3, channels=2, height=20, width=33))
    assert model(torch.zeros(2, 2, 20, 33)).logits.shape == (2, 3)
