"""Where a run's first weights came from, as its `config.toml` keeps it. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from deeper.images import Preprocess
from deeper.models.weights.look import Look


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The weights that a run began with, in its `config.toml`: what they were, and how pictures are to be shown."""

    name: str
    """As it was given: a path or a name."""
    file: str
    """Where the file, run or bundle lay."""
    sha256: str
    source: str
    model: str
    classes: int | None = None
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    crop: float
    resample: Literal["bilinear", "bicubic", "lanczos", "nearest"]

    def show(self, preprocess: Preprocess) -> Preprocess:
        """`preprocess` with the weights' own mean, deviation, crop and filter."""
        look = Look(mean=self.mean, deviation=self.deviation, crop=self.crop, resample=self.resample)
        shown = look.preprocess(preprocess.height, preprocess.width, preprocess.channels)
        return replace(shown, mode=preprocess.mode, fill=preprocess.fill)
