"""Too little memory: how it shows, how much is left, what a batch needs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from deeper.memory import free_memory

# What allocators say: PyTorch's on a processor, oneDNN's, the C++ library's.
_WORDS = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "could not create a memory",
    "cannot allocate memory",
)


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS)


def room(device: str = "cpu") -> int:
    """Bytes that this process can still take: of a GPU's memory, or of the machine's."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()


def kept_bytes(forward: Callable[[], object]) -> int:
    """Bytes of tensors that `forward` keeps for its backward pass, parameters apart; each storage counts once."""
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not tensor.is_leaf:
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()  # an output that its own graph holds would never be freed

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = forward()  # its graph is alive until here, so that no storage is used twice
    del result
    return sum(seen.values())


def in_words(count: float) -> str:
    """Bytes for a person."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
