"""What a weights file holds, before anyone knows whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from deeper.errors import WeightsError, printable

# A file that asks for more is none of an Inception: Inception-ResNet-v2 with all its optimizer's moments has 0.7 GB.
LARGEST = 4 << 30


@dataclass(frozen=True, eq=False)
class Opened:
    """Tensors by the names that the file gives them; Keras' are `layer/variable`."""

    names: Literal["torch", "keras", "tensorflow"]
    """Whose way of naming."""
    form: str
    """The file's form, in words."""
    tensors: dict[str, Tensor]
    left: tuple[str, ...] = ()
    """What else is in the file and not read: an optimizer's moments, counters."""


def damaged(path: Path, what: str) -> WeightsError:
    """The one line for a file that cannot be read."""
    return WeightsError(
        f"the weights {printable(path)} cannot be read: {what}; take a sound copy (a broken-off download is the usual reason)"
    )
