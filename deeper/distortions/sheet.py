"""A sheet of examples: what each training distortion does to real pictures, alone and all together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deeper import draws, files
from deeper.distortions import AnyDistortion
from deeper.distortions.apply import Distorter
from deeper.distortions.sampling import Fill

# Draws of everything together that a row shows.
TOGETHER = 4


def draw_sheet(
    pictures: NDArray[np.uint8],
    captions: Sequence[str],
    distortions: Sequence[AnyDistortion],
    path: Path,
    *,
    size: tuple[int, int],
    fill: Fill = "border",
    seed: int = 0,
    title: str = "",
) -> None:
    """Write a PNG, SVG or PDF (by the path's ending).

    One row per picture: the picture, each distortion alone (the most visible of a few draws), four draws of all
    together. `pictures`: uint8 N × H × W × C. `captions`: N class names.

    Raises: StorageError.
    """
    columns = [("as it is", _plain(pictures, size))]
    for distortion in distortions:
        columns.append((distortion.describe(), _most_visible(pictures, distortion, size, fill, seed)))
    if len(distortions) > 1:
        for number in range(TOGETHER):
            distorted = _distorted(pictures, distortions, size, fill, seed, number)
            columns.append(("all together" if number == 0 else "", distorted))
    _draw(columns, captions, path, title)


def _distorted(
    pictures: NDArray[np.uint8],
    distortions: Sequence[AnyDistortion],
    size: tuple[int, int],
    fill: Fill,
    seed: int,
    epoch: int,
) -> NDArray[np.float32]:
    """Shape: N × height × width × C, 0..1."""
    keys = draws.keys(f"sheet:{number}" for number in range(len(pictures)))
    distorter = Distorter(distortions, seed=seed, size=size, fill=fill)
    result = distorter(torch.from_numpy(pictures), keys, np.zeros(len(pictures), np.int64), epoch)
    return np.asarray(result.permute(0, 2, 3, 1).numpy(), np.float32)


def _plain(pictures: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    return _distorted(pictures, (), size, "border", 0, 0)


def _most_visible(
    pictures: NDArray[np.uint8], distortion: AnyDistortion, size: tuple[int, int], fill: Fill, seed: int
) -> NDArray[np.float32]:
    plain = _plain(pictures, size)
    tries = np.stack([_distorted(pictures, [distortion], size, fill, seed, epoch) for epoch in range(8)])
    change = np.abs(tries - plain).mean((2, 3, 4))
    chosen: NDArray[np.float32] = tries[change.argmax(0), np.arange(len(pictures))]
    return chosen


def _wrapped(text: str, width: int = 16) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width, break_long_words=False))


def _draw(columns: Sequence[tuple[str, NDArray[np.float32]]], captions: Sequence[str], path: Path, title: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = len(captions)
    style: Any = {"font.size": 8, "svg.fonttype": "none", "svg.hashsalt": "deeper"}
    with plt.rc_context(style):
        figure, grid = plt.subplots(
            rows,
            len(columns),
            figsize=(1.12 * len(columns) + 0.6, 1.12 * rows + 1.0),
            squeeze=False,
            layout="constrained",
        )
        for column, (heading, pictures) in enumerate(columns):
            for row in range(rows):
                axes = grid[row][column]
                shown = pictures[row]
                grey = shown.shape[2] == 1
                # Small pictures keep their pixels, large ones are smoothed by the page.
                smooth = "nearest" if shown.shape[0] < 64 else "antialiased"
                axes.imshow(shown[..., 0] if grey else shown, cmap="gray", vmin=0, vmax=1, interpolation=smooth)
                axes.set_xticks([])
                axes.set_yticks([])
                axes.spines[:].set_color("#c9cdd2")
                if row == 0:
                    axes.set_title(_wrapped(heading), fontsize=8, color="#222222")
                if column == 0:
                    axes.set_ylabel(_wrapped(captions[row], 14), rotation=0, ha="right", va="center", color="#222222")
        if title:
            figure.suptitle(title, fontsize=9, color="#555555")
        try:
            with files.writing(path) as file:
                figure.savefig(file, format=path.suffix[1:] or "png", dpi=150)
        finally:
            plt.close(figure)
