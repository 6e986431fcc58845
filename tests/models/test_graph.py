"""TensorBoard's graph shows our scopes."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.utils.tensorboard._pytorch_graph import graph

from deeper.models import Architecture, create


@pytest.mark.parametrize(
    ("name", "size", "scope"),
    [
        ("nielsen", 28, "NielsenNet/Convolution[conv2]/Conv2d[convolution]"),
        ("inception_v3", 75, "Mixed[Mixed_5b]/Branch[Branch_1]/Convolution[Conv2d_0b_5x5]"),
    ],
)
def test_scopes(name: str, size: int, scope: str) -> None:
    model = create(Architecture(model=name, classes=10, channels=1, height=size, width=size)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error", torch.jit.TracerWarning)
        definition, _ = graph(model, torch.zeros(1, 1, size, size), use_strict_trace=False)
    assert any(scope in node.name for node in definition.node)
