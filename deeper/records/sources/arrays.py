"""Pictures that are arrays already: from Python, or in an `.npz` file.

    (images, labels)                                     one set; splits are drawn when it is built
    {"train": (images, labels), "test": (…)}             splits as given
    .npz with images, labels                             (also x, y; data, targets)
    .npz with x_train, y_train, x_test, y_test           Keras's mnist.npz
    .npz with train_images, train_labels, val_images …   MedMNIST

Pickled arrays are refused: reading a file never runs code.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeper.errors import DeeperError, SourceError, printable
from deeper.records.sources.array_labels import read_labels, text_of
from deeper.records.sources.array_pictures import read_pictures
from deeper.records.sources.groups import groups_of
from deeper.records.sources.item import Item
from deeper.records.sources.listing import Listing, digest, enumerated, split_of, unreadable
from deeper.records.sources.options import NO_OPTIONS, SourceOptions

Pair = tuple[ArrayLike, ArrayLike]

_KINDS = {
    "x": "images",
    "image": "images",
    "images": "images",
    "picture": "images",
    "pictures": "images",
    "data": "images",
    "y": "labels",
    "label": "labels",
    "labels": "labels",
    "target": "labels",
    "targets": "labels",
    "group": "groups",
    "groups": "groups",
}
_CLASS_KEYS = ("classes", "class_names", "label_names")


@dataclass(frozen=True)
class Part:
    """One split of a source of arrays, as given: nothing is checked yet."""

    images: Any
    labels: Any
    groups: Any = None


def open_arrays(
    arrays: Pair | Mapping[str, Pair],
    *,
    options: SourceOptions = NO_OPTIONS,
    name: str = "arrays",
) -> Listing:
    """A source from arrays in memory.

    `images`: N×H×W, N×H×W×C with C 1 or 3, or N×D with `options.shape`; uint8 (or other integers) 0..255, bool,
    or floats 0..1. `labels`: N integers from 0, N names, or one-hot N×K. A dict gives the splits.
    Ids are `array:000123`, or `train/00123` where splits are given.
    Raises: SourceError, for anything that cannot be meant, naming the array and the row.
    """
    if isinstance(arrays, Mapping):
        parts: dict[str | None, Part] = {}
        for word, pair in arrays.items():
            split = split_of(str(word))
            if split is None:
                raise SourceError(f"{printable(word)!r} is no split; wanted a dict of train, validation, test")
            if split in parts:
                raise SourceError(f"two keys of the dict mean {split!r}; wanted one of them")
            parts[split] = _pair(pair, f"the value of {word!r}")
    else:
        parts = {None: _pair(arrays, "the source")}
    return list_parts(parts, options=options, name=name)


def _pair(pair: object, where: str) -> Part:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise SourceError(f"{where} is a {type(pair).__name__}; wanted (images, labels)")
    return Part(pair[0], pair[1])


def _archive(file: BinaryIO, shown: str, wanted: str) -> np.lib.npyio.NpzFile:
    opened = np.load(file, allow_pickle=False)
    if not isinstance(opened, np.lib.npyio.NpzFile):
        raise SourceError(f"{shown} holds one array; {wanted}: numpy.savez(path, images=…, labels=…)")
    return opened


def open_npz(path: Path, *, options: SourceOptions = NO_OPTIONS) -> Listing:
    """A source from an `.npz` file, read without pickle.

    Raises: SourceError, for a file that cannot be read, is damaged, pickled, or whose keys are none of the known ones.
    """
    shown = printable(path)
    wanted = "wanted images and labels, or x_train, y_train, x_test, y_test"
    try:
        # Opened here, for numpy leaves the file of a broken archive open.
        with path.open("rb") as file, _archive(file, shown, wanted) as archive:
            keys = list(archive.files)
            assigned = _assign(keys)
            if not assigned:
                raise SourceError(f"{shown} holds {enumerated(keys) or 'nothing'}; {wanted}")
            named = next((key for key in keys if key.lower() in _CLASS_KEYS), None)
            used = {*[key for kinds in assigned.values() for key in kinds.values()], named}
            parts: dict[str | None, Part] = {}
            for split, kinds in assigned.items():
                for kind in ("images", "labels"):
                    if kind not in kinds:
                        raise SourceError(f"{shown} has no {kind} for {split or 'its pictures'}; {wanted}")
                loaded = {kind: _member(archive, key, shown) for kind, key in kinds.items()}
                parts[split] = Part(loaded["images"], loaded["labels"], loaded.get("groups"))
            if named is not None and options.classes is None:
                given = text_of(_member(archive, named, shown), f"{shown}: {named!r}")
                names = tuple(str(item) for item in given.ravel())
                options = SourceOptions(
                    shape=options.shape, channels=options.channels, group_by=options.group_by, classes=names
                )
    except DeeperError:
        raise  # some are ValueErrors too, and say more
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
        raise SourceError(f"{shown} is no sound .npz file ({printable(error, 80)}); write it again") from None
    except OSError as error:
        raise unreadable(path, error) from None
    ignored = [key for key in keys if key not in used]
    listing = list_parts(parts, options=options, name=path.stem)
    if ignored:
        listing.notices = (*listing.notices, f"{shown}: ignored the arrays {enumerated(ignored)}")
    return listing


def _assign(keys: Sequence[str]) -> dict[str | None, dict[str, str]]:
    """{split: {kind: key}}, from names such as `x_train`, `train_images`, `labels`."""
    assigned: dict[str | None, dict[str, str]] = {}
    for key in keys:
        words = key.lower().split("_")
        split: str | None = None
        if len(words) == 2:
            first, second = split_of(words[0]), split_of(words[1])
            split = first or second
            if split is None:
                continue
            words = [words[1] if first else words[0]]
        kind = _KINDS.get(words[0]) if len(words) == 1 else None
        if kind is None:
            continue
        taken = assigned.setdefault(split, {})
        if kind in taken:
            raise SourceError(f"arrays {taken[kind]!r} and {key!r} mean the same; wanted one of them")
        taken[kind] = key
    if None in assigned and len(assigned) > 1:
        # `data` beside `x_train`: the arrays that name a split are meant.
        del assigned[None]
    return assigned


def _member(archive: np.lib.npyio.NpzFile, key: str, shown: str) -> NDArray[Any]:
    try:
        return np.asarray(archive[key])
    except ValueError as error:
        if "pickle" in str(error).lower():
            raise SourceError(
                f"{shown}: {key!r} holds Python objects (dtype object), which only pickle reads and running a "
                "stranger's pickle runs his code; save numbers, or text as numpy.array(names, dtype=str)"
            ) from None
        raise SourceError(f"{shown}: {key!r} is damaged ({printable(error, 80)}); write the file again") from None
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, MemoryError, OverflowError) as error:
        raise SourceError(f"{shown}: {key!r} is damaged ({printable(error, 80)}); write the file again") from None


def list_parts(parts: Mapping[str | None, Part], *, options: SourceOptions, name: str) -> Listing:
    """The listing behind every source of arrays. Keys of `parts`: split names, or `None` alone.

    Raises: SourceError.
    """
    pictures, notices = read_pictures({split: part.images for split, part in parts.items()}, options)
    labels = read_labels({split: part.labels for split, part in parts.items()}, options.classes)
    items: list[Item] = []
    for split, array in pictures.items():
        where = f"{split} " if split else ""
        indices = labels.indices[split]
        if len(indices) != len(array):
            raise SourceError(f"{len(array)} {where}images and {len(indices)} {where}labels; wanted one label each")
        identifiers = [
            f"{split}/{position:05d}" if split else f"array:{position:06d}" for position in range(len(array))
        ]
        given = parts[split].groups
        if given is None or options.group_by is not None:
            groups, group_notices = groups_of(identifiers, options.group_by)
            if given is not None:
                # As in a table with a column `group`: what the user says counts.
                said = f"--group-by {printable(options.group_by)!r} groups the pictures"
                group_notices = (f"{where}groups of the file are not used: {said}", *group_notices)
        else:
            groups, group_notices = _groups(given, len(array), where)
        notices = (*notices, *group_notices)
        items += [
            Item(identifier, labels.classes[index], split, group, None, picture)
            for identifier, index, group, picture in zip(identifiers, indices.tolist(), groups, array)
        ]
    total = f"{len(items):,} pictures in arrays"

    def identify() -> str:
        parts_of_digest: list[str | bytes | memoryview] = ["arrays", name, *labels.classes]
        for split, array in pictures.items():
            parts_of_digest += [str(split), str(array.shape), np.ascontiguousarray(array).data.cast("B")]
            parts_of_digest += [labels.indices[split].tobytes()]
        parts_of_digest += [item.group or "" for item in items]
        return digest(parts_of_digest)

    return Listing(
        name=name,
        description=f"{name}: {total}" if name != "arrays" else total,
        classes=labels.classes,
        list_items=lambda: items,
        identify=identify,
        notices=(*notices, *labels.notices),
    )


def _groups(groups: Any, count: int, where: str) -> tuple[list[str | None], tuple[str, ...]]:
    """The group of each picture and notices. An empty name is none, as in a table: those pictures are on their own."""
    array = np.asarray(groups)
    if array.shape != (count,) or array.dtype.kind not in "iuUS":
        raise SourceError(f"{where}groups have shape {array.shape}, dtype {array.dtype}; wanted {count} names")
    texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in array.tolist()]
    names = [text if text.strip() else None for text in texts]
    alone = names.count(None)
    notice = f"{alone} {where}pictures have an empty group: each of them is on its own"
    return names, (notice,) if alone else ()
