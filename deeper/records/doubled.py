"""Pictures that a dataset has already under other ids: the same files in another folder, or listed by a table."""

from __future__ import annotations

from collections.abc import Sequence

from deeper import files, images
from deeper.errors import SourceError, printable
from deeper.records.dataset import Dataset
from deeper.records.encoding import read_file
from deeper.records.sources import Item, Rejected
from deeper.records.stored import stored


def without_doubled(dataset: Dataset, items: Sequence[Item], workers: int) -> tuple[list[Item], int, list[str]]:
    """The items that the dataset does not have byte for byte in the same class; how many it has; and notices.

    Left in, a doubled picture would lie in two splits as often as not. One that the dataset has in another class, or
    that its corrections left out under another id, is a person's to decide: it is kept and said.
    """
    if not items:
        return [], 0, []
    known: dict[str, set[str]] = {}
    for name in dataset.info.splits:
        split = dataset.split(name)
        for position, facts in enumerate(split.facts):
            known.setdefault(files.sha256(split.encoded(position)), set()).add(facts.text)
    corrections = dataset.info.corrections
    gone = {one.sha256 for one in corrections.excluded if one.sha256} if corrections else set()
    fresh: list[Item] = []
    otherwise: list[str] = []
    left_out: list[str] = []
    digests = _digests(items, workers)
    for item in items:
        digest = digests.get(item.id, "")  # of none that cannot be read: it is refused, by name, when it is written
        classes = known.get(digest, set())
        if item.label in classes:
            continue
        fresh.append(item)
        if classes:
            otherwise.append(item.id)
        elif digest in gone:
            left_out.append(item.id)
    notices = []
    if otherwise:
        notices.append(
            f"{len(otherwise):,} new pictures are in the dataset already under another class (first: "
            f"{printable(otherwise[0], 80)}): deeper labels shows them"
        )
    if left_out:
        notices.append(
            f"{len(left_out):,} new pictures were left out by the dataset's corrections under other ids (first: "
            f"{printable(left_out[0], 80)}), and are taken now: review them again"
        )
    return fresh, len(items) - len(fresh), notices


def _digests(items: Sequence[Item], workers: int) -> dict[str, str]:
    """Id → SHA-256 of what a record would hold. Files that are kept as they are need no decoding for that."""
    found: dict[str, str] = {}
    others: list[Item] = []
    for item in items:
        if item.path is None:
            others.append(item)
            continue
        try:
            data = read_file(str(item.path))
        except (SourceError, OSError):
            continue
        if images.is_kept(data):
            found[item.id] = files.sha256(data)
        else:
            others.append(item)
    for item, encoded in stored(others, workers):
        if not isinstance(encoded, Rejected):
            found[item.id] = files.sha256(encoded)
    return found
