"""A run or bundle judged on a split; several runs compared on the same pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper import bundle
from deeper.batches import in_order, open_pictures
from deeper.errors import RunError, UsageError, nearest, printable
from deeper.evaluation import Evaluation, align, evaluate
from deeper.images import Preprocess
from deeper.inference import predictor
from deeper.records import Dataset
from deeper.runs.dataset import dataset_for
from deeper.runs.folder import Run, is_run
from deeper.statistics import holm, mcnemar, paired_interval
from deeper.training.precision import choose_device

# Pictures decoded and judged at once.
_BATCH = 500


def evaluate_run(
    run: Run | str | Path,
    source: str | Path | Dataset | None = None,
    *,
    split: str = "test",
    checkpoint: str | int | None = None,
    device: str = "auto",
    precision: str | None = None,
    workers: int | None = None,
    model: str | None = None,
) -> Evaluation:
    """Judge a run, interrupted ones included, or a bundle folder.

    `source`: a dataset or source, the run's own when None. `checkpoint`: `best`, `last` or a step; the bundle's weights
    when None, or the last checkpoint's where there is no bundle yet. `precision`: `fp32` or `bf16`, fp32 when None.

    Raises: RunError, BundleError, DatasetError, SourceError; UsageError, for classes that do not match.
    """
    opened = run if isinstance(run, Run) else (Run(run) if is_run(Path(run)) else None)
    place = opened.path if opened else Path(str(run))
    network, preprocess, classes = _network(place, opened, checkpoint, model)
    if source is None:
        if opened is None:
            raise UsageError(f"{printable(place)} is a bundle: say which dataset to judge it on")
        dataset = opened.dataset()
    else:
        dataset = dataset_for(source)
    to_ours = label_map(classes, dataset)
    device = choose_device(device)
    predict = predictor(network.to(device), preprocess, device=device, precision=precision or "fp32")
    pictures = open_pictures(dataset.split(split), preprocess, workers=workers)
    batches = (replace(batch, labels=to_ours[batch.labels]) for batch in in_order(pictures, _BATCH))
    return evaluate(predict, batches, classes)


def _network(
    place: Path, run: Run | None, checkpoint: str | int | None, model: str | None
) -> tuple[Any, Preprocess, tuple[str, ...]]:
    folder = run.bundle_path if run else place
    if checkpoint is None and (run is None or bundle.is_bundle(folder)):
        trusted = model or (run.config.options.model if run else None)
        loaded = bundle.load(folder, model=trusted)
        return loaded.model, loaded.info.preprocess, loaded.info.classes
    if run is None:
        raise RunError(f"{printable(place)} is a bundle and has no checkpoints; leave --checkpoint out")
    state = run.load(checkpoint or "last")
    return state.model, state.preprocess, state.classes


def label_map(classes: Sequence[str], dataset: Dataset) -> NDArray[np.int64]:
    """For each of the dataset's labels the network's, by class name. Shape: K of the dataset.

    Raises: UsageError, for a class that the network does not know.
    """
    for name in dataset.classes:
        if name not in classes:
            raise UsageError(
                f"the dataset {printable(dataset.path)} has a class {printable(name)!r} that the network does not "
                f"know{nearest(name, classes)}"
            )
    return np.array([classes.index(name) for name in dataset.classes], dtype=np.int64)


@dataclass(frozen=True)
class Pair:
    """Two runs on the same pictures. `difference`: accuracy of the first minus the second, with its 95 % interval.
    `p_value`: exact McNemar, adjusted by Holm over all pairs."""

    first: str
    second: str
    only_first: int
    only_second: int
    difference: float
    interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """Several evaluations of the same pictures."""

    evaluations: Mapping[str, Evaluation]
    pairs: tuple[Pair, ...]

    def to_plain(self) -> dict[str, Any]:
        """What `deeper compare --json` prints; keys are described in docs/json.md."""
        return {
            "runs": [{"run": name, **one.summary()} for name, one in self.evaluations.items()],
            "pairs": [
                {
                    "first": pair.first,
                    "second": pair.second,
                    "only_first_right": pair.only_first,
                    "only_second_right": pair.only_second,
                    "difference": pair.difference,
                    "interval": list(pair.interval),
                    "p_value": pair.p_value,
                }
                for pair in self.pairs
            ],
        }


def compare(evaluations: Mapping[str, Evaluation]) -> Comparison:
    """Compare evaluations of the same pictures, pair by pair. Raises: UsageError, when the pictures differ."""
    if len(evaluations) < 2:
        raise UsageError("wanted at least two runs to compare")
    right = align(evaluations)
    raw = []
    for first, second in combinations(evaluations, 2):
        only_first = int(np.sum(right[first] & ~right[second]))
        only_second = int(np.sum(right[second] & ~right[first]))
        total = len(right[first])
        interval = paired_interval(only_first, only_second, total)
        raw.append((first, second, only_first, only_second, (only_first - only_second) / total, interval))
    adjusted = holm([mcnemar(row[2], row[3]) for row in raw])
    return Comparison(dict(evaluations), tuple(Pair(*row, p_value) for row, p_value in zip(raw, adjusted, strict=True)))


def compare_runs(runs: list[str | Path], *, split: str = "test", source: str | Path | None = None) -> Comparison:
    """Judge runs on one split and compare them. Raises: as `evaluate_run` and `compare`."""
    names = [Path(run).resolve().name for run in runs]
    shown = [str(run) if names.count(name) > 1 else name for run, name in zip(runs, names, strict=True)]
    return compare({name: evaluate_run(run, source, split=split) for name, run in zip(shown, runs, strict=True)})
