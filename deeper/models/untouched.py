"""A forward pass that leaves nothing behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from deeper.models.noise import Dropout


@contextlib.contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """After the block everything in `model` is as before that its forward pass may change: buffers, modes, which noise
    comes next, and generators of a network's own. Weights are not looked after."""
    modules = list(model.modules())
    modes = [module.training for module in modules]
    held = [module._buffers for module in modules if module._buffers]
    before = [{name: (one, one.clone()) for name, one in own.items() if one is not None} for own in held]
    noise = [(module, module._key, module._calls) for module in modules if isinstance(module, Dropout)]
    own = {id(one): one for module in modules for one in vars(module).values() if isinstance(one, torch.Generator)}
    states = [(generator, generator.get_state()) for generator in own.values()]
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        with torch.no_grad():
            for buffers, kept in zip(held, before, strict=True):
                for name, (one, values) in kept.items():
                    buffers[name] = one.copy_(values)
        for layer, key, calls in noise:
            layer._key, layer._calls = key, calls
        for generator, state in states:
            generator.set_state(state)
