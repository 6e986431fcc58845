"""What a network computes, operation by operation, found by running it: who feeds whom, with shapes and costs.

Nothing is known beforehand about any network: forward hooks say which module is running, PyTorch's dispatcher which
operation. Convolutions, pools, fully connected layers and what joins several streams become `Operation`s; norms,
activations, padding and reshapes only change values on the way and are noted on the operation before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

Kind = Literal[
    "convolution", "max_pool", "average_pool", "global_average", "linear", "concatenate", "add", "other", "input"
]

# Modules that count as one step on the way, whatever they compute inside.
_PASSING = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
# What is worth a word of what happens between two operations.
_NOTED = ("batch_norm", "relu", "silu", "gelu", "hardtanh", "sigmoid", "tanh")


@dataclass(kw_only=True)
class Operation:
    """One operation of a forward pass.

    `scope`: of the module that ran it, e.g. `Mixed_5b/Branch_1/Conv2d_0b_5x5/convolution`; empty for the network's own
    forward. `shape`: of its output without the batch, e.g. (288, 35, 35). `inputs`: numbers of the operations that feed
    it, 0 being the picture. `then`: what happens to its output before the next one, e.g. ["batch_norm", "relu"].
    """

    kind: Kind
    scope: str
    shape: tuple[int, ...]
    inputs: tuple[int, ...]
    kernel: tuple[int, int] | None = None
    stride: tuple[int, int] = (1, 1)
    groups: int = 1
    label: str = ""
    """What it is called where `kind` does not say it."""
    scale: float = 1.0
    """Of an addition: what the second summand is multiplied by."""
    multiply_adds: int = 0
    then: list[str] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    """Scopes of the modules that did it."""


def _pair(value: Sequence[int]) -> tuple[int, int]:
    return int(value[0]), int(value[-1])


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation on tensors below it; follows those that depend on the picture."""

    def __init__(self, picture: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = [Operation(kind="input", scope="", shape=tuple(picture.shape[1:]), inputs=())]
        self.running: list[tuple[str, nn.Module]] = []
        # Tensors are told apart by identity, so all have to live as long as this does.
        self._pictures = len(picture)
        self._made_by: dict[int, int] = {id(picture): 0}
        self._alive: list[Tensor] = [picture]

    def maker(self, tensor: Tensor) -> int | None:
        """The number of the operation that made a tensor; None, for what does not depend on the picture."""
        return self._made_by.get(id(tensor))

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        arguments: Sequence[Any] = (),
        keywords: Mapping[str, Any] | None = None,
    ) -> Any:
        result = function(*arguments, **(keywords or {}))
        given = [value for value in _flat(arguments) if isinstance(value, Tensor)]
        makers = list(dict.fromkeys(maker for value in given if (maker := self.maker(value)) is not None))
        made = [value for value in _flat([result]) if isinstance(value, Tensor)]
        if not makers or not made:
            return result
        name = str(function._overloadpacket).removeprefix("aten.").strip("_")
        scope, module = self.running[-1] if self.running else ("", None)
        operation = (
            None
            if isinstance(module, _PASSING)
            else _operation(name, arguments, keywords or {}, made[0], self._pictures)
        )
        if operation is None and len(makers) > 1 and not isinstance(module, _PASSING):
            operation = Operation(kind="other", scope=scope, shape=tuple(made[0].shape[1:]), inputs=(), label=name)
        joins_nothing = len(makers) == 1 and operation is not None and operation.kind in ("concatenate", "add")
        if operation is None or joins_nothing:
            maker = max(makers)
            self.operations[maker].passed.add(scope)
            passed = "batch_norm" if name.endswith("batch_norm") else name
            if passed in _NOTED:
                self.operations[maker].then.append(passed)
        else:
            operation.scope, operation.inputs = scope, tuple(makers)
            maker = len(self.operations)
            self.operations.append(operation)
        for tensor in made:
            self._made_by[id(tensor)] = maker
            self._alive.append(tensor)
        return result


def _flat(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _flat(value)
        else:
            yield value


def _operation(
    name: str, arguments: Sequence[Any], keywords: Mapping[str, Any], made: Tensor, pictures: int
) -> Operation | None:
    """An ATen call on so many pictures as an operation without scope and inputs; None where it is no step of its own."""
    shape = tuple(made.shape[1:])

    def step(kind: Kind) -> Operation:
        return Operation(kind=kind, scope="", shape=shape, inputs=())

    if name in ("convolution", "conv2d", "mkldnn_convolution", "cudnn_convolution"):
        weight = arguments[1]
        one = step("convolution")
        one.kernel = _pair(weight.shape[2:])
        one.stride = _pair(arguments[3] if name in ("convolution", "conv2d") else arguments[4])
        one.groups = int(arguments[8]) if name == "convolution" else 1
        one.multiply_adds = made[0].numel() * weight[0].numel()
        return one
    if name in ("max_pool2d", "max_pool2d_with_indices", "avg_pool2d"):
        one = step("average_pool" if name == "avg_pool2d" else "max_pool")
        one.kernel = _pair(arguments[1])
        one.stride = _pair(arguments[2]) if len(arguments) > 2 and arguments[2] else one.kernel
        return one
    if name in ("mean", "adaptive_avg_pool2d") and arguments[0].ndim == 4:
        if made.numel() == made.shape[0] * made.shape[1]:
            return step("global_average")
        one = step("average_pool")
        one.label = f"average pool to {shape[-2]}×{shape[-1]}"
        return one
    if name in ("addmm", "mm", "linear"):
        one = step("linear")
        factors = arguments[1] if name == "addmm" else arguments[0]
        # Of one picture, whose rows may be many (tokens).
        one.multiply_adds = made.numel() // pictures * int(factors.shape[-1])
        return one
    if name == "cat":
        return step("concatenate")
    if name == "add" and len(arguments) > 1 and isinstance(arguments[1], Tensor):
        one = step("add")
        one.scale = float(keywords.get("alpha", 1))
        return one
    return None


@contextmanager
def _scopes(model: nn.Module, running: list[tuple[str, nn.Module]]) -> Iterator[None]:
    """Keep the modules that are running on a stack, the innermost last."""

    def entering(scope: str) -> Callable[[nn.Module, Any], None]:
        return lambda module, inputs: running.append((scope, module))

    def leaving(module: nn.Module, inputs: Any, output: Any) -> None:
        running.pop()

    handles = []
    for name, module in model.named_modules():
        if name:
            handles.append(module.register_forward_pre_hook(entering(name.replace(".", "/"))))
            handles.append(module.register_forward_hook(leaving))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def follow(model: nn.Module, pictures: Tensor) -> tuple[list[Operation], tuple[int | None, ...]]:
    """Run `pictures` (N × C × H × W) through `model` in the mode it is in, without gradients.

    Returns the operations in the order in which they ran, and which of them made each tensor that `model` returned.
    """
    recorder = _Recorder(pictures)
    with torch.no_grad(), _scopes(model, recorder.running), recorder:
        returned = model(pictures)
    tensors = [value for value in _flat([returned]) if isinstance(value, Tensor)]
    return recorder.operations, tuple(recorder.maker(tensor) for tensor in tensors)
