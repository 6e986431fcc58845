"""What leaves each layer in one forward pass, and how much of it is zero behind a rectifier.

A rectifier is often no module but a call, `functional.relu(self.pool1(x))`; so the calls are watched, not the
modules, and such a one is named after the layer that it rectifies: `pool1/relu`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from deeper.monitor.histograms import dense
from deeper.monitor.scopes import has_activations, is_leaf, layer_name, own_part
from deeper.training.events import DetailDone

# Of a layer's activations at most so many values are counted (whole pictures, at least one).
ACTIVATION_VALUES = 1 << 18
_RECTIFIERS = {
    F.relu,
    F.relu6,
    F.relu_,
    torch.relu,
    torch.relu_,
    Tensor.relu,
    Tensor.relu_,
}


class _RectifierCalls(TorchFunctionMode):
    """Calls `seen(input, output)` for every rectifier that is applied while this mode is on."""

    def __init__(self, seen: Callable[[Tensor, Tensor], None]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _RECTIFIERS and args and isinstance(result, Tensor):
            self.seen(args[0], result)
        return result


class ActivationRecorder:
    """Watches one forward pass: `attach` before it, `take` after it.

    Only copies of a few pictures are kept (`ACTIVATION_VALUES` per layer), so the memory of a step hardly grows.
    """

    def __init__(self) -> None:
        self._handles: list[RemovableHandle] = []
        self._mode: _RectifierCalls | None = None
        self._running: str | None = None
        # The layer that made a tensor, by the tensor's identity; the tensors are held, so identities stay unique.
        self._makers: dict[int, tuple[str, Tensor]] = {}
        self._activations: dict[str, Tensor] = {}
        self._zeros: dict[str, Tensor] = {}

    def attach(self, model: nn.Module) -> None:
        """Watch the next forward pass of `model`."""
        self.detach()
        model = own_part(model)
        self._handles.append(model.register_forward_pre_hook(self._begin))
        self._handles.append(model.register_forward_hook(self._end, always_call=True))
        for name, module in model.named_modules():
            # Compiled ones take no hooks.
            if name and is_leaf(module) and not isinstance(module, torch.jit.ScriptModule):
                self._handles.append(module.register_forward_pre_hook(self._entering(layer_name(name))))
                self._handles.append(module.register_forward_hook(self._leaving(layer_name(name))))

    def _begin(self, module: nn.Module, inputs: object) -> None:
        self._mode = _RectifierCalls(self._rectified)
        self._mode.__enter__()  # type: ignore[no-untyped-call]

    def _end(self, module: nn.Module, inputs: object, output: object) -> None:
        mode, self._mode = self._mode, None
        if mode is not None:
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        self._makers.clear()

    def _entering(self, layer: str) -> Callable[[nn.Module, object], None]:
        def enter(module: nn.Module, inputs: object) -> None:
            self._running = layer

        return enter

    def _leaving(self, layer: str) -> Callable[[nn.Module, object, object], None]:
        def leave(module: nn.Module, inputs: object, output: object) -> None:
            self._running = None
            if isinstance(output, Tensor):
                self._makers[id(output)] = (layer, output)
                if has_activations(module):
                    self._keep(layer, output)

        return leave

    def _rectified(self, before: Tensor, after: Tensor) -> None:
        if self._running is not None:  # inside a layer, whose output `_leaving` keeps
            layer = self._running
        else:
            maker = self._makers.get(id(before))
            layer = f"{maker[0]}/relu" if maker else "relu"
            self._keep(layer, after)
        if after.numel():
            with torch.no_grad():
                self._zeros[_unused(f"sparsity/{layer}", self._zeros)] = (_part(after) == 0).float().mean()

    def _keep(self, layer: str, output: Tensor) -> None:
        if output.is_floating_point() and output.numel():
            # A copy: an in-place layer behind this one would change it before it is counted.
            self._activations[_unused(f"activations/{layer}", self._activations)] = _part(output).float().clone()

    def detach(self) -> None:
        """Stop watching; what was seen stays."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._end(nn.Identity(), None, None)

    def take(self) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Stop watching and return activations and shares of zeros by tag."""
        self.detach()
        shares = torch.stack(list(self._zeros.values())).cpu().tolist() if self._zeros else []
        return dict(self._activations), dict(zip(self._zeros, shares, strict=True))


@torch.no_grad()
def _part(output: Tensor) -> Tensor:
    """The values of the first pictures of a batch."""
    if output.dim() == 0:
        return output.reshape(1)
    return dense(output[: max(1, ACTIVATION_VALUES * len(output) // output.numel())])


def _unused(tag: str, used: Mapping[str, object]) -> str:
    """`tag`, numbered when a layer runs more than once in a pass."""
    number, free = 1, tag
    while free in used:
        number += 1
        free = f"{tag}_{number}"
    return free


def watched(event: DetailDone) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Activations and shares of zeros of the step that `event` tells of, by tag."""
    recorder = ActivationRecorder()
    try:
        recorder.attach(event.model)
        event.again()
    finally:
        seen = recorder.take()
    return seen
