"""Our networks under a preset give a reference's logits with the reference's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeper.errors import WeightsError
from deeper.models import Architecture, Output, create
from deeper.models.weights import translate
from tests.models.parity.references import assert_parity, pictures, randomise, references

CLASSES = 40

CASES = [
    ("torchvision", "inception_v1", 224),
    ("torchvision", "inception_v1", 112),
    ("torchvision", "inception_v3", 299),
    ("torchvision", "inception_v3", 75),
    ("timm", "inception_v3", 299),
    ("timm", "inception_v4", 299),
    ("timm", "inception_v4", 150),
    ("timm", "inception_resnet_v2", 299),
    ("timm", "inception_resnet_v2", 75),
]


def reference(source: str, name: str) -> nn.Module:
    torchvision, timm = references()
    if source == "timm":
        return randomise(timm.create_model(name, num_classes=CLASSES))
    kinds = {"inception_v1": torchvision.models.GoogLeNet, "inception_v3": torchvision.models.Inception3}
    return randomise(kinds[name](num_classes=CLASSES, init_weights=False))


def ours(source: str, name: str, size: int, state: Mapping[str, Tensor], **arguments: Any) -> nn.Module:
    plain = {"preset": source, **arguments}
    model = create(
        Architecture(model=name, classes=CLASSES, channels=3, height=size, width=size, arguments=plain)
    ).eval()
    model.load_state_dict(translate(model, name, state, source))
    return model


@pytest.mark.parametrize(("source", "name", "size"), CASES)
def test_logits(source: str, name: str, size: int) -> None:
    theirs = reference(source, name)
    model = ours(source, name, size, theirs.state_dict())
    images = pictures(size)
    with torch.no_grad():
        assert_parity(model(images).logits, theirs(images))


@pytest.mark.parametrize("name", ["inception_v1", "inception_v3"])
def test_auxiliary_logits(name: str) -> None:
    """torchvision's auxiliary heads. Only the network itself is told that it trains, which makes its heads speak; batch
    norm and dropout below stay as in evaluation."""
    theirs = reference("torchvision", name)
    model = ours("torchvision", name, 299, theirs.state_dict())
    for network in (theirs, model):
        network.training = True
    size = 224 if name == "inception_v1" else 299
    with torch.no_grad():
        output, wanted = model(pictures(size)), theirs(pictures(size))
    assert isinstance(output, Output)
    theirs_aux = [wanted.aux_logits1, wanted.aux_logits2] if name == "inception_v1" else [wanted.aux_logits]
    assert len(output.aux) == len(theirs_aux)
    for ours_aux, their_aux in zip(output.aux, theirs_aux, strict=True):
        assert_parity(ours_aux, their_aux)


@pytest.mark.parametrize(
    ("source", "name", "argument"),
    [
        ("torchvision", "inception_v3", {"average_padding": False}),
        ("timm", "inception_v4", {"average_padding": True}),
        ("timm", "inception_resnet_v2", {"epsilon": 0.01}),
    ],
)
def test_the_differences_matter(source: str, name: str, argument: dict[str, Any]) -> None:
    """A preset with one argument changed misses parity: the test above can fail."""
    theirs = reference(source, name)
    model = ours(source, name, 75, theirs.state_dict(), **argument)
    images = pictures(75)
    with torch.no_grad():
        logits, wanted = model(images).logits, theirs(images)
    assert (logits - wanted).norm() / wanted.norm() > 1e-3


def test_every_key_is_accounted_for() -> None:
    theirs = reference("torchvision", "inception_v3")
    state = theirs.state_dict()
    model = create(
        Architecture(
            model="inception_v3",
            classes=CLASSES,
            channels=3,
            height=75,
            width=75,
            arguments={"preset": "torchvision"},
        )
    )
    placed = translate(model, "inception_v3", state, "torchvision")
    assert set(placed) == set(model.state_dict())
    assert len(placed) == len(state)
    with pytest.raises(WeightsError, match=r"no place for Mixed_9z\.branch1x1\.conv\.weight"):
        translate(model, "inception_v3", {**state, "Mixed_9z.branch1x1.conv.weight": torch.ones(1)}, "torchvision")
    without = {key: value for key, value in state.items() if key != "fc.bias"}
    with pytest.raises(WeightsError, match=r"nothing for Logits\.bias"):
        translate(model, "inception_v3", without, "torchvision")
    with pytest.raises(WeightsError, match=r"Logits\.weight is 3 × 2048, wanted 40 × 2048"):
        translate(model, "inception_v3", {**state, "fc.weight": torch.zeros(3, 2048)}, "torchvision")
    with pytest.raises(WeightsError, match="no weights of torchvision for inception_v4"):
        translate(model, "inception_v4", state, "torchvision")


@pytest.mark.parametrize(
    ("source", "name", "parameters"),
    [
        # torchvision's documentation counts inception_v3 with and googlenet without auxiliary heads.
        ("torchvision", "inception_v3", 27_161_264),
        ("torchvision", "inception_v1", 13_004_888),
        ("timm", "inception_v4", 42_679_816),
        ("timm", "inception_resnet_v2", 55_843_464),
    ],
)
def test_published_parameter_counts(source: str, name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = create(
            Architecture(model=name, classes=1000, channels=3, height=299, width=299, arguments={"preset": source})
        )
    assert sum(weight.numel() for weight in model.parameters()) == parameters
