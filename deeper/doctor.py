"""What is installed, what the hardware offers, which extras are missing, and whether the whole way works here."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from deeper.errors import DeeperError

# Extra → (a module that it brings, what it is for).
EXTRAS = {
    "onnx": ("onnxruntime", "exports to ONNX, and running them"),
    "openvino": ("openvino", "exports to OpenVINO and int8, and running them"),
    "tensorflow": ("tensorflow", "exports to SavedModel"),
    "keras": ("h5py", "weights from Keras' .h5 files"),
    "serve": ("starlette", "the prediction server"),
    "inspect": ("cleanlab", "doubtful labels"),
    "video": ("av", "pictures out of video files"),
    "heic": ("pillow_heif", "pictures of Apple's telephones"),
}
# Flags of /proc/cpuinfo that training and inference gain from, in rising order of what they bring.
_FLAGS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI (int8)",
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX (bf16 matrices)",
    "amx_int8": "AMX (int8 matrices)",
}
_PACKAGES = ("torch", "numpy", "pillow", "simplejpeg", "safetensors", "tensorboard", "matplotlib")


@dataclass(frozen=True)
class Check:
    """One step of the self-test. `problem` is empty where it worked."""

    name: str
    seconds: float
    problem: str


@dataclass(frozen=True)
class Health:
    """Everything that `deeper doctor` prints."""

    versions: dict[str, str]
    processor: dict[str, Any]
    gpus: tuple[str, ...]
    extras: dict[str, bool]
    data: str | None
    free_gigabytes: float
    checks: tuple[Check, ...]

    @property
    def sound(self) -> bool:
        """Whether every step of the self-test worked."""
        return not any(check.problem for check in self.checks)


def examine(self_test: bool = True, notice: Callable[[str], None] = lambda text: None) -> Health:
    """Look at this machine. `self_test`: also walk from pictures to a prediction, which takes some ten seconds."""
    import torch

    from deeper import __version__
    from deeper.models.kernels.library import find_compiler
    from deeper.records.workers import available_processors
    from deeper.training.precision import choose_precision

    flags = _processor_flags()
    precision, why = choose_precision("auto", "cpu")
    gpus = tuple(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
    folder = os.environ.get("DEEPER_DATA")
    return Health(
        versions={"deeper": __version__, "python": platform.python_version(), **_versions()},
        processor={
            "name": _processor_name(),
            "processors": available_processors(),
            "instructions": [text for flag, text in _FLAGS.items() if flag in flags],
            "lacking": [text for flag, text in _FLAGS.items() if flags and flag not in flags],
            "compiler": find_compiler(),
            "precision": precision,
            "precision_reason": why,
        },
        gpus=gpus,
        extras={name: find_spec(module) is not None for name, (module, _) in EXTRAS.items()},
        data=folder if folder and Path(folder).is_dir() else None,
        free_gigabytes=shutil.disk_usage(".").free / 1e9,
        checks=tuple(_walk(notice)) if self_test else (),
    )


def _walk(notice: Callable[[str], None]) -> list[Check]:
    """Build, verify, train, evaluate, predict, and open an export's engines, in a temporary folder."""
    from deeper.prediction import Classifier
    from deeper.records import build
    from deeper.records.verify import verify
    from deeper.runs import evaluate_run, train

    checks: list[Check] = []

    def step(name: str, work: Callable[[], object]) -> bool:
        notice(name)
        began, problem = time.perf_counter(), ""
        try:
            if work() is False:
                problem = "the result is not what it should be"
        except DeeperError as error:
            problem = str(error)
        except Exception as error:  # whatever is broken here, the other steps should be told too
            problem = f"{type(error).__name__}: {error}"
        checks.append(Check(name, time.perf_counter() - began, problem))
        return not problem

    with tempfile.TemporaryDirectory(prefix="deeper-doctor-") as temporary:
        place = Path(temporary)
        dataset, run = place / "dataset", place / "run"
        pictures, labels = _stripes()
        way: tuple[tuple[str, Callable[[], object]], ...] = (
            ("build a dataset", lambda: build((pictures, labels), dataset)),
            ("verify it", lambda: verify(dataset).sound),
            ("train a network", lambda: train(dataset, out=run, epochs=4, quiet=True, options={"batch": 32})),
            ("evaluate it", lambda: evaluate_run(run).accuracy > 0.8),
            ("classify an array", lambda: Classifier(run, engine="torch")(pictures[0]).label == str(labels[0])),
        )
        for name, work in way:
            if not step(name, work):
                break
    return checks


def _stripes(count: int = 600) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], list[str]]:
    """Pictures that any network tells apart: bright stripes across or down, on noise."""
    draws = np.random.default_rng(0)
    pictures = draws.integers(0, 60, (count, 28, 28), dtype=np.uint8)
    labels = ["across" if number % 2 else "down" for number in range(count)]
    for number, picture in enumerate(pictures):
        where = 4 + int(draws.integers(0, 4))
        if number % 2:
            picture[where::8] = 220
        else:
            picture[:, where::8] = 220
    return pictures, labels


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _processor_flags() -> frozenset[str]:
    return frozenset(_from_cpuinfo("flags").split())


def _processor_name() -> str:
    return _from_cpuinfo("model name") or platform.processor() or platform.machine()


def _from_cpuinfo(key: str) -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    except OSError:
        pass
    return ""
