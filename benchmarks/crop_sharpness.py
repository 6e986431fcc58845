"""How near distorted photographs come to antialiased crops: by what side of blocks is averaged before pixels are read.

    python benchmarks/crop_sharpness.py [--source DATA/flowers12] [--pictures 40] [--size 96]

Photographs at several sizes of storage, a box of 15 to 100 % of each cut out and brought to `--size`: with blocks by the
whole picture's size, and with blocks by each crop's own reduction rounded up from several fractions. Printed against
Pillow's antialiased bilinear crop: the mean squared error (× 10⁵, values 0–1), and the mean difference of neighbouring
pixels as a share of Pillow's (1: as sharp as what is evaluated).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from deeper.distortions.sampling import positions, reductions, sampled

STORES = (120, 160, 200, 288, 400)
# From this fraction of a pixel on, a block is a pixel wider; 0.75 is what `reductions` does.
FRACTIONS = (1.0, 0.85, 0.75, 0.65, 0.5, 0.35)


def antialiased(picture: NDArray[np.uint8], box: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """H × W × 3 → 3 × size × size in 0..1. `box`: left, top, right, bottom in pixels."""
    edges = (float(box[0]), float(box[1]), float(box[2]), float(box[3]))
    bands = [Image.fromarray(picture[:, :, band].astype(np.float32)) for band in range(3)]
    made = [np.asarray(one.resize((size, size), Image.Resampling.BILINEAR, box=edges)) for one in bands]
    return np.stack(made).astype(np.float64) / 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path(os.environ.get("DEEPER_DATA", "data")) / "flowers12")
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--size", type=int, default=96)
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if not paths:
        raise SystemExit(f"no photographs below {arguments.source}; give a folder of them: --source FOLDER")
    paths = paths[:: max(1, len(paths) // arguments.pictures)][: arguments.pictures]
    size, draw = arguments.size, np.random.default_rng(0)
    for store in STORES:
        pictures = np.stack([np.asarray(Image.open(one).convert("RGB").resize((store, store))) for one in paths])
        pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
        extent = np.sqrt(draw.uniform(0.15, 1, len(pictures)))
        matrices = np.zeros((len(pictures), 2, 3))
        matrices[:, 0, 0] = matrices[:, 1, 1] = extent
        matrices[:, :, 2] = draw.uniform(-1, 1, (len(pictures), 2)) * (1 - extent)[:, None]
        corners = np.clip((matrices[:, :, 2] - extent[:, None] + 1) / 2 * store, 0, store)
        ends = np.minimum(corners + extent[:, None] * store, store)
        boxes = np.concatenate([corners, ends], axis=1)
        wanted = np.stack([antialiased(one, box, size) for one, box in zip(pictures, boxes, strict=True)])
        grid = positions(torch.from_numpy(matrices.astype(np.float32)), (size, size))
        blocks = {"whole picture": np.array([max(store // size, 1)])}
        for fraction in FRACTIONS:
            blocks[f"from {fraction:.2f}"] = np.maximum(extent * store / size + 1 - fraction, 1).astype(np.int64)
        assert np.array_equal(blocks["from 0.75"], reductions(matrices, (store, store), (size, size)))
        for name, sides in blocks.items():
            ours = np.empty_like(wanted)
            for side in np.unique(sides).tolist():
                chosen = np.flatnonzero(np.broadcast_to(sides == side, len(pictures)))
                ours[chosen] = sampled(pixels[chosen], grid[chosen], "border", side).numpy()
            error = np.square(ours - wanted).mean() * 1e5
            sharpness = np.abs(np.diff(ours)).mean() / np.abs(np.diff(wanted)).mean()
            print(f"stored at {store}, {name:>13}: error {error:5.1f}, sharpness {sharpness:.3f}", flush=True)


if __name__ == "__main__":
    main()
