"""Which part of the training split each picture is judged in: drawn by its key, class by class, groups whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deeper import draws
from deeper.errors import DatasetError


def assign_folds(
    ids: Sequence[str], labels: NDArray[np.int64], groups: Sequence[str | None], folds: int, seed: int
) -> NDArray[np.int64]:
    """A fold from 0 to `folds` − 1 for each picture. Shape: N.

    A function of the ids, labels and groups alone, whatever their order. A group of several classes counts for its most
    frequent one. Classes with fewer units than folds are missing in some of them, but no fold is empty.

    Raises: DatasetError, when there are fewer units (groups, or pictures without one) than folds.
    """
    members: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for position, (identifier, group) in enumerate(zip(ids, groups)):
        members[(group is not None, identifier if group is None else group)].append(position)
    if len(members) < folds:
        raise DatasetError(
            f"{len(members)} pictures or groups cannot be judged in {folds} folds; wanted at least one for each: "
            "build the dataset from more pictures, or ask for fewer folds"
        )
    rank = draws.uniforms(seed, 0, draws.keys(name for _, name in members), "judge folds", 1)[:, 0].tolist()
    strata: dict[int, list[tuple[float, str, list[int]]]] = defaultdict(list)
    for number, ((_, name), places) in zip(rank, members.items()):
        counts = Counter(int(labels[place]) for place in places)
        label = min(counts, key=lambda one: (-counts[one], one))
        strata[label].append((number, name, places))
    for units in strata.values():
        units.sort()
    result = _dealt(strata, len(labels), folds, evenly=False)
    # Few classes of few groups can leave a fold empty. Only then they are dealt anew, so that all other folds stay those
    # that runs were made with.
    if len(np.unique(result)) < folds:
        result = _dealt(strata, len(labels), folds, evenly=True)
    return result


def _dealt(
    strata: Mapping[int, Sequence[tuple[float, str, list[int]]]], count: int, folds: int, *, evenly: bool
) -> NDArray[np.int64]:
    """Larger groups first, each to the fold that has fewest pictures of the class so far. Of several such folds a class
    begins at one of its own, so that many small classes do not all fill the first ones; `evenly`: at the one with
    fewest pictures of all classes, by which none stays empty where there are as many groups as folds."""
    result = np.empty(count, np.int64)
    full = [0] * folds
    for label, units in sorted(strata.items()):
        filled = [0] * folds
        for _, _, places in sorted(units, key=lambda unit: -len(unit[2])):
            fold = min(range(folds), key=lambda one: (filled[one], full[one] if evenly else 0, (one - label) % folds))
            filled[fold] += len(places)
            full[fold] += len(places)
            result[places] = fold
    return result
