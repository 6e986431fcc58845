"""How pictures were shown to a network. Knows no torch: a run's `config.toml` holds one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deeper.images import Preprocess


@dataclass(frozen=True, kw_only=True)
class Look:
    """How pictures were shown to a network: what of `Preprocess` its weights depend on.

    `mean` and `deviation` are of pixels on the 0..1 scale, one per channel or one for all; `crop` is the central share
    of each side that was kept when it was judged.
    """

    mean: tuple[float, ...] = (0.5,)
    deviation: tuple[float, ...] = (0.5,)
    crop: float = 0.875
    resample: Literal["bilinear", "bicubic", "lanczos", "nearest"] = "bilinear"
    mode: Literal["crop", "letterbox", "squash"] = "crop"

    def preprocess(self, height: int, width: int, channels: int) -> Preprocess:
        """The same for a network of that size; other channels than it had get the mean of all."""

        def suited(values: tuple[float, ...]) -> tuple[float, ...]:
            return values if len(values) in (1, channels) else (sum(values) / len(values),)

        return Preprocess(
            height=height,
            width=width,
            channels=channels,
            mode=self.mode,
            crop=self.crop,
            resample=self.resample,
            mean=suited(self.mean),
            deviation=suited(self.deviation),
        )
