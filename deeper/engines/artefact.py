"""An export on disk: the model's files with everything that using them needs, in a folder that stands for itself.

    export.json           what it is, which bundle it came from, the hash of every file, what the comparison showed
    model.*               the graph: uint8 pictures at model size in, logits and features out
    golden.safetensors    a few inputs and the bundle's fp32 logits for them
    check.py              compares the two; needs only the engine, numpy and safetensors

Knows no torch.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from deeper import files
from deeper.bundle import Info
from deeper.errors import BundleError, UsageError, printable
from deeper.inference.scores import Predict
from deeper.values import from_plain, to_plain

FORMAT_VERSION = 1
EXPORT, GOLDEN = "export.json", "golden.safetensors"


@dataclass(frozen=True, kw_only=True)
class Export:
    """What `export.json` holds."""

    format_version: int = FORMAT_VERSION
    format: str
    """`onnx`, `openvino`, `openvino-int8`, `torch-export` or `savedmodel`."""
    model: str
    """The file, or folder, that the engine opens."""
    precision: str
    """Of the weights: `fp32` or `int8`."""
    bundle: Info
    """The bundle's description: classes, Preprocess, temperature and threshold."""
    files: Mapping[str, str]
    """Every other file of the folder → SHA-256."""
    golden_tolerance: float
    """Largest difference of a golden logit that passes, as a share of the largest one (of 1, where all are smaller)."""
    comparison: Mapping[str, Any] = field(default_factory=dict)
    """What the export was compared on when it was made, and what that showed."""
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The text of `export.json`."""
        return (json.dumps(to_plain(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def is_export(path: Path) -> bool:
    """Whether `path` holds an export."""
    return (path / EXPORT).is_file()


def damaged(path: Path, what: str) -> BundleError:
    """The one line for an export that cannot be trusted."""
    return BundleError(f"the export {printable(path)} is damaged: {what}; make it again with `deeper export`")


def read_export(path: Path) -> Export:
    """The description of the export at `path`, every file's hash checked. Raises: BundleError."""
    try:
        plain = json.loads((path / EXPORT).read_bytes())
    except OSError as error:
        raise BundleError(f"{printable(path)} is no export ({error.strerror}); make one with `deeper export`") from None
    except (ValueError, RecursionError):
        raise damaged(path, f"{EXPORT} is no JSON") from None
    version = plain.get("format_version") if isinstance(plain, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise BundleError(
            f"the export {printable(path)} has format {version}, newer than {FORMAT_VERSION}, the newest that this version "
            "of deeper reads; update deeper"
        )
    if version != FORMAT_VERSION:
        raise damaged(
            path, f"its format_version is {printable(repr(version), 40)}; this version reads {FORMAT_VERSION}"
        )
    try:
        export = from_plain(Export, plain, EXPORT)
    except UsageError as error:
        raise damaged(path, str(error)) from None
    for name, wanted in export.files.items():
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise damaged(path, f"it names a file outside its folder, {printable(name)}")
        try:
            if not (path / name).is_file():  # a FIFO would be waited for
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            found = files.sha256(path / name)
        except OSError as error:
            raise damaged(path, f"{printable(name)} cannot be read ({error.strerror})") from None
        if found != wanted:
            raise damaged(path, f"{printable(name)} was changed or cut off (its hash does not match)")
    for name in (export.model, GOLDEN):
        if name not in export.files and not any(other.startswith(f"{name}/") for other in export.files):
            raise damaged(path, f"it lacks {printable(name)}")
    return export


def read_golden(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The golden inputs (uint8 N × H × W × C) and their logits (float32 N × K). Raises: BundleError."""
    try:
        tensors = safetensors.numpy.load_file(path / GOLDEN)
        images, logits = tensors["images"], tensors["logits"]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise damaged(path, f"{GOLDEN} cannot be read ({printable(error, 80)})") from None
    if images.dtype != np.uint8 or images.ndim != 4 or logits.dtype != np.float32 or not len(images) == len(logits) > 0:
        raise damaged(path, f"{GOLDEN} does not hold pictures and their logits")
    return images, logits


def check_golden(path: Path, export: Export, predict: Predict) -> float:
    """The largest difference of a golden logit, as a share of the largest one. Raises: BundleError, when too large."""
    images, wanted = read_golden(path)
    difference = relative_difference(predict(images).logits, wanted)
    # Not `difference > allowed`: NaN must not pass.
    if not difference <= export.golden_tolerance:
        raise damaged(
            path,
            f"it answers its golden pictures differently (by {difference:.2g} of the largest logit; "
            f"{export.golden_tolerance:.2g} is allowed)",
        )
    return difference


def relative_difference(given: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """The largest difference as a share of the largest wanted magnitude, or of 1 where that is smaller."""
    if given.shape != wanted.shape:
        return float("inf")
    return float(np.abs(given - wanted).max() / max(1.0, float(np.abs(wanted).max())))
