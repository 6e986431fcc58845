"""In what arithmetic a step computes, and from which random numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from deeper.inference import plain_fp32


@contextlib.contextmanager
def arithmetic(device: str, precision: str) -> Iterator[None]:
    """Autocast to bf16 where `precision` says so, and real fp32 where it says that."""
    kind = device.split(":")[0]
    with plain_fp32(kind, precision), torch.autocast(kind, torch.bfloat16, enabled=precision == "bf16"):
        yield


@contextlib.contextmanager
def differentiating(device: str, precision: str) -> Iterator[None]:
    """For the backward pass, which takes the types of the forward one. A GPU's quickest ways of adding up the gradients
    of filters add in any order; here the same step is the same to the bit as far as cuDNN has a way for it."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        with plain_fp32(device.split(":")[0], precision):
            yield
    finally:
        torch.backends.cudnn.deterministic = before


@contextlib.contextmanager
def seeded(device: str, seed: int) -> Iterator[None]:
    """Torch's own generators seeded inside the block (a user's `nn.Dropout` draws from them) and restored after."""
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
