"""A run's mistakes as suspects: what it misreads is either its fault or the label's, and a person can tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeper.errors import DatasetError, printable
from deeper.evaluation import Evaluation
from deeper.inspection import nearness
from deeper.inspection.labels import NEIGHBOURS
from deeper.inspection.suspects import Doubts, Neighbour, Suspect
from deeper.records import Dataset
from deeper.runs import Run, evaluate_run, learned_of

# The splits that a network did not learn by heart.
JUDGED = ("validation", "test")


def find_mistakes(
    run: str | Path, *, limit: int = 2000, progress: Callable[[str, int, int], None] | None = None
) -> Doubts:
    """The pictures of validation and test that a run misreads, the surest mistake first, with their neighbours. Of a part
    of a cross-validation those that it held out, wherever they lie, and of test.

    Neighbours are taken from all splits, by the run's own features; their labels are the dataset's.
    Raises: RunError, DatasetError; DatasetError, when there is neither a validation nor a test picture.
    """
    began = time.perf_counter()
    opened = Run(run)
    dataset = opened.dataset()
    names = [name for name, info in dataset.info.splits.items() if info.count]
    unlearned = _unlearned(opened, dataset, names)
    judged = [name for name in names if unlearned[name].any()]
    if not judged:
        raise DatasetError(
            f"{printable(dataset.path)} has no validation or test picture that {printable(run)} could misread; build it "
            "with --validation 0.1"
        )
    found: dict[str, Evaluation] = {}
    for number, name in enumerate(names):
        found[name] = evaluate_run(opened, dataset, split=name)
        if progress:
            progress("reading the pictures", number + 1, len(names))
    features = np.concatenate([_features(one) for one in found.values()])
    owners = np.repeat(np.arange(len(names)), [one.total for one in found.values()])
    ids = [identifier for one in found.values() for identifier in one.ids]
    labels = [one.classes[label] for one in found.values() for label in one.labels]
    starts = dict(zip(names, np.cumsum([0, *(one.total for one in found.values())]).tolist()))
    ranked = sorted(
        ((mistake, name) for name in judged for mistake in found[name].mistakes if unlearned[name][mistake.position]),
        key=lambda pair: (pair[0].true_probability - pair[0].probability, pair[0].id),
    )[:limit]
    own = np.array([starts[name] + mistake.position for mistake, name in ranked], np.int64)
    spread = nearness.standardised(features, owners == 0)
    near, far = nearness.nearest(spread[own], own, spread, np.arange(len(spread)), NEIGHBOURS)
    usual = max(1e-6, float(np.sqrt(2 * spread.var(axis=0).sum())))
    suspects = tuple(
        Suspect(
            id=mistake.id,
            split=name,
            given=mistake.label,
            suggested=mistake.predicted,
            confidence=(1 + mistake.probability - mistake.true_probability) / 2,
            reasons=("mistake",),
            detail=f"read as {mistake.predicted} with {mistake.probability:.1%}, as {mistake.label} with "
            f"{mistake.true_probability:.1%}",
            neighbours=tuple(
                Neighbour(
                    id=ids[place], split=names[owners[place]], label=labels[place], distance=float(distance) / usual
                )
                for place, distance in zip(near[row].tolist(), far[row].tolist())
            ),
        )
        for row, (mistake, name) in enumerate(ranked)
    )
    right = sum(int((found[name].right & unlearned[name]).sum()) for name in judged)
    total = sum(int(unlearned[name].sum()) for name in judged)
    where = " and ".join(judged)
    if opened.config.fold is not None:
        where = "what its fold held out" + (" and test" if "test" in judged else "")
    return Doubts(
        source=str(run),
        dataset_hash=dataset.info.hash,
        pictures=total,
        judge=f"the run itself; {right:,} of {total:,} right on {where}",
        judge_accuracy=right / total,
        weak=False,
        suspects=suspects,
        seconds={"reading": time.perf_counter() - began},
    )


def _unlearned(run: Run, dataset: Dataset, names: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Which pictures of each split the run did not learn by heart."""
    splits = {name: dataset.split(name) for name in names}
    if run.config.fold is None:
        return {name: np.full(len(split), name in JUDGED) for name, split in splits.items()}
    learned = learned_of(run, dataset)
    return {
        name: ~learned[name][0] if name in learned else np.ones(len(split), np.bool_) for name, split in splits.items()
    }


def _features(evaluation: Evaluation) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    # An evaluation of ours keeps them.
    assert evaluation.features is not None
    return evaluation.features
