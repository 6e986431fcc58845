"""Keras' names for weights → ours, and its and TensorFlow's order of axes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from deeper.models.blocks import Convolution
from deeper.models.weights.placed import Placed, check


def from_tensorflow(tensor: Tensor) -> Tensor:
    """Kernels of height × width × inputs × outputs and matrices of inputs × outputs in PyTorch's order."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(tensor.ndim)
    return tensor.permute(axes) if axes else tensor


def in_order(model: nn.Module) -> Iterator[tuple[str, Convolution]]:
    """The convolutions of the trunk in the order of the figure, which is the order in which Keras creates its own."""
    for scope, module in model.named_modules():
        if isinstance(module, Convolution) and not scope.startswith("AuxLogits"):
            yield scope, module


def place(model: nn.Module, layers: Mapping[str, Mapping[str, Tensor]]) -> Placed:
    """Keras' weights under the names of `model`. `layers`: layer name → variable name → array, as its `.h5` files have.

    Keras numbers its layers as they are created (conv2d, conv2d_1, …; the count need not begin at 0), so they are
    taken in that order. Kernels come as height × width × inputs × outputs.
    """

    def numbered(stem: str) -> list[str]:
        found = [layer for layer in layers if re.fullmatch(rf"{stem}(_\d{{1,6}})?", layer)]
        return sorted(found, key=lambda layer: int(layer[len(stem) + 1 :] or 0))

    wanted = model.state_dict()
    placed = Placed()
    used: set[tuple[str, str]] = set()

    def put(layer: str, scope: str, names: Mapping[str, str]) -> None:
        for theirs, ours in names.items():
            if theirs in layers.get(layer, {}) and f"{scope}.{ours}" in wanted:
                used.add((layer, theirs))
                tensor = torch.as_tensor(layers[layer][theirs])
                placed.put(f"{layer}/{theirs}", f"{scope}.{ours}", from_tensorflow(tensor))

    norm = {
        "gamma": "norm.weight",
        "beta": "norm.bias",
        "moving_mean": "norm.running_mean",
        "moving_variance": "norm.running_var",
    }
    convolutions, norms = numbered("conv2d"), numbered("batch_normalization")
    plain = zip(convolutions, norms, strict=False)
    for scope, _ in in_order(model):
        residual = re.search(r"(block\d+_\d+|Block8)\.Conv2d_1x1$", scope)
        if residual:
            block = residual[1].replace("Block8", "block8_10")
            put(f"{block}_conv", scope, {"kernel": "convolution.weight", "bias": "convolution.bias"})
        elif scope == "Conv2d_7b_1x1":
            put("conv_7b", scope, {"kernel": "convolution.weight"})
            put("conv_7b_bn", scope, norm)
        elif pair := next(plain, None):
            put(pair[0], scope, {"kernel": "convolution.weight"})
            put(pair[1], scope, norm)
    put("predictions", "Logits", {"kernel": "weight", "bias": "bias"})
    for layer, variables in layers.items():
        placed.unplaced += [f"{layer}/{variable}" for variable in variables if (layer, variable) not in used]
    return placed


def from_keras_arrays(model: nn.Module, name: str, layers: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """`place`, with everything accounted for.

    Raises: WeightsError, for layers without a place, missing weights and wrong shapes.
    """
    placed = place(model, layers)
    check(name, "keras", placed, model.state_dict())
    return placed.tensors
