"""Distortions applied to batches of pixels, in torch, on the processor or a GPU.

All affine maps of a list are composed to one matrix per picture and sampled at once, so that pixels are interpolated
only once; the elastic field is added to the same positions. Colour, erasing and noise follow in the list's order.

The first distortion of a list is the first that happens to the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deeper import draws
from deeper.distortions import AnyDistortion, Elastic, Policy
from deeper.distortions import names as all_names
from deeper.distortions.pixels import apply_pixels
from deeper.distortions.sampling import (
    AFFINE,
    MIRRORS,
    Fill,
    composed,
    elastic_field,
    mirrored,
    positions,
    reductions,
    sampled,
)

# Values of output that each thread of the processor works on at a time: they stay in its cache from step to step. Two
# pictures of 299 × 299 × 3; fewer would gain nothing and have the threads wait for each other more often.
_CACHED = 600_000

Drawn: TypeAlias = tuple[AnyDistortion, NDArray[np.float64]]


@dataclass(frozen=True)
class Plan:
    """What happens to each of some examples: every distortion with its parameters, N × P, one row per example."""

    drawn: tuple[Drawn, ...]

    def rows(self, chosen: slice | NDArray[np.int64]) -> Plan:
        """The plan of a part of the examples, such as a batch of an epoch."""
        return Plan(tuple((one, parameters[chosen]) for one, parameters in self.drawn))


class Distorter:
    """Turns uint8 pictures at store size into distorted floats at the network's size.

    `size`: (height, width) of the result. `fill`: what lies outside the picture. `policy`: with `classes`, the names in
    label order, which classes each distortion leaves alone.

    Raises: UsageError, when the policy speaks of what does not exist.
    """

    def __init__(
        self,
        distortions: Sequence[AnyDistortion],
        *,
        seed: int,
        size: tuple[int, int],
        fill: Fill = "border",
        policy: Policy | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        self.distortions, self.seed, self.size, self.fill = tuple(distortions), seed, size, fill
        self.allowed: dict[str, NDArray[np.bool_]] = {}
        if policy is not None:
            policy.check(classes, all_names())
            self.allowed = {one.name: policy.allows(one.name, classes) for one in self.distortions}

    def parameters(
        self, distortion: AnyDistortion, keys: NDArray[np.uint64], labels: NDArray[np.int64], epoch: int
    ) -> NDArray[np.float64]:
        """What `distortion` does to each example in `epoch`: a function of (seed, epoch, key) alone. Shape: N × P."""
        uniforms = draws.uniforms(self.seed, epoch, keys, f"distort:{distortion.name}", distortion.uniforms)
        parameters = distortion.draw(uniforms)
        allowed = self.allowed.get(distortion.name)
        if allowed is not None and not allowed.all():
            parameters = np.where(allowed[labels][:, None], parameters, np.asarray(distortion.identity))
        return parameters

    def plan(self, keys: NDArray[np.uint64], labels: NDArray[np.int64], epoch: int) -> Plan:
        """What happens in `epoch` to the examples of these keys; a batch or a whole epoch at once."""
        return Plan(tuple((one, self.parameters(one, keys, labels, epoch)) for one in self.distortions))

    def apply(self, images: Tensor, plan: Plan, size: tuple[int, int] | None = None) -> Tensor:
        """Do what `plan` says, one row per picture: uint8 N × H × W × C → as `__call__`."""
        return distort(images, plan.drawn, size or self.size, self.fill)

    def __call__(
        self,
        images: Tensor,
        keys: NDArray[np.uint64],
        labels: NDArray[np.int64],
        epoch: int,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """uint8 N × H × W × C → float32 N × C × height × width in 0..1, channels last in memory.

        `keys`, `labels`: of the examples, on the processor. `epoch` counts from 0. `size`: (height, width) of this
        batch, where another than the distorter's.
        """
        return self.apply(images, self.plan(keys, labels, epoch), size)


@torch.no_grad()
def distort(images: Tensor, drawn: Sequence[Drawn], size: tuple[int, int], fill: Fill = "border") -> Tensor:
    """Apply distortions with given parameters (one row per picture).

    uint8 N × H × W × C → float32 N × C × height × width in 0..1, channels last in memory.
    """
    count, height, width, channels = images.shape
    steps = _Steps(drawn, (height, width), size, fill, images.device)
    values = size[0] * size[1] * channels
    # Whole multiples of the threads, which share the pictures between them.
    threads = torch.get_num_threads()
    rows = max(1, _CACHED // values) * threads if images.device.type == "cpu" else count
    sides = np.unique(steps.blocks).tolist()
    if len(sides) == 1 and rows >= count:
        return steps(images, slice(None), sides[0]).contiguous(memory_format=torch.channels_last)
    result = torch.empty((count, channels, *size), memory_format=torch.channels_last, device=images.device)
    for side in sides:
        members = np.flatnonzero(steps.blocks == side) if len(sides) > 1 else np.arange(count)
        for first in range(0, len(members), rows):
            part: slice | Tensor = slice(first, first + rows)
            if len(sides) > 1:
                part = torch.from_numpy(members[part]).to(images.device, non_blocking=True)
            result[part] = steps(images[part], part, side)
    return result


def as_bytes(pixels: Tensor) -> NDArray[np.uint8]:
    """float N × C × H × W in 0..1 → uint8 N × H × W × C, rounded: pictures as a model takes them, or a person."""
    rounded = pixels.detach().mul(255).round_().clamp_(0, 255).to(torch.uint8)
    return np.ascontiguousarray(rounded.permute(0, 2, 3, 1).cpu().numpy())


class _Steps:
    """What is done to a batch, its parameters moved to the device in one transfer."""

    def __init__(
        self, drawn: Sequence[Drawn], store: tuple[int, int], size: tuple[int, int], fill: Fill, device: torch.device
    ) -> None:
        self.size, self.fill = size, fill
        affine = [one for one, _ in drawn if isinstance(one, AFFINE)]
        elastic = any(isinstance(one, Elastic) for one, _ in drawn)
        # Reversed columns need no interpolation, and are exact without. Decided by the list, never by what was drawn.
        self.samples = store != size or elastic or not all(isinstance(one, MIRRORS) for one in affine)
        given = [(one, values) for one, values in drawn if not (self.samples and isinstance(one, AFFINE))]
        matrices = composed(drawn, store[0] / store[1]) if self.samples else None
        columns = [values for _, values in given] + ([] if matrices is None else [matrices.reshape(-1, 6)])
        self.others: list[tuple[AnyDistortion, Tensor]] = []
        self.matrices = torch.eye(2, 3, device=device)[None]
        # Known before the transfer, so that a GPU is not waited for.
        self.blocks = reductions(np.eye(2, 3)[None] if matrices is None else matrices, store, size)
        if columns:
            packed = torch.from_numpy(np.concatenate(columns, axis=1, dtype=np.float32)).to(device, non_blocking=True)
            parts = torch.split(packed, [one.shape[1] for one in columns], 1)
            self.others = [(one, part) for (one, _), part in zip(given, parts, strict=False)]
            if matrices is not None:
                self.matrices = parts[-1].view(-1, 2, 3)

    def __call__(self, images: Tensor, chosen: slice | Tensor, block: int) -> Tensor:
        """uint8 n × H × W × C, the pictures `chosen` of the batch, → float32 n × C × height × width.

        `block`: of all of them, one of `self.blocks`.
        """
        for one, parameters in self.others:
            if isinstance(one, MIRRORS):
                images = mirrored(images, one, parameters[chosen])
        pixels = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).mul_(1 / 255)
        if self.samples:
            shared = len(self.matrices) == 1
            grid = positions(self.matrices if shared else self.matrices[chosen], self.size)
            for one, parameters in self.others:
                if isinstance(one, Elastic):
                    grid = grid + elastic_field(parameters[chosen], self.size)
            pixels = sampled(pixels, grid.expand(len(pixels), -1, -1, -1), self.fill, block)
        for one, parameters in self.others:
            if not isinstance(one, (*MIRRORS, Elastic)):
                pixels = apply_pixels(pixels, one, parameters[chosen])
        return pixels
