"""Doubtful labels: which pictures of a dataset should somebody look at before trusting it?

Four questions, asked of all splits: does confident learning (Northcutt et al. 2021; cleanlab) call the label wrong, given
probabilities by networks that did not train on the picture? Is the same picture there twice under different labels? Does
it lie in two splits? Is it unlike all others? Nothing is changed here: `deeper review` is where a person decides.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from deeper.audit.judge import Judge, judge_for
from deeper.audit.options import JudgeOptions
from deeper.batches import in_order, open_pictures
from deeper.errors import MissingExtraError, UsageError, how_to_install
from deeper.inspection import duplicates, nearness
from deeper.inspection.clock import Clock
from deeper.inspection.duplicates import Group
from deeper.inspection.suspects import REASONS, Doubts, Neighbour, Reason, Suspect
from deeper.records import Dataset, Split

Progress = Callable[[str, int, int], None]

# Neighbours that are shown beside a suspect.
NEIGHBOURS = 8
# Robust deviations from the usual distance to the neighbours from which on a picture is unlike all others: one in 30,000
# of a normal distribution.
STRANGE = 4.0
_BATCH = 500
# What is said of a picture that lies in several splits.
_GOES, _STAYS = "lies in another split too", "may stay; its copy in another split should go"


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """What may be chosen of the search."""

    judge: JudgeOptions = field(default_factory=JudgeOptions)
    limit: int = 2000
    """Suspects that are listed at most, the most doubtful ones."""

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise UsageError(f"labels: limit must be at least 1, got {self.limit}")


@dataclass(frozen=True, eq=False)
class Everything:
    """All splits of a dataset, one after the other. `labels`: int64 N; `starts`: where each split begins."""

    splits: list[Split]
    starts: NDArray[np.int64]
    ids: list[str]
    keys: NDArray[np.uint64]
    labels: NDArray[np.int64]
    owners: NDArray[np.int64]
    """Number of the split of each picture. Shape: N."""

    def split_of(self, position: int) -> str:
        split: Split = self.splits[self.owners[position]]
        return split.name


def everything(dataset: Dataset) -> Everything:
    """The splits of a dataset, `train` first."""
    splits = [dataset.split(name) for name, info in dataset.info.splits.items() if info.count]
    sizes = [len(one) for one in splits]
    return Everything(
        splits,
        np.cumsum([0, *sizes])[:-1],
        [identifier for one in splits for identifier in one.ids],
        np.concatenate([one.keys for one in splits]),
        np.concatenate([one.labels for one in splits]),
        np.repeat(np.arange(len(splits)), sizes),
    )


def find_doubts(
    dataset: Dataset,
    *,
    options: LabelOptions | None = None,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> Doubts:
    """Search a dataset for pictures whose label, place or kind is doubtful, in all of its splits.

    `progress(what, done, total)`. Ranked: same pictures with different labels, doubtful labels, leaks, outliers.

    Raises: MissingExtraError, without cleanlab; DatasetError, for one class or fewer pictures than the judge needs.
    """
    options = options or LabelOptions()
    issues_of = _confident_learning()
    say = progress or (lambda what, done, total: None)
    clock = Clock()
    whole = everything(dataset)
    judge = judge_for(
        dataset,
        options=options.judge,
        progress=lambda done, total: say("training the judge", done, total),
        notice=notice,
    )
    clock.lap("judge")
    probabilities, features = read_everything(whole, judge, lambda done, total: say("reading", done, total))
    clock.lap("reading")
    training = whole.owners == 0
    flagged, margin = issues_of(whole.labels, probabilities)
    clock.lap("confident learning")
    prints = duplicates.fingerprints(whole.splits, lambda done, total: say("comparing pictures", done, total))
    spread = nearness.standardised(features, training)
    alike = {*duplicates.same_pictures(prints), *duplicates.across_splits(prints, spread, whole.owners)}
    copies = duplicates.groups(duplicates.confirmed(sorted(alike), whole.splits))
    clock.lap("duplicates")
    strange = nearness.strangeness(spread, whole.keys, training, seen_by_first(whole, judge))
    found = _Found(whole, judge.classes, probabilities)
    found.conflicts(copies)
    found.labels(np.flatnonzero(flagged)[np.argsort(-margin[flagged], kind="stable")], margin)
    found.leaks(copies)
    found.outliers(strange)
    chosen = _most_urgent(list(found.suspects.items()), options.limit)
    suspects = _with_neighbours(chosen, whole, spread, judge.classes)
    clock.lap("neighbours")
    notes = _notes(judge, len(found.suspects), len(suspects))
    if twice := found.doubled(copies):
        what = "picture is" if twice == 1 else "pictures are"
        notes += (
            f"{twice:,} {what} in one split more than once, under one label: not listed, and counted more than once",
        )
    return Doubts(
        source=str(dataset.path),
        dataset_hash=dataset.info.hash,
        pictures=len(whole.ids),
        judge=judge.describe(),
        judge_accuracy=judge.accuracy,
        weak=judge.weak,
        suspects=tuple(suspects),
        found={reason: sum(reason in one.reasons for one in found.suspects.values()) for reason in REASONS},
        suspected=len(found.suspects),
        notes=notes,
        seconds=clock.seconds,
    )


Issues = Callable[[NDArray[np.int64], NDArray[np.float32]], tuple[NDArray[np.bool_], NDArray[np.float64]]]


def _confident_learning() -> Issues:
    """What calls labels wrong: from labels N and probabilities N × K to marks and doubts (0..1), both N."""
    try:
        with warnings.catch_warnings():
            # In a notebook its progress bars miss their widgets. There are none to be shown.
            warnings.filterwarnings("ignore", message="IProgress not found")
            from cleanlab.filter import find_label_issues
            from cleanlab.rank import get_label_quality_scores
    except ImportError:
        raise MissingExtraError(f"doubtful labels need an extra package: {how_to_install('inspect')}") from None

    def issues(
        labels: NDArray[np.int64], probabilities: NDArray[np.float32]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        # One process: the counts take a fraction of a second, and a pool would have to be started first.
        with warnings.catch_warnings():
            # Small classes: our own note on weak judges says so, and without cleanlab's parameter names.
            warnings.filterwarnings("ignore", message="May not flag all label issues")
            flagged = find_label_issues(labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
        quality = get_label_quality_scores(labels, probabilities, method="normalized_margin")
        return np.asarray(flagged, np.bool_), 1 - np.asarray(quality, np.float64)

    return issues


def read_everything(
    whole: Everything, judge: Judge, progress: Callable[[int, int], None]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Probabilities N × K, of training pictures out-of-fold, and features N × D."""
    probabilities, features = [judge.out_of_fold], []
    done, total = 0, len(whole.ids)
    for number, split in enumerate(whole.splits):
        for batch in in_order(open_pictures(split, judge.preprocess), _BATCH):
            features.append(judge.features(batch.images))
            if number:
                probabilities.append(judge.probabilities(batch.images))
            done += len(batch.ids)
            progress(done, total)
    return np.concatenate(probabilities), np.concatenate(features)


def seen_by_first(whole: Everything, judge: Judge) -> NDArray[np.bool_]:
    """Which pictures the network trained on whose features are compared: of the training split all but the first fold.
    Shape: N."""
    seen: NDArray[np.bool_] = whole.owners == 0
    seen[seen] = judge.folds != 0
    return seen


class _Found:
    """Suspects by position, in the order of their rank; a second reason joins the first."""

    def __init__(self, whole: Everything, classes: Sequence[str], probabilities: NDArray[np.float32]) -> None:
        self.whole, self.classes, self.probabilities = whole, classes, probabilities
        self.suspects: dict[int, Suspect] = {}
        self._said: set[tuple[int, Reason, str]] = set()

    def add(self, position: int, reason: Reason, confidence: float, detail: str, suggested: str = "") -> None:
        known = self.suspects.get(position)
        if (position, reason, detail) in self._said:
            return
        self._said.add((position, reason, detail))
        if known is None:
            self.suspects[position] = Suspect(
                id=self.whole.ids[position],
                split=self.whole.split_of(position),
                given=self.classes[self.whole.labels[position]],
                suggested=suggested,
                confidence=min(1.0, max(0.0, confidence)),
                reasons=(reason,),
                detail=detail,
            )
        else:
            self.suspects[position] = replace(
                known,
                reasons=known.reasons if reason in known.reasons else (*known.reasons, reason),
                detail=f"{known.detail}; {detail}",
                suggested=known.suggested or suggested,
            )

    def conflicts(self, groups: Sequence[Group]) -> None:
        """Of a picture under several labels those that the judge believes less come first; all, where it is torn."""
        for group in groups:
            labels = self.whole.labels[group.members]
            if len(np.unique(labels)) == 1:
                continue
            believed = [self._believed(place) for place in group.members]
            for row in np.argsort(believed, kind="stable").tolist():
                if believed[row] > min(believed) + 0.5:
                    continue
                others = np.flatnonzero(labels != labels[row]).tolist()
                twin = group.members[max(others, key=lambda one: (believed[one], -one))]
                label = self.classes[self.whole.labels[twin]]
                detail = f"the same picture as {self._named(twin)}, there {label}"
                self.add(group.members[row], "duplicate", group.likeness[row], detail, suggested=label)

    def labels(self, positions: NDArray[np.int64], doubt: NDArray[np.float64]) -> None:
        for position in positions.tolist():
            given = int(self.whole.labels[position])
            others = self.probabilities[position].copy()
            others[given] = -1
            best = int(others.argmax())
            detail = (
                f"read as {self.classes[best]} with {self.probabilities[position, best]:.1%}, as {self.classes[given]} "
                f"with {self.probabilities[position, given]:.1%}"
            )
            self.add(position, "label", float(doubt[position]), detail, suggested=self.classes[best])

    def leaks(self, groups: Sequence[Group]) -> None:
        """Every copy of a picture that lies in several splits. First those that should go (what is tested on must not be
        learned from, nor chosen by); after all of these the copies in the last split, which may stay."""
        spread = [group for group in groups if len(np.unique(self.whole.owners[group.members])) > 1]
        for stays in (False, True):
            for group in spread:
                owners = self.whole.owners[group.members]
                for place, owner, likeness in zip(group.members, owners.tolist(), group.likeness, strict=True):
                    if (owner == owners.max()) == stays:
                        others = [
                            group.members[np.flatnonzero(owners == one)[0]]
                            for one in np.unique(owners[owners != owner])
                        ]
                        copies = ", ".join(self._named(one) for one in others)
                        self.add(place, "leak", likeness, f"{_STAYS if stays else _GOES}: {copies}")

    def doubled(self, groups: Sequence[Group]) -> int:
        """Copies beyond the first within one split and under one label, which nobody has to decide about."""
        alone = [group for group in groups if len({*self.whole.owners[group.members].tolist()}) == 1]
        return sum(len(group.members) - 1 for group in alone if len(np.unique(self.whole.labels[group.members])) == 1)

    def outliers(self, strange: NDArray[np.float64]) -> None:
        for position in np.argsort(-strange, kind="stable").tolist():
            if strange[position] < STRANGE:
                break
            detail = (
                f"unlike all others: {strange[position]:.1f} deviations beyond the usual distance to its neighbours"
            )
            self.add(position, "outlier", 1 - STRANGE / (STRANGE + float(strange[position])), detail)

    def _named(self, position: int) -> str:
        return f"{self.whole.ids[position]} ({self.whole.split_of(position)})"

    def _believed(self, position: int) -> float:
        return float(self.probabilities[position, self.whole.labels[position]])


# Of more suspects than are listed these are kept first: a leak falsifies the result, an outlier may be a fine picture.
_URGENT = ("duplicate", "leak", "label", "mistake", "outlier")


def _most_urgent(suspects: Sequence[tuple[int, Suspect]], limit: int) -> list[tuple[int, Suspect]]:
    """At most `limit`, in the order that they have."""
    ranks = [min(_URGENT.index(reason) for reason in one.reasons) for _, one in suspects]
    kept = set(sorted(range(len(suspects)), key=lambda number: ranks[number])[:limit])
    return [one for number, one in enumerate(suspects) if number in kept]


def _with_neighbours(
    chosen: Sequence[tuple[int, Suspect]], whole: Everything, features: NDArray[np.float32], classes: Sequence[str]
) -> list[Suspect]:
    """The suspects with the nearest pictures of all splits."""
    own = np.array([position for position, _ in chosen], np.int64)
    places = np.arange(len(features))
    found, distances = nearness.nearest(features[own], own, features, places, NEIGHBOURS)
    # Two pictures drawn at random are √2D apart where each column's deviation is 1.
    usual = max(1e-6, float(np.sqrt(2 * features.var(axis=0).sum())))
    suspects = []
    for (_, suspect), near, far in zip(chosen, found.tolist(), distances.tolist(), strict=True):
        neighbours = tuple(
            Neighbour(
                id=whole.ids[place],
                split=whole.split_of(place),
                label=classes[whole.labels[place]],
                distance=distance / usual,
            )
            for place, distance in zip(near, far)
        )
        suspects.append(replace(suspect, neighbours=neighbours))
    return suspects


def _notes(judge: Judge, found: int, listed: int) -> tuple[str, ...]:
    notes = []
    if judge.weak:
        notes.append(
            f"the judge is weak ({judge.rightness}): many suspects will be right as they are; the first "
            "ones are the most worth a look"
        )
    if listed < found:
        notes.append(f"{found - listed:,} more suspects are not listed: --limit {found}")
    return tuple(notes)
