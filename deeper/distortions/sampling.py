"""Where each output pixel looks, and what it finds there: maps composed, positions written out, pixels interpolated."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from deeper.distortions import AnyDistortion
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

Fill = Literal["zeros", "border", "reflect"]
_PADDING = {"zeros": "zeros", "border": "border", "reflect": "reflection"}
AFFINE = (Rotation, Scale, Shear, Translation, HorizontalFlip, VerticalFlip, QuarterTurns, Crop, RandomBox)
MIRRORS = (HorizontalFlip, VerticalFlip)


def composed(drawn: Sequence[tuple[AnyDistortion, NDArray[np.float64]]], aspect: float) -> NDArray[np.float64] | None:
    """One matrix per picture for all affine distortions, the first of which happens first; None when there is none.

    Maps output to input positions on axes that span −1 … 1; `aspect` is the input's height over its width. N × 2 × 3.
    """
    total: NDArray[np.float64] | None = None
    for one, parameters in drawn:
        if not isinstance(one, AFFINE):
            continue
        matrix = one.matrix(parameters, aspect)
        if total is None:
            total = matrix
            continue
        # Output → input: what happened to the picture last is undone first.
        linear = total[:, :, :2] @ matrix[:, :, :2]
        moved = total[:, :, :2] @ matrix[:, :, 2:] + total[:, :, 2:]
        total = np.concatenate([linear, moved], axis=2)
    return total


def positions(matrices: Tensor, size: tuple[int, int]) -> Tensor:
    """Where each output pixel looks in the input. Shape: N × height × width × 2, −1 … 1, pixels as areas.

    As F.affine_grid with align_corners=False, but a sum of a row term and a column term, where that multiplies N small
    matrices: about nine times quicker.
    """
    height, width = size
    down = (2 * torch.arange(height, device=matrices.device) + 1) / height - 1
    across = (2 * torch.arange(width, device=matrices.device) + 1) / width - 1
    columns = matrices[:, None, :, 0] * across[None, :, None] + matrices[:, None, :, 2]  # N × width × 2
    rows = matrices[:, None, :, 1] * down[None, :, None]  # N × height × 2
    return columns[:, None] + rows[:, :, None]


def elastic_field(parameters: Tensor, size: tuple[int, int]) -> Tensor:
    """Displacements between the points of the elastic grid, by cubic convolution. N × height × width × 2.

    `parameters`: float32, as `Elastic.draw` gives them. On axes that span −1 … 1.
    """
    # Shares of the side are half as long as on axes that span two.
    points = 2 * parameters.view(-1, 2, GRID, GRID)
    down, across = (_cubic(length).to(parameters.device) for length in size)
    # Separable: two small products per picture, where F.interpolate gathers sixteen points for each pixel.
    return (down @ points @ across.T).permute(0, 2, 3, 1)


@lru_cache(maxsize=16)
def _cubic(length: int) -> Tensor:
    """Weights of the grid's points at each of `length` pixels. Shape: length × GRID."""
    points = torch.eye(GRID).view(1, GRID, GRID, 1)
    return F.interpolate(points, (length, 1), mode="bicubic", align_corners=True)[0, :, :, 0].T.contiguous()


def reductions(matrices: NDArray[np.float64], store: tuple[int, int], size: tuple[int, int]) -> NDArray[np.int64]:
    """How many pixels of the input one of the output stands for, a whole number of at least 1. Shape: N.

    `matrices`: N × 2 × 3, as `composed` gives them. `store`, `size`: height and width of the input and the output.
    Along the side that is reduced least, so that a crop which is enlarged keeps every pixel of its part. Rounded up from
    three quarters: nearest to an antialiased crop (benchmarks/crop_sharpness.py).
    """
    steps = matrices[:, :, :2] * np.array(store[::-1])[:, None] / np.array(size[::-1])
    least: NDArray[np.float64] = np.sqrt((steps**2).sum(axis=1)).min(axis=1)
    return np.maximum(least + 0.25, 1).astype(np.int64)


def sampled(pixels: Tensor, grid: Tensor, fill: Fill, block: int = 1) -> Tensor:
    """Interpolate `pixels` (N × C × H × W) at positions (N × height × width × 2), bilinearly.

    `block`: as `reductions` gives them. Reading one pixel of several would skip the others: blocks are averaged first.
    """
    if block >= 2:
        # Adaptive: sides that the block does not divide are covered to their edge, so nothing shifts.
        sides = max(1, pixels.shape[2] // block), max(1, pixels.shape[3] // block)
        pixels = F.adaptive_avg_pool2d(pixels, sides)
    larger = grid.shape[1] > pixels.shape[2] or grid.shape[2] > pixels.shape[3]
    if fill != "zeros" or not larger:
        return F.grid_sample(pixels, grid, mode="bilinear", padding_mode=_PADDING[fill], align_corners=False)
    # The outermost pixels of an enlarged picture lie outside the centres of its own: zeros, blended in, would be a dark
    # rim that no evaluation has.
    found = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found * (grid.abs() <= 1).all(-1)[:, None]


def mirrored(images: Tensor, distortion: HorizontalFlip | VerticalFlip, flags: Tensor) -> Tensor:
    """Pictures N × H × W × C of any dtype with columns (or rows) reversed where `flags` (N × 1) are 1: bit-exact."""
    turned = images.flip(2 if isinstance(distortion, HorizontalFlip) else 1)
    return torch.where(flags.view(-1, 1, 1, 1) > 0.5, turned, images)
