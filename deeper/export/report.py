"""What each way of running a network costs and gives: size, accuracy, differences, latency, throughput."""

from __future__ import annotations

import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper import bundle
from deeper.bundle import Info
from deeper.engines import Engine, exports_of, find_bundle, open_engine, read_export
from deeper.engines.artefact import relative_difference
from deeper.errors import BundleError, MissingExtraError, UsageError
from deeper.export.running import by_tensorflow, torch_export_predictor
from deeper.records import Split
from deeper.runs import Run
from deeper.statistics import wilson_interval
from deeper.values import to_plain

# Single pictures timed for the latency, and seconds of batches for the throughput.
_SINGLE, _SECONDS = 30, 2.0
_BATCH = 64


@dataclass(frozen=True)
class Row:
    """One engine on one split. Times in milliseconds; `megabytes` of its files; `changed` against torch in fp32."""

    engine: str
    precision: str
    megabytes: float
    accuracy: float
    accuracy_interval: tuple[float, float]
    largest_difference: float
    changed: int
    pictures: int
    latency: float
    throughput: float

    def to_plain(self) -> dict[str, Any]:
        """For --json."""
        plain: dict[str, Any] = to_plain(self)
        return plain


def measure(
    run: str | Path,
    *,
    split: str = "validation",
    limit: int | None = None,
    model: str | None = None,
    tensorflow_python: str = sys.executable,
    elsewhere: Mapping[str, Path] | None = None,
    notice: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Run torch and every export beside the run on the pictures of a split, and time them one after the other.

    `limit`: at most so many pictures, evenly spaced. `model`: the import path of a network of one's own.
    `tensorflow_python`: the interpreter that has TensorFlow, for a SavedModel, which is left out where there is none, as
    is an export that cannot be used. `elsewhere`: format → folder of exports that do not lie beside the run, instead of
    those. Raises: UsageError, without pictures; BundleError.
    """
    path = Path(run)
    chosen = split_to_judge(path, split, limit)
    count = min(limit or len(chosen), len(chosen))
    positions = np.unique(np.linspace(0, len(chosen) - 1, num=count).astype(int))
    labels = chosen.labels[positions]
    found = find_bundle(path)
    base = open_engine(found, engine="torch", device="cpu", model=model)  # as every export
    fit = base.info.preprocess
    images = np.stack([fit.fit(chosen.picture(int(one), at_least=fit.needed)) for one in positions])
    exports = exports_of(path) if elsewhere is None else elsewhere
    rows: list[Row] = []
    wanted: NDArray[np.float32] | None = None
    for engine, place in itertools.chain([(base, found)], _exported(exports, found, notice)):
        notice(f"running {engine.name} {engine.precision}")
        if isinstance(engine, _Foreign):
            try:
                measured = by_tensorflow(
                    place / engine.model, images, tensorflow_python, single=_SINGLE, seconds=_SECONDS
                )
            except (BundleError, MissingExtraError) as error:
                notice(f"left out: {error}")
                continue
            logits, latency, throughput = measured.scores.logits, 1000 * measured.latency, measured.throughput
        else:
            logits, latency, throughput = (
                _in_cuts(engine, images),
                _latency(engine, images),
                _throughput(engine, images),
            )
        wanted = logits if wanted is None else wanted
        correct = int((logits.argmax(1) == labels).sum())
        rows.append(
            Row(
                engine=engine.name,
                precision=engine.precision,
                megabytes=sum(one.stat().st_size for one in place.rglob("*") if one.is_file()) / 1e6,
                accuracy=correct / len(labels),
                accuracy_interval=wilson_interval(correct, len(labels)),
                largest_difference=relative_difference(logits, wanted),
                changed=int((logits.argmax(1) != wanted.argmax(1)).sum()),
                pictures=len(labels),
                latency=latency,
                throughput=throughput,
            )
        )
    return rows


def split_to_judge(run: Path, split: str, limit: int | None) -> Split:
    """The split that `measure` will take, which may be asked for before minutes go into exports.

    Raises: UsageError, for a split without pictures or a limit of none; as `Run` and `Dataset`.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: wanted at least 1 picture")
    chosen = Run(run).dataset().split(split)
    if not len(chosen):
        raise UsageError(f"the split {split!r} has no pictures")
    return chosen


# What is reported on, in this order; an OpenVINO export in both of its ways.
_WAYS = (
    ("onnx", "fp32"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino-int8", "int8"),
    ("torch-export", "fp32"),
    ("savedmodel", "fp32"),
)


@dataclass(frozen=True)
class _Foreign:
    """An export that runs in a process of its own."""

    name: str
    precision: str
    model: str
    info: Info


def _exported(
    exports: Mapping[str, Path], found: Path, notice: Callable[[str], None]
) -> Iterator[tuple[Engine | _Foreign, Path]]:
    weights = bundle.read_info(found).weights_sha256
    for name, precision in _WAYS:
        if name not in exports:
            continue
        try:
            opened = _opened(name, exports[name], precision)
        except (BundleError, MissingExtraError) as error:
            notice(f"left out: {error}")
            continue
        if opened.info.weights_sha256 != weights:
            notice(f"left out: {name} is of other weights than the bundle has now; make it again")
        elif opened.precision != precision:
            notice(f"left out: {name} in {precision}, which this processor does not compute in")
        else:
            yield opened, exports[name]


def _opened(name: str, place: Path, precision: str) -> Engine | _Foreign:
    """Raises: BundleError; MissingExtraError."""
    if name not in ("torch-export", "savedmodel"):
        return open_engine(place, precision=precision)
    # What other programs run.
    export = read_export(place)
    if name == "savedmodel":
        return _Foreign(name, precision, export.model, export.bundle)
    return Engine(name, precision, place, export.bundle, torch_export_predictor(place / export.model))


def _in_cuts(engine: Engine, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    cuts = [engine.predict(images[first : first + _BATCH]).logits for first in range(0, len(images), _BATCH)]
    return np.concatenate(cuts)


def _latency(engine: Engine, images: NDArray[np.uint8]) -> float:
    engine.predict(images[:1])
    times = []
    for number in range(_SINGLE):
        began = time.perf_counter()
        engine.predict(images[number % len(images)][None])
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def _throughput(engine: Engine, images: NDArray[np.uint8]) -> float:
    batch = images[np.arange(_BATCH) % len(images)]
    engine.predict(batch)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < _SECONDS:
        engine.predict(batch)
        done += len(batch)
    return done / (time.perf_counter() - began)
