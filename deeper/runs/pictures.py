"""The pictures of a run, each kept once: those to train on, and those to validate on.

Pictures smaller than the network's input are kept as they are and enlarged in the batch: 60,000 digits take 47 MB at
28 × 28 and 16 GB at 299.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deeper import draws
from deeper.audit.folds import assign_folds
from deeper.batches import Fitted, Joined, Pictures, Selected, open_pictures
from deeper.errors import UsageError
from deeper.images import Preprocess
from deeper.records import Dataset, Part, Split
from deeper.runs.folder import Fold

Progress = Callable[[int, int], None]


def storage(preprocess: Preprocess, factor: float, dataset: Dataset) -> Preprocess:
    """How training pictures are kept: at `factor` times the input's sides, or smaller where no picture is as large."""
    rows, columns = (side * preprocess.crop for side in dataset.info.sizes.largest)
    enough = max(rows / preprocess.height, columns / preprocess.width)
    factor = min(factor, enough) if enough > 0 else factor
    return preprocess.at(max(1, round(preprocess.height * factor)), max(1, round(preprocess.width * factor)))


def _as_they_are(preprocess: Preprocess, dataset: Dataset) -> Preprocess | None:
    """How to keep pictures that are all of one size and smaller than the input; None where they are not."""
    sizes = dataset.info.sizes
    height, width = sizes.largest
    if sizes.smallest != sizes.largest or not height or height * width >= preprocess.height * preprocess.width:
        return None
    return replace(preprocess, height=height, width=width, crop=1.0)


class Opener:
    """Opens a dataset's splits for one run. `whole`: train on whole pictures, though evaluations crop."""

    def __init__(
        self,
        dataset: Dataset,
        preprocess: Preprocess,
        *,
        workers: int | None,
        progress: Progress | None = None,
        whole: bool = False,
    ) -> None:
        self.whole = whole
        self.dataset, self.preprocess, self.workers, self.progress = dataset, preprocess, workers, progress

    def training(self, name: str, store: float, share: float | None = None) -> Pictures:
        """A split at store size, or a share of it."""
        split = self.dataset.split(name)
        part = None if share is None else Part(split, share_members(split.labels, split.keys, share))
        fit = storage(replace(self.preprocess, crop=1.0) if self.whole else self.preprocess, store, self.dataset)
        return open_pictures(split if part is None else part, fit, workers=self.workers, progress=self.progress)

    def validation(self, name: str) -> Pictures:
        """A split as evaluations see it: fitted to the network's size."""
        own = _as_they_are(self.preprocess, self.dataset)
        split = self.dataset.split(name)
        kept = open_pictures(split, own or self.preprocess, workers=self.workers, progress=self.progress)
        return kept if own is None else Fitted(kept, self.preprocess)


def at_size(pictures: Pictures, fit: Preprocess) -> Pictures:
    """Validation pictures as a network at another size would be shown them."""
    if isinstance(pictures, Selected):
        return Selected(at_size(pictures.pictures, fit), pictures.positions)
    if isinstance(pictures, Joined):
        return Joined([at_size(part, fit) for part in pictures.parts])
    if isinstance(pictures, Fitted):
        return Fitted(pictures.pictures, fit)
    # Those that are kept at the input's size were cropped when they were opened.
    return Fitted(pictures, replace(fit, crop=1.0))


def has_validation(dataset: Dataset) -> bool:
    """Whether there is a picture to validate on."""
    splits = dataset.info.splits
    return "validation" in splits and splits["validation"].count > 0


def open_both(opener: Opener, store: float, fold: Fold | None, share: float | None) -> tuple[Pictures, Pictures | None]:
    """Training pictures at store size and validation pictures at the network's, or None where there are none."""
    validated = has_validation(opener.dataset)
    training = opener.training("train", store, share)
    if fold is None:
        return training, opener.validation("validation") if validated else None
    names = ["train", "validation"] if validated else ["train"]
    at_store = Joined([training, *(opener.training(name, store) for name in names[1:])])
    whole = Joined([opener.validation(name) for name in names])
    chosen = fold_members([opener.dataset.split(name) for name in names], fold)
    return Selected(at_store, np.flatnonzero(~chosen)), Selected(whole, np.flatnonzero(chosen))


def fold_members(splits: Sequence[Split], fold: Fold) -> NDArray[np.bool_]:
    """Which pictures of the splits, one behind the other, validate in this fold: of each class an equal part, groups
    whole, whatever the run's seed.

    Raises: DatasetError, for fewer pictures or groups than folds.
    """
    members: NDArray[np.bool_]
    if fold.drawn == "groups":
        ids = [identifier for split in splits for identifier in split.ids]
        groups = [group for split in splits for group in split.groups]
        labels = np.concatenate([split.labels for split in splits])
        members = assign_folds(ids, labels, groups, fold.count, seed=0) == fold.index
        return members
    keys = np.concatenate([split.keys for split in splits])
    rank = np.empty(len(keys), np.int64)
    rank[draws.order(0, 0, keys)] = np.arange(len(keys))
    members = rank % fold.count == fold.index
    return members


def share_members(labels: NDArray[np.int64], keys: NDArray[np.uint64], share: float) -> NDArray[np.int64]:
    """Positions of the examples that a share in (0, 1] keeps, rising: of each class those whose draw ranks lowest, at
    least one, whatever the run's seed; so a smaller share lies within a larger one.

    Raises: UsageError, for a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise UsageError(f"a share of the training pictures must be above 0 and at most 1, got {share}")
    rank = np.empty(len(keys), np.int64)
    rank[draws.order(0, 0, keys)] = np.arange(len(keys))
    kept = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranked = members[np.argsort(rank[members])]
        kept.append(ranked[: max(1, round(share * len(members)))])
    return np.sort(np.concatenate(kept))


def evaluation_batch(height: int, width: int) -> int:
    """Pictures in one inference batch: large enough to be fast, small enough for any memory."""
    return max(16, min(500, math.floor(4_000_000 / (height * width))))
