"""Which modules of a network are worth watching, told by what they are, whoever wrote them, and what they are called."""

from __future__ import annotations

from torch import nn

from deeper.models.custom import Wrapped

_NORMALISERS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def own_part(model: nn.Module) -> nn.Module:
    """The network as its author wrote it, without our wrapper around it."""
    return model.module if isinstance(model, Wrapped) else model


def layer_name(module_name: str) -> str:
    """`conv1.convolution` → `conv1/convolution`, which TensorBoard groups by."""
    return module_name.replace(".", "/") or "model"


def normalising_layers(model: nn.Module) -> set[str]:
    """Names of the normalising layers."""
    return {name for name, module in model.named_modules() if isinstance(module, _NORMALISERS)}


def is_leaf(module: nn.Module) -> bool:
    """Whether the module has no modules inside."""
    return next(module.children(), None) is None


def has_activations(module: nn.Module) -> bool:
    """Leaf modules with parameters, and PyTorch's non-linear ones."""
    if not is_leaf(module):
        return False
    has_parameters = next(module.parameters(recurse=False), None) is not None
    return has_parameters or type(module).__module__ == nn.ReLU.__module__
