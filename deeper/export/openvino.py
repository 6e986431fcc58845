"""ONNX → OpenVINO's own format, in fp32 or with int8 weights and activations (NNCF, calibrated on given pictures)."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.bundle import Info
from deeper.engines.openvino_engine import import_openvino
from deeper.errors import MissingExtraError, how_to_install
from deeper.export.graph import converting, metadata

# Pictures that the ranges of activations are taken from; NNCF's own default.
CALIBRATION = 300


def write_openvino(onnx: Path, info: Info, path: Path, calibration: NDArray[np.uint8] | None = None) -> None:
    """Convert `onnx` to `path` (.xml, with .bin beside it).

    `calibration`: uint8 N × H × W × C; with it, weights and activations become int8 (mixed preset: activations may be
    asymmetric, weights are not).

    Raises: MissingExtraError.
    """
    openvino = import_openvino()
    with converting("OpenVINO"):
        model = openvino.Core().read_model(str(onnx))
        if calibration is not None:
            model = _quantised(model, calibration)
    for name, text in metadata(info).items():
        model.set_rt_info(text, name.split("."))
    openvino.save_model(model, str(path), compress_to_fp16=False)


def _quantised(model: Any, calibration: NDArray[np.uint8]) -> Any:
    try:
        import nncf
    except ImportError:
        raise MissingExtraError(f"int8 needs NNCF, which is not installed: {how_to_install('openvino')}") from None
    nncf.set_log_level(logging.ERROR)
    # Evenly spaced: datasets of folders are in the order of their classes, and the first ones would be of a few.
    chosen = np.unique(np.linspace(0, len(calibration) - 1, num=min(CALIBRATION, len(calibration))).astype(int))
    pictures = nncf.Dataset([calibration[one][None] for one in chosen])
    # Its bars go where progress goes: standard output is for results.
    with contextlib.redirect_stdout(sys.stderr):
        return nncf.quantize(model, pictures, preset=nncf.QuantizationPreset.MIXED, subset_size=len(chosen))
