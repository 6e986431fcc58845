"""What travels from a source to the build: one `Item` per picture, one `Rejected` per refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of a source, not yet decoded. Exactly one of `path` and `array` is set."""

    id: str
    """Source-relative POSIX path, `array:000123`, or `train/00001`: independent of split and shard."""
    label: str
    """Name of the class."""
    split: str | None
    """`train`, `validation` or `test` where the source says so."""
    group: str | None
    """All pictures of one group stay in one split."""
    path: str | Path | None
    """Read the bytes here …"""
    array: NDArray[np.uint8] | None
    """… or take this picture, H×W or H×W×C."""
    size: int | None = None
    """Bytes of the file, where the listing has seen them."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """What cannot become a picture of the dataset, and why."""

    id: str
    reason: str


class Source(Protocol):
    """What the build reads. Read-only: a source may work its parts out when they are asked for."""

    @property
    def name(self) -> str:
        """Short name for folders and titles: `mnist`, `flowers12`."""

    @property
    def description(self) -> str:
        """One line without an absolute path; it goes into `dataset.json`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their indices."""

    @property
    def items(self) -> Sequence[Item]:
        """The pictures, in a stable order."""

    @property
    def rejected(self) -> Sequence[Rejected]:
        """What the listing itself already refused: symlink loops, FIFOs, bad rows."""

    @property
    def notices(self) -> Sequence[str]:
        """What was understood, skipped or left out, one line each."""

    def fingerprint(self) -> str:
        """SHA-256 over what identifies the content cheaply."""
