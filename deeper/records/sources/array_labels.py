"""Labels as people have them (indices, names, one-hot) → class names and an index for every picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeper.errors import SourceError, printable
from deeper.records.sources.listing import enumerated, in_natural_order
from deeper.records.sources.walk import clean


@dataclass(frozen=True)
class Labels:
    """`indices` of each split point into `classes`; dtype int64, shape N."""

    classes: tuple[str, ...]
    indices: dict[str | None, NDArray[np.int64]]
    notices: tuple[str, ...] = ()


def read_labels(given: Mapping[str | None, Any], classes: tuple[str, ...] | None) -> Labels:
    """Labels of each split: N (or N×1) integers, N names, or one-hot N×K, the same kind in every split.

    Integers are indices into `classes` where that is given; else they name their classes themselves ("0", "7").
    Raises: SourceError, naming the split, the row and the value.
    """
    if classes is not None:
        classes = tuple(clean(name.strip()) for name in classes)
        if twice := [name for name, count in Counter(classes).items() if count > 1]:
            raise SourceError(f"class names occur twice: {enumerated(twice)}; wanted each once")
    arrays = {split: _one(value, f"{split} labels" if split else "labels") for split, value in given.items()}
    filled = {split: array for split, array in arrays.items() if len(array)}
    if not filled:
        return Labels(classes or (), {split: np.empty(0, np.int64) for split in arrays})
    nothing = {split: np.empty(0, np.int64) for split in arrays.keys() - filled.keys()}
    found = _filled(filled, {_width(given[split]) for split in filled}, classes)
    return Labels(found.classes, {split: {**nothing, **found.indices}[split] for split in arrays}, found.notices)


def _filled(
    arrays: Mapping[str | None, NDArray[Any]], widths: set[int | None], classes: tuple[str, ...] | None
) -> Labels:
    """Of splits that have labels: an empty one has none that could be of another kind."""
    kinds = {("names" if array.dtype.kind == "U" else "indices") for array in arrays.values()}
    if len(kinds) > 1:
        raise SourceError("labels are names in one split and numbers in another; wanted one kind in all")
    if kinds == {"names"}:
        return _named(arrays, classes)
    if len(widths) > 1:
        shown = ", ".join(str(width) if width else "no" for width in sorted(widths, key=lambda width: width or 0))
        raise SourceError(f"labels have {shown} one-hot columns in the splits; wanted the same in all")
    return _indexed(arrays, classes, widths.pop())


def _width(value: Any) -> int | None:
    shape = np.shape(value)
    return int(shape[1]) if len(shape) == 2 and shape[1] > 1 else None


def _one(given: Any, where: str) -> NDArray[Any]:
    """One split's labels: int64 N, or str N."""
    try:
        array = np.asarray(given)
    except (ValueError, TypeError):
        raise SourceError(f"{where} do not form one array; wanted one label for each picture") from None
    if array.dtype.kind == "O":
        if array.ndim == 1 and all(isinstance(item, str) for item in array.tolist()):
            array = array.astype(str)  # pandas columns of text come as objects
        else:
            raise SourceError(f"{where} have dtype object; wanted integers, names, or one-hot rows")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.dtype.kind in "buif":
        return _from_one_hot(array, where)
    if array.ndim != 1:
        raise SourceError(f"{where} have shape {array.shape}; wanted N indices or names, or one-hot N×K")
    array = text_of(array, where)
    if array.dtype.kind == "U":
        return array
    if array.dtype.kind not in "buif":
        raise SourceError(f"{where} have dtype {array.dtype}; wanted integers, names, or one-hot rows")
    return _from_numbers(array, where)


def text_of(array: NDArray[Any], where: str) -> NDArray[Any]:
    """Bytes as text, anything else as it is. Raises: SourceError, for bytes that are no UTF-8."""
    if array.dtype.kind != "S":
        return array
    try:
        return np.char.decode(array, "utf-8")
    except UnicodeDecodeError:
        raise SourceError(f"{where} are bytes that are no UTF-8; wanted text") from None


def _from_numbers(array: NDArray[Any], where: str) -> NDArray[np.int64]:
    if array.dtype.kind == "f":
        bad = np.flatnonzero(~np.isfinite(array) | (np.rint(array) != array))
        if len(bad):
            raise SourceError(f"{where}: row {bad[0]} is {array[bad[0]]}; wanted whole numbers from 0, or names")
    below = np.flatnonzero(array < 0)
    if len(below):
        raise SourceError(f"{where}: row {below[0]} is {array[below[0]]}, out of range; wanted whole numbers from 0")
    above = np.flatnonzero(array > np.iinfo(np.int32).max)
    if len(above):
        raise SourceError(f"{where}: row {above[0]} is {array[above[0]]}, out of range; wanted indices of classes")
    return array.astype(np.int64)


def _from_one_hot(array: NDArray[Any], where: str) -> NDArray[np.int64]:
    right = ((array == 0) | (array == 1)).all(axis=1) & ((array == 1).sum(axis=1) == 1)
    bad = np.flatnonzero(~right)
    if len(bad):
        row = printable(np.array2string(array[bad[0]], max_line_width=1000, threshold=8), 60)
        raise SourceError(f"{where}: row {bad[0]} is {row}; wanted one-hot rows with a single 1 and zeros beside it")
    indices: NDArray[np.int64] = array.argmax(axis=1).astype(np.int64)
    return indices


def _named(arrays: Mapping[str | None, NDArray[Any]], classes: tuple[str, ...] | None) -> Labels:
    # One spelling of each letter, as for names of folders and in tables.
    stripped = {split: _cleaned(np.char.strip(array)) for split, array in arrays.items()}
    present: set[str] = set()
    for split, array in stripped.items():
        where = f"{split} labels" if split else "labels"
        empty = np.flatnonzero(np.char.str_len(array) == 0)
        if len(empty):
            raise SourceError(f"{where}: row {empty[0]} is an empty name; wanted the name of a class")
        present.update(np.unique(array).tolist())
    if classes is None:
        classes = in_natural_order(present)
    unknown = [name for name in in_natural_order(present) if name not in classes]
    if unknown:
        raise SourceError(f"labels hold {enumerated(unknown)}, which are no classes; wanted {enumerated(classes)}")
    position = {name: index for index, name in enumerate(classes)}
    indices = {
        split: np.fromiter((position[name] for name in array.tolist()), np.int64, len(array))
        for split, array in stripped.items()
    }
    return Labels(classes, indices)


def _cleaned(names: NDArray[Any]) -> NDArray[Any]:
    spellings, places = np.unique(names, return_inverse=True)
    return np.array([clean(str(name)) for name in spellings], dtype=np.str_)[places] if len(names) else names


def _indexed(
    arrays: Mapping[str | None, NDArray[np.int64]], classes: tuple[str, ...] | None, width: int | None
) -> Labels:
    count = len(classes) if classes is not None else width
    if classes is not None and width is not None and width != len(classes):
        raise SourceError(f"labels have {width} one-hot columns and there are {len(classes)} class names")
    if count is not None:
        for split, array in arrays.items():
            bad = np.flatnonzero(array >= count)
            if len(bad):
                where = f"{split} labels" if split else "labels"
                raise SourceError(
                    f"{where}: row {bad[0]} is {array[bad[0]]}, out of range; wanted 0..{count - 1} for {count} classes"
                )
        return Labels(classes or tuple(map(str, range(count))), dict(arrays))
    # Without names the numbers name the classes. What no picture shows is no class: labels 1..26 make 26 classes.
    present = np.unique(np.concatenate(list(arrays.values())))
    names = tuple(map(str, present.tolist()))
    notices: tuple[str, ...] = ()
    if len(present) and present[-1] != len(present) - 1:
        notice = (
            f"labels are {len(present)} numbers from {names[0]} to {names[-1]} with gaps or not from 0: "
            "each number is the name of a class, and only those that occur are classes"
        )
        notices = (notice,)
    return Labels(names, {split: np.searchsorted(present, array) for split, array in arrays.items()}, notices)
