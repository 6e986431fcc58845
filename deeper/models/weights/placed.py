"""Weights under our names, and the account of every one of them.

Nothing is guessed: a name without a place, a place without a weight, two weights for one place and a wrong shape are
errors that say which.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from deeper.errors import WeightsError, printable
from deeper.models.weights.opened import LARGEST

# The last layer of every network of the catalog, and of its auxiliary heads.
HEAD = re.compile(r"(.*\.)?[Ll]ogits\.(weight|bias)")


@dataclass
class Placed:
    """Weights by our names, and their names that have no place among ours."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    unplaced: list[str] = field(default_factory=list)

    def put(self, theirs: str, ours: str | None, tensor: Tensor) -> None:
        """Place one weight; `ours` is None, or taken already, for one without a place."""
        if ours is None or ours in self.tensors:
            self.unplaced.append(theirs)
        else:
            self.tensors[ours] = tensor


def missing(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Names of `wanted` that `tensors` lacks. How many batches a norm has counted is not asked for: old files lack it,
    and nothing here depends on it."""
    return [key for key in wanted if key not in tensors and not key.endswith("num_batches_tracked")]


def shape_text(tensor: Tensor) -> str:
    """`64 × 3 × 7 × 7`."""
    return " × ".join(map(str, tensor.shape)) or "a single number"


def with_heads_of(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`wanted`, with as many classes in each head as `given` has there. Whoever trains on with a last layer of their own
    may leave the auxiliary heads as they were."""
    heads = dict(wanted)
    for key, tensor in wanted.items():
        weight = given.get(f"{key.rpartition('.')[0]}.weight", given.get(key))
        # A tensor may claim any number of rows.
        if HEAD.fullmatch(key) and weight is not None and weight.ndim and 0 < weight.shape[0] <= LARGEST:
            heads[key] = tensor[:1].expand(weight.shape[0], *tensor.shape[1:])
    return heads


def check(name: str, source: str, placed: Placed, wanted: Mapping[str, Tensor]) -> None:
    """Raises: WeightsError, unless everything is placed, with the right shape."""
    for key, tensor in placed.tensors.items():
        if tensor.shape != wanted[key].shape:
            raise WeightsError(
                f"{source} weights for {name}: {key} is {shape_text(tensor)}, wanted {shape_text(wanted[key])}"
            )
    lacking = missing(placed.tensors, wanted)
    if placed.unplaced or lacking:
        parts = []
        for what, keys in (("no place for", placed.unplaced), ("nothing for", lacking)):
            if keys:
                parts.append(f"{what} {', '.join(printable(key, 80) for key in keys[:3])}{' …' * (len(keys) > 3)}")
        raise WeightsError(
            f"{source} weights do not fit {name}: {'; '.join(parts)} ({len(placed.unplaced)} and {len(lacking)} names); "
            f"take a complete file of {name}"
        )
