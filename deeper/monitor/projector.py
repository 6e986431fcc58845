"""What the embedding projector shows: points, their names and their small pictures, as files beside the events.

TENSORBOARD/projector_config.pbtxt
TENSORBOARD/projector/vectors.tsv      one line per point
TENSORBOARD/projector/metadata.tsv     label, answer, right or wrong, id
TENSORBOARD/projector/sprite.png       the pictures, row by row
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper import files
from deeper.errors import printable

# The page lays the points out in the browser: beyond a few thousand it stutters.
POINTS = 2000
# Browsers refuse larger textures.
SPRITE = 8192
# Larger cells would only make the page slow; a point is drawn a few dozen pixels wide.
CELL = 48
# The page reduces to 3 by itself; what lies beyond the first components is noise to it and megabytes of text to us.
COMPONENTS = 50


def chosen(labels: NDArray[np.int64], limit: int = POINTS) -> NDArray[np.int64]:
    """Positions of at most `limit` examples, spread evenly, every class as strong as it is in `labels` (at least 1)."""
    if len(labels) <= limit:
        return np.arange(len(labels))
    by_class = np.argsort(labels, kind="stable")
    first = np.unique(labels, return_index=True)[1][:limit]
    spread = by_class[np.linspace(0, len(labels) - 1, limit - len(first)).astype(np.int64)]
    result: NDArray[np.int64] = np.unique(np.concatenate([first, spread]))
    return result


def principal(features: NDArray[np.float32], components: int = COMPONENTS) -> NDArray[np.float32]:
    """Coordinates N × `components` along the main axes, by randomised subspace iteration with a fixed start.

    The few ms that this takes replace the seconds of a full decomposition; for the leading axes it is as good.
    """
    centred = features.astype(np.float32) - features.mean(axis=0, dtype=np.float64).astype(np.float32)
    count, width = centred.shape
    if width <= components or count <= components:
        return np.asarray(centred, np.float32)
    basis = np.random.default_rng(0).standard_normal((width, components + 14)).astype(np.float32)
    for _ in range(3):
        basis, _ = np.linalg.qr(centred.T @ (centred @ basis))
    reduced = centred @ basis
    _, _, turned = np.linalg.svd(reduced, full_matrices=False)
    result: NDArray[np.float32] = reduced @ turned[:components].T
    return result


def _sprite(pictures: Iterable[NDArray[np.uint8]], count: int) -> tuple[bytes, int, int]:
    """PNG bytes and a cell's width and height. The page wants as many rows as columns."""
    pictures = iter(pictures)
    first = next(pictures)
    height, width, channels = first.shape
    columns = math.ceil(math.sqrt(count))
    cell = min(CELL, SPRITE // columns)
    scale = min(1.0, cell / max(height, width))
    cell_height, cell_width = max(1, round(height * scale)), max(1, round(width * scale))
    mode = "L" if channels == 1 else "RGB"
    image = Image.new(mode, (columns * cell_width, columns * cell_height))
    for position, picture in enumerate(chain([first], pictures)):
        small = Image.fromarray(picture[:, :, 0] if channels == 1 else picture[:, :, :3])
        if scale < 1:
            small = small.resize((cell_width, cell_height), Image.Resampling.BOX)
        image.paste(small, (position % columns * cell_width, position // columns * cell_height))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue(), cell_width, cell_height


def write(
    folder: Path,
    features: NDArray[np.float32],
    pictures: Iterable[NDArray[np.uint8]],
    names: Sequence[tuple[str, str, str, str]],
) -> None:
    """Write the files. `features` N × D, `pictures` N of H × W × C, `names`: label, answer, right or wrong, id.

    What an earlier call wrote is replaced. Raises: StorageError.
    """
    target = folder / "projector"
    target.mkdir(parents=True, exist_ok=True)
    points = principal(np.nan_to_num(features))
    row = "\t".join(["%.4g"] * points.shape[1])
    files.write_text(target / "vectors.tsv", "\n".join(row % tuple(point) for point in points.tolist()) + "\n")
    lines = ["label\tanswer\tresult\tid", *("\t".join(printable(part) for part in parts) for parts in names)]
    files.write_text(target / "metadata.tsv", "\n".join(lines) + "\n")
    sprite, width, height = _sprite(pictures, len(features))
    files.write_bytes(target / "sprite.png", sprite)
    config = (
        "embeddings {\n"
        '  tensor_name: "features of the validation pictures"\n'
        '  tensor_path: "projector/vectors.tsv"\n'
        '  metadata_path: "projector/metadata.tsv"\n'
        "  sprite {\n"
        '    image_path: "projector/sprite.png"\n'
        f"    single_image_dim: {width}\n"
        f"    single_image_dim: {height}\n"
        "  }\n"
        "}\n"
    )
    files.write_text(folder / "projector_config.pbtxt", config)
