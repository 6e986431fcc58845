"""Distortions applied to batches of pixels, in torch, on the processor or a GPU.

All affine maps of a list are composed to one matrix per picture and sampled at once, so that pixels are interpolated
only once; the elastic field is added to the same positions. Colour, erasing and noise follow in the list's order.

The first distortion of a list is the first that happens to the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from deeper import draws
from deeper.distortions import AnyDistortion, Elastic, Policy
from deeper.distortions import names as all_names
from deeper.distortions.boxes import Crop, RandomBox
from deeper.distortions.geometry import (
    HorizontalFlip,
    QuarterTurns,
    Rotation,
    Scale,
    Shear,
    Translation,
    VerticalFlip,
)
from deeper.distortions.local import GRID
from deeper.distortions.pixels import apply_pixels

Fill = Literal["zeros", "border", "reflect"]
_PADDING = {"zeros": "zeros", "border": "border", "reflect": "reflection"}
_GEOMETRIC = (Rotation, Scale, Shear, Translation, HorizontalFlip, VerticalFlip, QuarterTurns, Crop, RandomBox)


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

    @torch.no_grad()
    def __call__(self, images: Tensor, keys: NDArray[np.uint64], labels: NDArray[np.int64], epoch: int) -> Tensor:
        """uint8 N × H × W × C → float32 N × C × height × width in 0..1.

        `keys`, `labels`: of the examples, on the processor. `epoch` counts from 0.
        """
        drawn = [(one, self.parameters(one, keys, labels, epoch)) for one in self.distortions]
        return distort(images, drawn, self.size, self.fill)


@torch.no_grad()
def distort(
    images: Tensor,
    drawn: Sequence[tuple[AnyDistortion, NDArray[np.float64]]],
    size: tuple[int, int],
    fill: Fill = "border",
) -> Tensor:
    """Apply distortions with given parameters (one row per picture).

    uint8 N × H × W × C → float32 N × C × height × width in 0..1, channels last in memory.
    """
    pixels = _floats(images)
    height, width = pixels.shape[2:]
    matrices = _composed(drawn, len(pixels), height / width)
    elastic = [parameters for one, parameters in drawn if isinstance(one, Elastic)]
    if matrices is not None or elastic or (height, width) != size:
        pixels = _sampled(pixels, matrices, elastic, size, fill)
    for one, parameters in drawn:
        if not isinstance(one, (*_GEOMETRIC, Elastic)):
            pixels = apply_pixels(pixels, one, torch.from_numpy(parameters).to(pixels.device))
    return pixels


def _floats(images: Tensor) -> Tensor:
    """N × H × W × C bytes → N × C × H × W floats in 0..1, without moving pixels in memory."""
    return images.permute(0, 3, 1, 2).to(torch.float32).mul_(1 / 255)


def _composed(
    drawn: Sequence[tuple[AnyDistortion, NDArray[np.float64]]], count: int, aspect: float
) -> NDArray[np.float64] | None:
    """One 2 × 3 matrix per picture, or None when nothing moves."""
    total: NDArray[np.float64] | None = None
    for one, parameters in drawn:
        if not isinstance(one, _GEOMETRIC):
            continue
        matrix = np.broadcast_to(one.matrix(parameters, aspect), (count, 2, 3))
        if total is None:
            total = matrix.copy()
            continue
        # Output → input: what happened to the picture last is undone first.
        linear = total[:, :, :2] @ matrix[:, :, :2]
        moved = total[:, :, :2] @ matrix[:, :, 2:] + total[:, :, 2:]
        total = np.concatenate([linear, moved], axis=2)
    return total


def _sampled(
    pixels: Tensor,
    matrices: NDArray[np.float64] | None,
    elastic: Sequence[NDArray[np.float64]],
    size: tuple[int, int],
    fill: Fill,
) -> Tensor:
    count = pixels.shape[0]
    # Reducing by two or more would skip pixels: average whole blocks first.
    block = min(pixels.shape[2] // size[0], pixels.shape[3] // size[1])
    if block >= 2:
        pixels = F.avg_pool2d(pixels, block)
    if matrices is None:
        matrices = np.broadcast_to(np.eye(2, 3), (count, 2, 3))
    grid = _positions(torch.from_numpy(np.ascontiguousarray(matrices, np.float32)).to(pixels.device), size)
    for displacements in elastic:
        # Shares of the side are half as long as on axes that span −1 … 1.
        field = torch.from_numpy(displacements.astype(np.float32) * 2).to(pixels.device).view(count, 2, GRID, GRID)
        grid = grid + F.interpolate(field, size, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode=_PADDING[fill], align_corners=False)


def _positions(matrices: Tensor, size: tuple[int, int]) -> Tensor:
    """Where each output pixel looks in the input: N × height × width × 2, −1 … 1, as F.affine_grid (align_corners=False).

    Written out: a sum of a row term and a column term, where affine_grid multiplies N small matrices.
    """
    height, width = size
    down = (2 * torch.arange(height, device=matrices.device) + 1) / height - 1
    across = (2 * torch.arange(width, device=matrices.device) + 1) / width - 1
    columns = matrices[:, None, :, 0] * across[None, :, None] + matrices[:, None, :, 2]  # N × width × 2
    rows = matrices[:, None, :, 1] * down[None, :, None]  # N × height × 2
    return columns[:, None] + rows[:, :, None]
