"""An ONNX export, run by ONNX Runtime on the processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeper.bundle import Info
from deeper.errors import BundleError, MissingExtraError, how_to_install, printable
from deeper.inference.pictures import check_pictures
from deeper.inference.scores import Predict, Scores


def onnx_predictor(path: Path, info: Info, *, batch: int) -> Predict:
    """A function from uint8 N × H × W × C to `Scores`; pictures pass in cuts of `batch`.

    Raises: MissingExtraError; BundleError, for a file that is no such model; the function: UsageError.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError(f"ONNX Runtime is not installed: {how_to_install('onnx')}") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base below Exception
        raise BundleError(f"ONNX Runtime cannot open {printable(path)} ({printable(error, 120)})") from None

    def predict(images: NDArray[np.uint8]) -> Scores:
        pictures = np.ascontiguousarray(check_pictures(images, info.preprocess))
        logits, features = [], []
        for first in range(0, len(pictures), batch):
            one, other = session.run(["logits", "features"], {"images": pictures[first : first + batch]})
            logits.append(one)
            features.append(other)
        return Scores(np.concatenate(logits)[: len(images)], np.concatenate(features)[: len(images)])

    return predict
