"""What the first build corrected, corrected again when its source is appended with `--add`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deeper import files
from deeper.errors import DatasetError, printable
from deeper.records.info import CorrectionsInfo
from deeper.records.sources import Item, Rejected
from deeper.records.stored import stored


@dataclass(frozen=True)
class Reapplied:
    """`items`: what goes on; `excluded`: how many were left out before and are again; `rejected`: those of them that
    cannot be read any more."""

    items: list[Item]
    excluded: int
    rejected: list[Rejected]


def with_hashes(info: CorrectionsInfo, items: Sequence[Item], workers: int) -> CorrectionsInfo:
    """Of each picture that was left out its hash, by which it is known when it comes again; none where it cannot be read."""
    gone = {one.id for one in info.excluded}
    hashes = {
        item.id: files.sha256(encoded)
        for item, encoded in stored([item for item in items if item.id in gone], workers)
        if isinstance(encoded, bytes)
    }
    return replace(info, excluded=tuple(replace(one, sha256=hashes.get(one.id)) for one in info.excluded))


def reapply(items: Sequence[Item], info: CorrectionsInfo | None, dataset: Path, workers: int) -> Reapplied:
    """The items of a source that is appended: pictures that were left out stay out, relabelled ones get their new class.

    Raises: DatasetError, when the id of a picture that was left out stands for another one.
    """
    if info is None:
        return Reapplied(list(items), 0, [])
    gone = {one.id: one for one in info.excluded}
    again = [item for item in items if item.id in gone]
    changed = [item.id for item in again if item.label != gone[item.id].was]
    rejected: list[Rejected] = []
    # A dataset of an older version, or a picture that could not be read then, has no hash to compare with.
    known = [item for item in again if item.label == gone[item.id].was and gone[item.id].sha256 is not None]
    for item, encoded in stored(known, workers):
        if isinstance(encoded, Rejected):
            rejected.append(encoded)
        elif files.sha256(encoded) != gone[item.id].sha256:
            changed.append(item.id)
    if changed:
        raise DatasetError(
            f"{len(changed):,} ids of the source are those of pictures that corrections left out of {printable(dataset)} "
            f"and stand for other pictures or classes (first: {printable(changed[0])}); rename these files (of arrays: "
            "put the old ones first in the new file), or build a new dataset"
        )
    now = {(one.id, one.was): one.now for one in info.relabelled}
    left = [
        replace(item, label=now[item.id, item.label]) if (item.id, item.label) in now else item
        for item in items
        if item.id not in gone
    ]
    return Reapplied(left, len(again) - len(rejected), rejected)
