"""Running what was exported, to compare it and to measure it. The engines of `deeper` run ONNX and OpenVINO; what other
programs run is run here as they do it: `torch.export.load`, and TensorFlow in a process of its own."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deeper.bundle import Info
from deeper.errors import BundleError, MissingExtraError, how_to_install, printable
from deeper.export.savedmodel import no_interpreter
from deeper.inference import Predict, Scores

_CUT = 64
_NO_TENSORFLOW = 77
_RUN_SAVED_MODEL = """
import statistics, sys, time
try:
    import numpy, tensorflow
except ImportError:
    sys.exit(77)
model, given, answers, single, seconds = sys.argv[1:]
run = tensorflow.saved_model.load(model).signatures["serving_default"]
images = numpy.load(given, allow_pickle=False)
parts = [run(images=tensorflow.constant(images[first:first + 64])) for first in range(0, len(images), 64)]
found = {name: numpy.concatenate([part[name] for part in parts]) for name in ("logits", "features")}
def timed(batch):
    began = time.perf_counter()
    run(images=tensorflow.constant(batch))["logits"].numpy()
    return time.perf_counter() - began
if float(seconds):
    timed(images[:1])
    found["latency"] = statistics.median(timed(images[number % len(images)][None]) for number in range(int(single)))
    batch = images[numpy.arange(64) % len(images)]
    timed(batch)
    spent = done = 0
    while spent < float(seconds):
        spent, done = spent + timed(batch), done + 64
    found["throughput"] = done / spent
numpy.savez(answers, **found)
"""


@dataclass(frozen=True, eq=False)
class Measured:
    """What TensorFlow gave. `latency`: seconds of one picture; `throughput`: pictures a second; 0 where not asked for."""

    scores: Scores
    latency: float
    throughput: float


def runner(name: str, model: Path, info: Info, *, python: str) -> Predict:
    """A function from uint8 N × H × W × C to `Scores`, over an export's own engine. Raises: MissingExtraError;
    BundleError."""
    if name == "onnx":
        from deeper.engines.onnx_engine import onnx_predictor

        return onnx_predictor(model, info, batch=_CUT)
    if name in ("openvino", "openvino-int8"):
        from deeper.engines.openvino_engine import openvino_predictor

        return openvino_predictor(model, info, precision="int8" if name == "openvino-int8" else "fp32")
    if name == "savedmodel":
        return lambda images: by_tensorflow(model, images, python).scores
    return torch_export_predictor(model)


def torch_export_predictor(model: Path) -> Predict:
    """`torch.export`'s own way. Raises: BundleError."""
    try:
        module = torch.export.load(model).module()
    except (MemoryError, PermissionError):
        raise
    except Exception as error:  # of another version of torch, say
        raise BundleError(
            f"{printable(model)} cannot be opened by this torch ({printable(' '.join(str(error).split()), 160)}); make it "
            "again: deeper export RUN --to torch-export"
        ) from None

    def predict(images: NDArray[np.uint8]) -> Scores:
        with torch.inference_mode():
            parts = [module(torch.from_numpy(images[first : first + _CUT])) for first in range(0, len(images), _CUT)]
        return Scores(
            np.concatenate([logits.numpy() for logits, _ in parts]),
            np.concatenate([features.numpy() for _, features in parts]),
        )

    return predict


def by_tensorflow(
    model: Path, images: NDArray[np.uint8], python: str, *, single: int = 0, seconds: float = 0.0
) -> Measured:
    """Real TensorFlow's answers; with `seconds` also how long it takes: `single` pictures alone, then batches.

    Raises: MissingExtraError, where `python` has no TensorFlow; BundleError, where that cannot run the model.
    """
    with tempfile.TemporaryDirectory(prefix="deeper-tensorflow-") as temporary:
        given, answers = Path(temporary) / "images.npy", Path(temporary) / "answers.npz"
        np.save(given, images, allow_pickle=False)
        command = [python, "-c", _RUN_SAVED_MODEL, str(model), str(given), str(answers), str(single), str(seconds)]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise no_interpreter(python, error) from None
        if ran.returncode == _NO_TENSORFLOW:
            raise MissingExtraError(
                f"{printable(python)} has no TensorFlow: {how_to_install('tensorflow')}, or --tensorflow-python"
            )
        if ran.returncode != 0:
            lines = ran.stderr.strip().splitlines() or ["no reason given"]
            raise BundleError(f"TensorFlow cannot run the SavedModel ({printable(lines[-1], 160)})")
        with np.load(answers, allow_pickle=False) as arrays:
            scores = Scores(arrays["logits"], arrays["features"])
            times = [float(arrays[name]) if name in arrays else 0.0 for name in ("latency", "throughput")]
    return Measured(scores, *times)
