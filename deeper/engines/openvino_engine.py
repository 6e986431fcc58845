"""An OpenVINO export, run on the processor in fp32, bf16 or (where its weights are) int8.

Shapes are fixed when a model is compiled, which OpenVINO's kernels need to be fast. So pictures go through in pieces of
one size, the last filled up, and a picture's answer does not depend on those beside it. One picture alone goes through
a model compiled for latency, which gives it all processors; several go through one compiled for throughput, as many
pieces at once as OpenVINO deems best.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.bundle import Info
from deeper.errors import BundleError, MissingExtraError, how_to_install, printable
from deeper.inference.pictures import check_pictures
from deeper.inference.scores import Predict, Scores

# Pictures of fewer values than this go through in pieces, larger ones singly: a request costs some tens of microseconds.
_SMALL_PICTURE = 64 * 64 * 3
_PIECE = 64
_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


def import_openvino() -> Any:
    """The module, without its telemetry. Raises: MissingExtraError."""
    # OpenVINO and NNCF send usage statistics where this package can be imported; without it they do not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError:
        raise MissingExtraError(f"OpenVINO is not installed: {how_to_install('openvino')}") from None
    return openvino


def has_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this processor; asked to where it cannot, it takes fp32 and does not say so.

    Raises: MissingExtraError.
    """
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class _Compiled:
    """A model compiled for one piece size and aim, with requests that run side by side."""

    def __init__(self, openvino: Any, core: Any, model: Any, shape: tuple[int, ...], precision: str, aim: str) -> None:
        model = model.clone()
        model.reshape({"images": list(shape)})
        settings = {"PERFORMANCE_HINT": aim, "INFERENCE_PRECISION_HINT": _HINTS[precision]}
        self.compiled = core.compile_model(model, "CPU", settings)
        self.piece = shape[0]
        self.queue = openvino.AsyncInferQueue(self.compiled)
        self.lock = threading.Lock()
        self.widths = [self.compiled.output(name).shape[1] for name in ("logits", "features")]

    def __call__(self, images: NDArray[np.uint8]) -> Scores:
        count = len(images)
        missing = -count % self.piece
        if missing:
            images = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)])
        logits, features = (np.empty((len(images), width), np.float32) for width in self.widths)

        def done(request: Any, first: int) -> None:
            logits[first : first + self.piece] = request.get_tensor("logits").data
            features[first : first + self.piece] = request.get_tensor("features").data

        # One batch at a time: callers of several threads share the requests.
        with self.lock:
            self.queue.set_callback(done)
            for first in range(0, len(images), self.piece):
                self.queue.start_async({"images": images[first : first + self.piece]}, first)
            self.queue.wait_all()
        return Scores(logits[:count], features[:count])


def openvino_predictor(path: Path, info: Info, *, precision: str) -> Predict:
    """A function from uint8 N × H × W × C to `Scores`.

    Raises: MissingExtraError; BundleError, for files that are no such model; the function: UsageError.
    """
    openvino = import_openvino()
    fit = info.preprocess
    size = (fit.height, fit.width, fit.channels)
    piece = _PIECE if np.prod(size) < _SMALL_PICTURE else 1
    core = openvino.Core()
    # Read once, now that the files were checked: what is compiled later is of the same weights, whatever lies there then.
    try:
        read = core.read_model(str(path))
    except RuntimeError as error:
        raise _unusable(path, error) from None
    made: dict[str, _Compiled] = {}
    lock = threading.Lock()

    def compiled(aim: str, pictures: int) -> _Compiled:
        with lock:
            if aim not in made:
                try:
                    made[aim] = _Compiled(openvino, core, read, (pictures, *size), precision, aim)
                except RuntimeError as error:
                    raise _unusable(path, error) from None
            return made[aim]

    def predict(images: NDArray[np.uint8]) -> Scores:
        pictures = np.ascontiguousarray(check_pictures(images, fit))
        scores = compiled("LATENCY", 1)(pictures) if len(pictures) == 1 else compiled("THROUGHPUT", piece)(pictures)
        return Scores(scores.logits[: len(images)], scores.features[: len(images)])

    return predict


def _unusable(path: Path, error: RuntimeError) -> BundleError:
    return BundleError(f"OpenVINO cannot open {printable(path)} ({printable(' '.join(str(error).split()), 160)})")
