"""What every engine takes, torch among them, checked in one place. Knows no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deeper.errors import UsageError
from deeper.images import Preprocess


def check_pictures(images: NDArray[np.uint8], preprocess: Preprocess) -> NDArray[np.uint8]:
    """uint8 N × H × W × C at the model's size, as given; one of zeros where there is none, whose answer tells how wide an
    empty one is. Raises: UsageError."""
    wanted = (preprocess.height, preprocess.width, preprocess.channels)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != wanted:
        raise UsageError(
            f"the model takes uint8 N×{wanted[0]}×{wanted[1]}×{wanted[2]}, got {images.dtype} "
            f"{'×'.join(map(str, images.shape))}; use Preprocess.fit"
        )
    return images if len(images) else np.zeros((1, *wanted), np.uint8)
