"""Parts of the pictures (by size, brightness, source folder) that the run reads worse than the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deeper.inspection.result import Slice
from deeper.records.sources.listing import split_of
from deeper.statistics import benjamini_hochberg, fisher_exact, wilson_interval

LEVEL = 0.05
# Smaller parts, and more folders than this, are not tested: nothing could be said of them.
LEAST, FOLDERS = 10, 50
# Pictures that share these sizes or brightnesses cannot be parted in three.
_NAMES = {
    "size": ("smallest third", "middle third", "largest third"),
    "brightness": ("darkest third", "middle third", "brightest third"),
}


def find_slices(
    right: NDArray[np.bool_],
    labels: NDArray[np.int64],
    ids: Sequence[str],
    areas: NDArray[np.int64],
    brightness: NDArray[np.float64],
    classes: Sequence[str],
) -> tuple[Slice, ...]:
    """`right`: bool N, whether each picture was read right. `labels`: int64 N. `areas`: int64 N, pixels. `brightness`:
    float64 N, mean 0..1. `classes`: names, to know a class's folder by.

    Significantly worse ones first, then by p-value.
    """
    found: list[tuple[Literal["size", "brightness", "folder"], str, NDArray[np.bool_]]] = []
    found += [("size", name, chosen) for name, chosen in _thirds(areas.astype(np.float64), _NAMES["size"])]
    found += [("brightness", name, chosen) for name, chosen in _thirds(brightness, _NAMES["brightness"])]
    found += [("folder", name, chosen) for name, chosen in _folders(ids, labels, classes)]
    slices = []
    for kind, name, chosen in found:
        inside, outside = int(chosen.sum()), int((~chosen).sum())
        if inside < LEAST or outside < LEAST:
            continue
        hit, rest = int(right[chosen].sum()), int(right[~chosen].sum())
        slices.append(
            Slice(
                kind=kind,
                name=name,
                pictures=inside,
                correct=hit,
                accuracy=hit / inside,
                interval=wilson_interval(hit, inside),
                rest_accuracy=rest / outside,
                p_value=fisher_exact(hit, inside - hit, rest, outside - rest),
                adjusted_p_value=1.0,
                worse=False,
            )
        )
    adjusted = benjamini_hochberg([one.p_value for one in slices])
    done = [
        replace(one, adjusted_p_value=value, worse=value < LEVEL and one.accuracy < one.rest_accuracy)
        for one, value in zip(slices, adjusted, strict=True)
    ]
    return tuple(sorted(done, key=lambda one: (not one.worse, one.p_value, one.kind, one.name)))


def _thirds(values: NDArray[np.float64], names: Sequence[str]) -> list[tuple[str, NDArray[np.bool_]]]:
    if not len(values) or values.min() == values.max():
        return []
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    if low == values.max():
        # Most pictures are equally large, as one camera makes them: the few smaller ones are the slice.
        parts = [values < low, values == low]
    else:
        parts = [part for part in (values <= low, (values > low) & (values <= high), values > high) if part.any()]
    return list(zip((names[0], names[-1]) if len(parts) == 2 else names, parts, strict=True))


def _folders(
    ids: Sequence[str], labels: NDArray[np.int64], classes: Sequence[str]
) -> list[tuple[str, NDArray[np.bool_]]]:
    """The folders that the pictures came from, without those that only name a split or a class: `train/daisy/cam1/3.png`
    and `test/rose/cam1/8.png` are both of `cam1`. None where each holds one class only: that would say nothing which the
    table per class does not."""
    known = frozenset(classes)
    named = np.array([_source_folder(identifier, known) for identifier in ids], dtype=object)
    counts = Counter(named.tolist())
    if not 2 <= len(counts) <= FOLDERS:
        return []
    parts = [(f"folder {name}", np.asarray(named == name)) for name in sorted(counts) if name]
    return parts if any(len(np.unique(labels[part])) > 1 for _, part in parts) else []


def _source_folder(identifier: str, classes: frozenset[str]) -> str:
    parts = identifier.split("/")[:-1]
    # A class may be called like a split: its folder is the one below the split's.
    if parts and split_of(parts[0]) and (parts[0] not in classes or (len(parts) > 1 and parts[1] in classes)):
        parts = parts[1:]
    return "/".join(parts[1:] if parts and parts[0] in classes else parts)
