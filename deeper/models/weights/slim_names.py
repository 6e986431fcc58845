"""TF-Slim's names for weights → ours, which are its own but for a few that its files spell differently.

Sources: `tensorflow/models`, `research/slim/nets/inception_v{1,2,3,4}.py`, `inception_resnet_v2.py`. In
`InceptionV3/Mixed_5c/Branch_1` stand `Conv2d_0b_1x1` and `Conv_1_0c_5x5` where others have `Conv2d_0a_1x1` and
`Conv2d_0b_5x5`: hence branches by position, in the order of digit, letter and kernel.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from deeper.models.weights.keras_names import from_tensorflow
from deeper.models.weights.placed import Placed
from deeper.models.weights.torch_names import branch_scope

# The first part of every name of a checkpoint → the catalog's name.
SCOPES = {
    "InceptionV1": "inception_v1",
    "InceptionV2": "inception_v2",
    "InceptionV3": "inception_v3",
    "InceptionV4": "inception_v4",
    "InceptionResnetV2": "inception_resnet_v2",
}
# The last layer, by its names in the five networks, and those of the auxiliary head that are not ours.
_LAYERS = {
    "Logits/Conv2d_0c_1x1": "Logits",
    "Logits/Conv2d_1c_1x1": "Logits",
    "Logits/Logits": "Logits",
    "AuxLogits/Conv2d_2a": "AuxLogits.Conv2d_2a_5x5",
    "AuxLogits/Conv2d_2b_1x1": "AuxLogits.Logits",
    "AuxLogits/Aux_logits": "AuxLogits.Logits",
}
HEADS = (*(name for name in _LAYERS if name.startswith("Logits")), "Logits")
_KINDS = {
    "weights": ("convolution.weight", "weight"),
    "biases": ("convolution.bias", "bias"),
    "BatchNorm/gamma": ("norm.weight",),
    "BatchNorm/beta": ("norm.bias",),
    "BatchNorm/moving_mean": ("norm.running_mean",),
    "BatchNorm/moving_variance": ("norm.running_var",),
    "depthwise_weights": ("depthwise.weight",),
    "pointwise_weights": ("pointwise.weight",),
}
_NAME = re.compile(rf"(?P<layer>.+)/(?P<kind>{'|'.join(_KINDS)})")
_BRANCH = re.compile(r"(?P<block>.+)/Branch_(?P<branch>\d)/(?P<layer>[^/]+)")


def place(model: nn.Module, tensors: Mapping[str, Tensor]) -> Placed:
    """A checkpoint's tensors under the names of `model`; matrices of the last layer may be 1×1 kernels."""
    wanted = model.state_dict()
    positions = _positions(tensors)
    placed = Placed()
    for name, tensor in tensors.items():
        target = None
        match = _NAME.fullmatch(name.partition("/")[2])
        if match:
            scope: str | None = None
            with contextlib.suppress(AttributeError, IndexError, AssertionError):
                scope = _scope(model, match["layer"], positions)
            candidates = (f"{scope}.{leaf}" for leaf in _KINDS[match["kind"]])
            target = next((leaf for leaf in candidates if leaf in wanted), None)
            # The separable stem's 1×1 convolution has its bias under the layer's own name.
            if target is None and f"{scope}.pointwise.bias" in wanted and match["kind"] == "biases":
                target = f"{scope}.pointwise.bias"
        if target is not None:
            tensor = _turned(tensor, wanted[target], depthwise=".depthwise." in target)
        placed.put(name, target, tensor)
    return placed


def _scope(model: nn.Module, layer: str, positions: Mapping[str, int]) -> str:
    if layer in _LAYERS:
        return _LAYERS[layer]
    match = _BRANCH.fullmatch(layer)
    if match is None:
        return layer.replace("/", ".")
    return branch_scope(model, match["block"].replace("/", "."), int(match["branch"]), positions[layer])


def _positions(names: Iterable[str]) -> dict[str, int]:
    """Layer (`Mixed_5c/Branch_1/Conv_1_0c_5x5`) → its position among the convolutions of its branch."""
    branches: dict[str, set[str]] = {}
    for name in names:
        if (match := _NAME.fullmatch(name.partition("/")[2])) and _BRANCH.fullmatch(match["layer"]):
            branch, _, layer = match["layer"].rpartition("/")
            branches.setdefault(branch, set()).add(layer)
    return {
        f"{branch}/{layer}": position
        for branch, layers in branches.items()
        for position, layer in enumerate(sorted(layers, key=_order))
    }


def _order(layer: str) -> str:
    match = re.search(r"(\d[a-z]_)?\d+x\d+$", layer)
    return match[0] if match else layer


def _turned(tensor: Tensor, like: Tensor, *, depthwise: bool) -> Tensor:
    """In PyTorch's order of axes; a 1×1 kernel as the matrix it is where ours is one."""
    if depthwise and tensor.ndim == 4:
        height, width, inputs, multiplier = tensor.shape
        # Filter m of channel c comes out as channel c · multiplier + m in both.
        return tensor.permute(2, 3, 0, 1).reshape(inputs * multiplier, 1, height, width)
    turned = from_tensorflow(tensor)
    if turned.ndim == 4 and like.ndim == 2 and turned.shape[2:] == (1, 1):
        return turned.flatten(1)
    return turned
