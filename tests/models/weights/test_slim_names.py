"""TF-Slim's names of every network it has, with the oddities of its files, each placed once.

Sources: `tensorflow/models`, `research/slim/nets/`. `test_from_tensorflow.py` has the logits of v3.
"""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from deeper.models import Architecture, create
from deeper.models.weights.foreign import translated
from deeper.models.weights.opened import Opened
from deeper.models.weights.recognise import recognise
from tests.models.weights.slim_v3 import NAMES

SCOPES = {
    "inception_v1": "InceptionV1",
    "inception_v2": "InceptionV2",
    "inception_v3": "InceptionV3",
    "inception_v4": "InceptionV4",
    "inception_resnet_v2": "InceptionResnetV2",
}
# Ours → theirs, where the files do not follow the rule.
ODD = {
    "inception_v1": {
        "Logits": "Logits/Conv2d_0c_1x1",
        "Mixed_5b/Branch_2/Conv2d_0b_3x3": "Mixed_5b/Branch_2/Conv2d_0a_3x3",
    },
    "inception_v2": {"Logits": "Logits/Conv2d_1c_1x1"},
    "inception_v3": {"Logits": "Logits/Conv2d_1c_1x1", "AuxLogits/Logits": "AuxLogits/Conv2d_2b_1x1"},
    "inception_v4": {
        "Logits": "Logits/Logits",
        "AuxLogits/Conv2d_2a_5x5": "AuxLogits/Conv2d_2a",
        "AuxLogits/Logits": "AuxLogits/Aux_logits",
    },
    "inception_resnet_v2": {"Logits": "Logits/Logits"},
}
LEAVES = {
    "convolution.weight": "weights",
    "convolution.bias": "biases",
    "weight": "weights",
    "bias": "biases",
    "norm.bias": "BatchNorm/beta",
    "norm.running_mean": "BatchNorm/moving_mean",
    "norm.running_var": "BatchNorm/moving_variance",
    "depthwise.weight": "depthwise_weights",
    "pointwise.weight": "pointwise_weights",
    "pointwise.bias": "biases",
}


def theirs(model: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(tensors by TF-Slim's names and in its order of axes, the same by ours)."""
    shape = Architecture(model=model, classes=1001, channels=3, height=96, width=96, arguments={"preset": "slim"})
    ours = {key: value for key, value in create(shape).state_dict().items() if "num_batches" not in key}
    named: dict[str, Tensor] = {"global_step": torch.tensor(3)}
    for number, (key, tensor) in enumerate(ours.items()):
        tensor.fill_(float(number)) if tensor.ndim == 1 else tensor.flatten()[:2].fill_(float(number))
        leaf = next(leaf for leaf in sorted(LEAVES, key=len, reverse=True) if key.endswith(f".{leaf}"))
        layer = key.removesuffix(f".{leaf}").replace(".", "/").replace("/mixed/", "/")
        layer = ODD[model].get(layer, layer)
        turned = tensor
        if leaf == "depthwise.weight":
            turned = tensor.reshape(3, 8, 7, 7).permute(2, 3, 0, 1)
        elif tensor.ndim == 4:
            turned = tensor.permute(2, 3, 1, 0)
        elif tensor.ndim == 2:
            turned = (
                tensor.T
                if layer in ("Logits/Logits", "AuxLogits/Logits", "AuxLogits/Aux_logits")
                else tensor.T[None, None]
            )
        name = f"{SCOPES[model]}/{layer}/{LEAVES[leaf]}"
        assert name not in named
        named[name] = turned
    del named["global_step"]
    return named, ours


@pytest.mark.parametrize("model", SCOPES)
def test_every_name_has_its_place(model: str) -> None:
    named, ours = theirs(model)
    opened = Opened("tensorflow", "TensorFlow checkpoint", named)
    found = recognise(opened, "x.ckpt")
    assert (found.source, found.model, found.classes, found.channels) == ("slim", model, 1001, 3)
    assert found.arguments.get("auxiliary", False) == any(key.startswith("AuxLogits") for key in ours)
    placed = {key: tensor for key, tensor in translated(opened, found, "x.ckpt").items() if "num_batches" not in key}
    assert placed.keys() == ours.keys()
    assert all(torch.equal(tensor, ours[key]) for key, tensor in placed.items())


def test_the_odd_names_of_v3() -> None:
    named, ours = theirs("inception_v3")
    by_rule = [
        name.split("/", 1)[1].removesuffix("/weights")
        for name in named
        if re.search(r"(Conv2d|Branch).*/weights$", name)
    ]
    by_rule = [name for name in by_rule if "Logits" not in name]
    odd = dict(zip(by_rule, NAMES, strict=True))
    assert sum(rule != name for rule, name in odd.items()) >= 5
    renamed = {}
    for key, tensor in named.items():
        scope, rest = key.split("/", 1)
        layer, kind = re.fullmatch(r"(.+?)/(weights|biases|BatchNorm/\w+)", rest).groups()  # type: ignore[union-attr]
        renamed[f"{scope}/{odd.get(layer, layer)}/{kind}"] = tensor
    opened = Opened("tensorflow", "TensorFlow checkpoint", renamed)
    placed = translated(opened, recognise(opened, "x.ckpt"), "x.ckpt")
    assert all(torch.equal(placed[key], tensor) for key, tensor in ours.items())
