"""What comes out: a `Prediction` for a picture, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.errors import DeeperError, printable
from deeper.inference import softmax

# Where the input is sound and the network undecided, what is said begins so.
NO_CLASS = "no class"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network says of one picture."""

    classes: tuple[str, ...]
    """K names."""
    logits: NDArray[np.float32]
    """Shape: K, in the order of `classes`."""
    source: str = ""
    """The file name as it was given, or `picture 3` for the fourth of several others."""
    temperature: float = 1.0
    """What logits are divided by before they become probabilities: the bundle's, fitted on validation pictures."""
    unsure: str = ""
    """Why the answer should not be trusted, or empty."""

    @cached_property
    def _probabilities(self) -> NDArray[np.float64]:
        return softmax(self.logits / np.float32(self.temperature))

    @property
    def index(self) -> int:
        """Of the most probable class."""
        return int(self.logits.argmax())

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[self.index]

    @property
    def probability(self) -> float:
        """Of that class."""
        return float(self._probabilities[self.index])

    @cached_property
    def probabilities(self) -> Mapping[str, float]:
        """Class → probability, the most probable first (of equal ones the first in `classes`)."""
        order = np.argsort(-self._probabilities, kind="stable")
        return {self.classes[index]: float(self._probabilities[index]) for index in order}

    def top(self, k: int) -> list[tuple[str, float]]:
        """The `k` most probable classes."""
        return list(self.probabilities.items())[:k]

    def __repr__(self) -> str:
        unsure = f", unsure: {self.unsure}" if self.unsure else ""
        return f"Prediction({self.label!r}, {self.probability:.4f}{unsure})"


@dataclass(frozen=True)
class Failed:
    """A picture that could not be classified."""

    source: str
    """As in `Prediction`."""
    reason: str
    """Why, in one line."""


@dataclass(frozen=True, eq=False)
class Named:
    """A picture of any kind with the name that its prediction shall bear."""

    source: str
    picture: Any


@dataclass(frozen=True)
class Pause:
    """Among pictures that come one after the other: there is none for now, so those that came are to be answered."""


def told(error: Exception) -> str:
    """Why a picture could not be used, in a line: an error of ours as it is; else what broke over it."""
    if isinstance(error, DeeperError):
        return str(error)
    if isinstance(error, MemoryError):
        return "needs more memory than there is"
    return f"cannot be read ({type(error).__name__}: {printable(error, 80)})"
