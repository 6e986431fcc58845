"""Training pictures that lie on the GPU: a batch is then gathered there, and nothing but positions travels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeper.batches import InMemory, Joined, Pictures, Selected
from deeper.inference.shortage import room

# Of the GPU's free memory, how much pictures may take: the step needs the rest.
SHARE = 0.25
# Pictures copied at once.
_CHUNK = 1024


class Resident:
    """`pictures` as uint8 N × H × W × C on `device`. As a `Pictures`, its batches have no pixels: `tensor` has them."""

    def __init__(self, pictures: Pictures, device: str) -> None:
        self.kind = f"{pictures.kind}, on {device}"
        self.ids: Sequence[str] = pictures.ids
        self.keys, self.labels = pictures.keys, pictures.labels
        positions = np.arange(len(pictures))
        parts = [pictures.take(positions[start : start + _CHUNK]) for start in range(0, len(positions), _CHUNK)]
        self.images = torch.cat([torch.from_numpy(part).to(device) for part in parts])

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.empty((len(positions), 0, 0, 0), np.uint8)

    def tensor(self, positions: NDArray[np.int64]) -> Tensor:
        """Pictures by position, on the device."""
        return self.images[torch.from_numpy(positions).to(self.images.device, non_blocking=True)]


def resident(pictures: Pictures, device: str) -> Resident | None:
    """The pictures on a GPU where they are held in memory and fit beside the network; None elsewhere."""
    if device == "cpu" or not _held(pictures):
        return None
    one = pictures.take(np.zeros(1, np.int64))
    return Resident(pictures, device) if one.nbytes * len(pictures) <= SHARE * room(device) else None


def _held(pictures: Pictures) -> bool:
    if isinstance(pictures, Selected):
        return _held(pictures.pictures)
    if isinstance(pictures, Joined):
        return all(_held(part) for part in pictures.parts)
    return isinstance(pictures, InMemory)
