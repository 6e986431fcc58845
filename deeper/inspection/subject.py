"""What is inspected: a run's (or bundle's) network, what it was trained with, and the pictures it is judged on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from deeper import bundle
from deeper.batches import Joined, Pictures, Selected, in_order, open_pictures
from deeper.bundle.folder import series_in
from deeper.distortions import AnyDistortion, Policy
from deeper.distortions.sampling import Fill
from deeper.errors import BundleError, DatasetError, RunError, UsageError, nearest, nearest_path, printable
from deeper.evaluation import Evaluation, evaluate
from deeper.images import Preprocess
from deeper.inference import Predict, check_device, predictor
from deeper.records import Dataset, Split
from deeper.runs import Run, dataset_for
from deeper.runs.folder import is_run
from deeper.runs.judging import label_map, learned_of, open_network, positions_in, with_original
from deeper.runs.pictures import fold_members
from deeper.training.options import Options
from deeper.training.precision import choose_device
from deeper.values import from_plain

# The pictures that a part of a cross-validation did not train on.
HELD_OUT = "held-out"
_BATCH = 500


@dataclass(frozen=True, eq=False)
class Chosen:
    """The inspected pictures. `ids`: N names; `labels`: int64 N, in the run's classes; `training`: int64 N, the position
    in the judge's training split, or −1 for a picture that no judge has trained on."""

    name: str
    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    training: NDArray[np.int64]
    opened: Callable[[Preprocess, int | None], Pictures]
    """At the size that a `Preprocess` makes; in so many bytes of memory, 0: decoded when wanted, None: as is usual."""
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Subject:
    """A network under inspection and all that is known of its training."""

    path: Path
    model: str
    custom: str | None
    """The import path of a network of someone's own, where the user vouched for it."""
    run: Run | None
    """None for a bundle alone, which cannot be trained again."""
    network: nn.Module
    predict: Predict
    preprocess: Preprocess
    classes: tuple[str, ...]
    distortions: tuple[AnyDistortion, ...]
    policy: Policy | None
    fill: Fill
    dataset: Dataset
    """That the pictures come from."""
    judged: Dataset
    """That the judge trains on and neighbours are taken from: the run's own where it is there."""
    judge_labels: NDArray[np.int64]
    """For each label of `judged`, the run's. Shape: K."""
    trained: NDArray[np.bool_]
    """Which pictures of `judged`'s training split the run trained on. Shape: N."""
    chosen: Chosen
    temperature: float = 1.0
    """Of the bundle, at which its probabilities are given."""

    def allows(self, distortion: AnyDistortion) -> NDArray[np.bool_]:
        """Whether training pictures of each class were distorted so. Shape: K."""
        if self.policy is None:
            return np.ones(len(self.classes), np.bool_)
        return self.policy.allows(distortion.name, self.classes)

    def evaluated(self) -> Evaluation:
        """The run's answers on the inspected pictures, with the labels before corrections where there were some."""
        # Each is wanted once: there is nothing to hold in memory.
        pictures = self.chosen.opened(self.preprocess, 0)
        batches = (replace(batch, labels=self.chosen.labels[batch.positions]) for batch in in_order(pictures, _BATCH))
        found = replace(evaluate(self.predict, batches, self.classes), temperature=self.temperature)
        # What a fold held out is of two splits, and no other result is of the same pictures.
        return found if self.chosen.name == HELD_OUT else with_original(found, self.dataset, (self.chosen.name,))


def open_subject(
    place: str | Path,
    source: str | Path | Dataset | None,
    *,
    split: str | None,
    checkpoint: str | int | None,
    device: str,
    model: str | None,
) -> Subject:
    """Open a run or bundle, and the pictures it is to be judged on.

    `split`: validation when None (a part of a cross-validation: what it held out).

    Raises: RunError, BundleError, DatasetError, SourceError; UsageError, for classes that do not match, or when nothing
    but test pictures is there and the split was not named.
    """
    path = Path(place)
    run = Run(path) if is_run(path) else None
    if run is None and not bundle.is_bundle(path):
        what = "is neither a run nor a bundle" if path.exists() else "does not exist"
        near = "" if path.exists() else nearest_path(path)
        advice = series_in(path) or f"; make a run with `deeper train SOURCE`{near}"
        raise BundleError(f"{printable(path)} {what}{advice}")
    check_device(choose_device(device))
    network, preprocess, classes, temperature = open_network(path, run, checkpoint, model)
    distortions, policy, fill, kind = _training(path, run)
    dataset, judged = _datasets(path, run, source)
    label_map(classes, dataset)
    if source is None and split == "validation" and run is not None and run.config.fold is not None:
        # As `evaluate_run` has it: on most of the dataset's own validation pictures it was trained.
        split = HELD_OUT
    chosen = _chosen(run, dataset, judged, split, label_map(classes, dataset))
    predict = predictor(network.to(choose_device(device)), preprocess, device=choose_device(device))
    labels = label_map(classes, judged)
    return Subject(
        path,
        kind,
        model,
        run,
        network,
        predict,
        preprocess,
        classes,
        distortions,
        policy,
        fill,
        dataset,
        judged,
        labels,
        _trained(run, judged),
        chosen,
        temperature,
    )


def _training(path: Path, run: Run | None) -> tuple[tuple[AnyDistortion, ...], Policy | None, Fill, str]:
    policy: Mapping[str, Any] | None
    if run is not None:
        options, policy = run.config.options, run.config.policy
        return options.distortions, Policy.from_plain(policy) if policy else None, options.fill, options.model
    info = bundle.read_info(path)
    # A bundle keeps what the pictures went through, but not what lay outside them.
    options = from_plain(Options, {"distortions": info.distortions}, f"bundle {printable(path)}")
    policy = info.policy
    return options.distortions, Policy.from_plain(policy) if policy else None, "border", info.architecture.model


def _datasets(path: Path, run: Run | None, source: str | Path | Dataset | None) -> tuple[Dataset, Dataset]:
    """(inspected, judge's)."""
    if run is None:
        if source is None:
            raise UsageError(
                f"{printable(path)} is a bundle: say which dataset to inspect it on, deeper inspect BUNDLE DATASET"
            )
        given = dataset_for(source)
        return given, given
    if source is None:
        own = run.dataset()
        return own, own
    given = dataset_for(source)
    try:
        own = run.dataset()
    except (DatasetError, RunError):
        return given, given
    return given, own if own.info.hash != given.info.hash else given


def _trained(run: Run | None, judged: Dataset) -> NDArray[np.bool_]:
    """All training pictures, but for a part of a cross-validation or of a learning curve."""
    count = _counts(judged).get("train", 0)
    if not count or run is None or run.config.dataset_hash != judged.info.hash:
        return np.ones(count, np.bool_)
    return learned_of(run, judged)["train"][0]


def _positions(split: Split, judged: Dataset) -> NDArray[np.int64]:
    """Where its pictures stand in the judge's training split, −1 where they do not. Those of another dataset may well
    be among them, drawn into other splits. Shape: N."""
    if not _counts(judged).get("train"):
        return np.full(len(split), -1, np.int64)
    return positions_in(split, judged.split("train"))


def _counts(dataset: Dataset) -> dict[str, int]:
    return {name: one.count for name, one in dataset.info.splits.items()}


def _chosen(
    run: Run | None,
    dataset: Dataset,
    judged: Dataset,
    split: str | None,
    to_ours: NDArray[np.int64],
) -> Chosen:
    fold = run.config.fold if run is not None and dataset is judged else None
    counts = _counts(dataset)
    if split is None:
        if fold is not None:
            split = HELD_OUT
        elif counts.get("validation"):
            split = "validation"
        else:
            raise UsageError(
                f"the dataset {printable(dataset.path)} has no validation pictures to decide by; build it with "
                "--validation 0.1, or name --split test for a diagnosis"
            )
    known = [name for name, count in counts.items() if count] + ([HELD_OUT] if fold else [])
    if split not in known:
        raise UsageError(
            f"no split {printable(split)!r} to inspect in {printable(dataset.path)}{nearest(split, known)}"
        )
    names = [name for name in ("train", "validation") if counts.get(name)] if split == HELD_OUT else [split]
    splits = [dataset.split(name) for name in names]
    count = sum(len(one) for one in splits)
    rows = np.flatnonzero(fold_members(splits, fold)) if fold and split == HELD_OUT else np.arange(count)
    trained = [_positions(one, judged) for one in splits]

    def opened(fit: Preprocess, memory: int | None) -> Pictures:
        parts = [open_pictures(one, fit, memory_limit=memory) for one in splits]
        pictures: Pictures = parts[0] if len(parts) == 1 else Joined(parts)
        return pictures if len(rows) == count else Selected(pictures, rows)

    def joined(part: Callable[[Split], NDArray[np.int64]]) -> NDArray[np.int64]:
        together: NDArray[np.int64] = np.concatenate([part(one) for one in splits])[rows]
        return together

    ids = [identifier for one in splits for identifier in one.ids]
    return Chosen(
        split,
        tuple(ids[row] for row in rows),
        to_ours[joined(lambda one: one.labels)],
        np.concatenate(trained)[rows].astype(np.int64),
        opened,
        joined(lambda one: one.heights),
        joined(lambda one: one.widths),
    )
