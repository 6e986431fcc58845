"""Training-time distortions as frozen values: draw, apply with given parameters, invert, describe, store.

Values know no torch; `deeper.distortions.apply` samples pixels. Parameters are a function of (seed, epoch, id) alone,
so any training sample can be drawn again. Nothing flips unless a flip is in the list.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, TypeAlias, get_args

from deeper.distortions.boxes import Crop, RandomBox
from deeper.distortions.colour import Brightness, Contrast, GuideColour, Hue, Saturation
from deeper.distortions.geometry import (
    HorizontalFlip,
    QuarterTurns,
    Rotation,
    Scale,
    Shear,
    Translation,
    VerticalFlip,
)
from deeper.distortions.local import Elastic, Erasing, Noise
from deeper.distortions.policy import ClassRule, Policy
from deeper.errors import UsageError, nearest, printable

Geometric: TypeAlias = (
    Rotation | Scale | Shear | Translation | HorizontalFlip | VerticalFlip | QuarterTurns | Crop | RandomBox
)
Colouring: TypeAlias = Brightness | Contrast | Saturation | Hue | GuideColour
Local: TypeAlias = Erasing | Elastic | Noise
AnyDistortion: TypeAlias = Geometric | Colouring | Local

_BY_NAME: dict[str, type[AnyDistortion]] = {member.name: member for member in get_args(AnyDistortion)}

__all__ = [
    "AnyDistortion",
    "Brightness",
    "ClassRule",
    "Colouring",
    "Contrast",
    "Crop",
    "Elastic",
    "Erasing",
    "Geometric",
    "GuideColour",
    "HorizontalFlip",
    "Hue",
    "Local",
    "Noise",
    "Policy",
    "QuarterTurns",
    "RandomBox",
    "Rotation",
    "Saturation",
    "Scale",
    "Shear",
    "Translation",
    "VerticalFlip",
    "by_name",
    "flipping",
    "names",
    "parse",
]


def names() -> tuple[str, ...]:
    """All names, geometry first."""
    return tuple(_BY_NAME)


def by_name(name: str) -> type[AnyDistortion]:
    """The class of a distortion. Raises: UsageError, with the nearest name."""
    if name not in _BY_NAME:
        raise UsageError(f"no distortion {printable(name)!r}{nearest(name, _BY_NAME)}")
    return _BY_NAME[name]


def parse(text: str) -> AnyDistortion:
    """`horizontal_flip`, `rotation=15`, `scale=0.8:1.2`: a name, and values for its fields in their order.

    Raises: UsageError, for a wrong name (with the nearest), or values that do not fit.
    """
    name, equals, values = text.partition("=")
    found = by_name(name)
    fields = [field for field in dataclasses.fields(found) if field.type in ("float", float)]
    given = values.split(":") if equals else []
    wanted = ":".join(field.name for field in fields)
    if len(given) > len(fields):
        raise UsageError(f"{printable(text)}: {len(given)} values; {name} takes {wanted or 'none'}")
    try:
        numbers = [float(value) for value in given]
    except ValueError:
        raise UsageError(f"{printable(text)}: wanted numbers, {name}={wanted}") from None
    arguments: dict[str, Any] = {field.name: number for field, number in zip(fields, numbers, strict=False)}
    return found(**arguments)


def flipping(distortions: Iterable[AnyDistortion]) -> list[str]:
    """Names of those that can turn one class into another unasked: flips, quarter turns, rotations beyond 45°."""
    return [
        distortion.name
        for distortion in distortions
        if isinstance(distortion, (HorizontalFlip, VerticalFlip, QuarterTurns))
        or (isinstance(distortion, Rotation) and distortion.degrees > 45)
    ]
