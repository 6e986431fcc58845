"""A network's tensors as files hold them: each in memory of its own, and sound."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from deeper.errors import printable


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same on the processor, contiguous, no two in the same memory: safetensors refuses to write a weight that a
    network reaches under two names."""
    seen: set[int] = set()
    apart: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        apart[name] = plain.clone() if place in seen else plain
        seen.add(place)
    return apart


@contextlib.contextmanager
def holding(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Within the block `model` holds `weights`; afterwards its own again, bit for bit."""
    own = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(weights)
    try:
        yield
    finally:
        model.load_state_dict(own)


def learned(model: nn.Module) -> set[str]:
    """Names in the state dict of what must be finite: parameters and batch norm's running statistics. Other buffers may
    hold infinities on purpose, as masks do."""
    names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, _BatchNorm):
            names |= {f"{name}.{own}".removeprefix(".") for own in ("running_mean", "running_var")}
    return names


def flaw(model: nn.Module, tensors: Mapping[str, Tensor]) -> str | None:
    """What a state dict of `model` holds and must not, in words; None where it is sound."""
    finite = learned(model)
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            continue
        if name in finite:
            if not bool(tensor.isfinite().all()):
                return f"{printable(name)} holds NaN or infinity"
        elif bool(tensor.isnan().any()):
            return f"{printable(name)} holds NaN"
    return None
