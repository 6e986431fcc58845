"""Decisions of `corrections.csv` applied to the pictures of a build, and what `dataset.json` remembers of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deeper.errors import DeeperError, SourceError, nearest, printable
from deeper.records import info as dataset_info
from deeper.records.corrections import Decision
from deeper.records.dataset import Dataset
from deeper.records.info import CorrectionsInfo, Excluded, Relabelled
from deeper.records.sources import Item

# Ids that a message names.
_SHOWN = 3


@dataclass(frozen=True)
class Corrected:
    """`items` and their `splits` after corrections, in the old order. `info`: None where nothing was changed."""

    items: list[Item]
    splits: list[str]
    info: CorrectionsInfo | None
    notices: tuple[str, ...]


def correct(
    items: Sequence[Item], splits: Sequence[str], classes: Sequence[str], decisions: Mapping[str, Decision]
) -> Corrected:
    """Relabel and take out what was decided.

    Splits were drawn by the labels as they were: no picture changes its split because another was corrected, so that
    results before and after are of the same pictures.

    Raises: SourceError, for a class that the source does not have, decisions about another source's pictures (no id is
    known, or a picture has another class than it had when the decision was made).
    """
    _check(items, classes, decisions)
    kept: list[Item] = []
    places: list[str] = []
    relabelled: list[Relabelled] = []
    excluded: list[Excluded] = []
    unsure = already = 0
    for item, split in zip(items, splits, strict=True):
        decision = decisions.get(item.id)
        if decision is not None and decision.kind == "exclude":
            excluded.append(Excluded(id=item.id, split=split, was=item.label))
            continue
        if decision is not None and decision.kind == "relabel":
            if item.label == decision.to:
                already += 1
            else:
                relabelled.append(Relabelled(id=item.id, split=split, was=item.label, now=decision.to))
                item = replace(item, label=decision.to)
        unsure += decision is not None and decision.kind == "unsure"
        kept.append(item)
        places.append(split)
    unknown = len(decisions) - sum(item.id in decisions for item in items)
    facts = [(len(relabelled), "relabelled"), (len(excluded), "excluded"), (unsure, "unsure, kept as they are")]
    facts += [(already, "had their new class already"), (unknown, "of pictures that the source does not have")]
    said = "; ".join(f"{count:,} {what}" for count, what in facts if count) or "nothing to change"
    info = CorrectionsInfo(relabelled=tuple(relabelled), excluded=tuple(excluded)) if relabelled or excluded else None
    return Corrected(kept, places, info, (f"corrections: {said}",) if decisions else ())


def _check(items: Sequence[Item], classes: Sequence[str], decisions: Mapping[str, Decision]) -> None:
    labels = {item.id: item.label for item in items}
    if decisions and not any(identifier in labels for identifier in decisions):
        raise SourceError(
            f"none of the {len(decisions):,} corrected pictures is in this source (first: "
            f"{printable(next(iter(decisions)), 60)}); give the source that the reviewed dataset was built from"
        )
    for decision in decisions.values():
        if decision.kind == "relabel" and decision.to not in classes:
            raise SourceError(
                f"corrections: {printable(decision.id, 60)} is to become {printable(decision.to, 60)!r}, which is no "
                f"class of the source{nearest(decision.to, classes)}"
            )
    others = [
        decision
        for decision in decisions.values()
        if decision.kind in ("relabel", "exclude")
        and decision.given
        and labels.get(decision.id, decision.given) not in (decision.given, decision.to)
    ]
    if others:
        named = ", ".join(
            f"{printable(one.id, 60)} (was {printable(one.given, 40)!r}, here {printable(labels[one.id], 40)!r})"
            for one in others[:_SHOWN]
        )
        raise SourceError(
            f"{len(others):,} corrections are of pictures that have another class in this source: {named}; give the "
            "source that was reviewed, or remove these lines"
        )


def moved(corrections: Sequence[Path], items: Sequence[Item], splits: Sequence[str]) -> list[str]:
    """A notice for each dataset in whose folder corrections lie, where pictures of it are in another split now: results
    before and after would not be of the same pictures, and some may test what they taught."""
    now = dict(zip((item.id for item in items), splits, strict=True))
    notices = []
    for folder in dict.fromkeys(Path(path).parent for path in corrections):
        if not (folder / dataset_info.FILE).is_file():
            continue
        try:
            reviewed = Dataset(folder)
            was = {one: name for name in reviewed.info.splits for one in reviewed.split(name).ids}
        except DeeperError:
            continue  # corrections hold without the dataset that they were made on
        others = [one for one, split in was.items() if now.get(one, split) != split]
        if others:
            tested = sum(was[one] == "test" and now[one] == "train" for one in others)
            notices.append(
                f"{len(others):,} pictures are in another split than in {printable(folder)}, {tested:,} of its test pictures are "
                "trained on now: the splits stay where --group-by, --seed, --validation and --test are those of its first "
                "build, and it was not grown by --add"
            )
    return notices
