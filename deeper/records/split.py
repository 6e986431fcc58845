"""Which picture belongs to which split: drawn by a stable hash of its id, class by class, groups whole.

A *unit* is a group, or a picture without one. Every unit has a number in [0, 1) that is a function of the seed and of
its name alone (`draws.uniforms`, purpose "split"), and within its class the units with the lowest numbers are the test
split, the next ones validation, the rest train. A unit of several classes counts for its most frequent one.

**The first build** takes by rank: exactly the wanted share of each class, rounded, so that twenty pictures of a class
give two, not "two on average". Each drawn split gets at least one unit of a class that has enough of them, and train
always keeps one. A group of more than twice the share of its class stays in train where others can go.

**A growing dataset** takes by threshold, since a rank would move when pictures are added. The threshold is the share
itself (0.1), pushed just so far that it agrees with the old pictures of the class: not below the highest number that is
in the split, not above the lowest that is beyond it. Old pictures are never assigned again, so none can move, and old
and new ones lie on the same sides of the same thresholds. A new picture of an old group follows its group.

Where the source gives a split to some pictures of a group and leaves others open, the open ones follow the given ones.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deeper import draws
from deeper.errors import UsageError, printable
from deeper.records.info import SPLITS
from deeper.records.options import DEFAULT_SHARE, BuildOptions

# The lowest numbers first.
_DRAWN_ORDER = ("test", "validation")
# How far beyond the asked share, and by how many pictures, a split of new pictures must be for a notice.
_FAR, _MANY = 1.5, 10


@dataclass(frozen=True, slots=True)
class Member:
    """What the draw needs to know of a picture. `split`: as the source gives it."""

    id: str
    label: str
    group: str | None
    split: str | None


@dataclass(frozen=True)
class Assignment:
    """`splits`: one name per member. `drawn`: the splits that were drawn, with their shares."""

    splits: tuple[str, ...]
    drawn: Mapping[str, float]
    notices: tuple[str, ...]


@dataclass(slots=True)
class _Unit:
    number: float
    label: str
    positions: list[int]


def assign(members: Sequence[Member], options: BuildOptions) -> Assignment:
    """The splits of a first build. Only pictures that the source leaves open or puts in `train` are drawn from.

    Raises: UsageError, when validation and test leave nothing to train on.
    """
    home = _given_homes(members)
    splits = [member.split or home.get(member.group) or "train" for member in members]
    given = {member.split for member in members if member.split}
    pool = [position for position, split in enumerate(splits) if split == "train"]
    notices = [
        f"{name}: as the source gives it; --{name} is not used"
        for name, share in _asked(options)
        if share is not None and name in given
    ]
    shares = {name: DEFAULT_SHARE if share is None else share for name, share in _asked(options) if name not in given}
    shares = {name: share / max(1, len(pool)) if share >= 1 else share for name, share in shares.items() if share}
    if sum(shares.values()) >= 1:
        raise UsageError(
            f"{' and '.join(f'{name} {share:.3g}' for name, share in shares.items())} leave nothing of {len(pool)} pictures to "
            f"train on; {' and '.join(f'--{name}' for name in shares)} take less, {DEFAULT_SHARE} each where not given"
        )
    drawn = _by_rank(members, pool, shares, options.seed or 0)
    for position, split in drawn.items():
        splits[position] = split
    for name in reversed(_DRAWN_ORDER):
        if name in shares:
            count = sum(split == name for split in drawn.values())
            by_group = ", groups whole" if any(members[position].group for position in pool) else ""
            classes = Counter(members[position].label for position in pool)
            # Of a small class the share would be less than one picture, but none shall be missing.
            raised = any(shares[name] * pictures < 1 for pictures in classes.values() if pictures > 1)
            least = ", at least one" if raised else ""
            notices.append(
                f"{name}: {count:,} of {len(pool):,} pictures drawn ({shares[name]:.3g} of each class{least}{by_group}); "
                f"--{name} 0 for none"
            )
    notices += _torn_groups(members, splits)
    return Assignment(tuple(splits), shares, tuple(notices))


def assign_more(
    members: Sequence[Member], old: Sequence[Member], drawn: Mapping[str, float], seed: int, *, agreeing: bool = True
) -> Assignment:
    """The splits of pictures that join the `old` ones, of which every `split` is set. `agreeing`: whether those were drawn
    by the same shares, so that old and new ones lie on the same sides of the same thresholds."""
    homes: dict[str | None, set[str]] = defaultdict(set)
    for member in old:
        if member.group is not None and member.split:
            homes[member.group].add(member.split)
    # Of a group that the source tore apart: the new ones add nothing to what is judged.
    old_home = {group: min(splits, key=SPLITS.index) for group, splits in homes.items()}
    given_home = _given_homes(members)
    # As in a first build: what the new source gives itself is not drawn.
    given = {member.split for member in members}
    shares = {name: share for name, share in drawn.items() if name not in given}
    splits: list[str] = []
    pool: list[int] = []
    for position, member in enumerate(members):
        followed = old_home.get(member.group) or (given_home.get(member.group) if member.split is None else None)
        splits.append(followed or member.split or "train")
        if followed is None and member.split in (None, "train"):
            pool.append(position)
    old_units: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for unit in _units(old, range(len(old)), seed):
        old_units[unit.label].append((unit.number, old[unit.positions[0]].split or "train"))
    thresholds = {label: _thresholds(numbers if agreeing else [], shares) for label, numbers in old_units.items()}
    units = _units(members, pool, seed)
    for unit in units:
        if unit.label in old_units:
            split = next((name for name, threshold in thresholds[unit.label] if unit.number < threshold), "train")
            for position in unit.positions:
                splits[position] = split
    # Classes that are new here are drawn as in a first build.
    fresh = [position for unit in units if unit.label not in old_units for position in unit.positions]
    for position, split in _by_rank(members, fresh, shares, seed).items():
        splits[position] = split
    grown = set(pool).difference(fresh)
    notices = _beyond_share([splits[position] for position in grown], shares) + _torn_groups(members, splits)
    return Assignment(tuple(splits), drawn, tuple(notices))


def _given_homes(members: Sequence[Member]) -> dict[str | None, str]:
    """Group → split that its open pictures follow, where the source gives one to others of the group.

    Not where that is `train`, from which whole groups are drawn. Of several, which the source tears apart itself, the
    first in the order of `SPLITS`: the open pictures then add nothing to what is judged.
    """
    given: dict[str, set[str]] = defaultdict(set)
    for member in members:
        if member.group is not None and member.split is not None:
            given[member.group].add(member.split)
    return {group: min(splits, key=SPLITS.index) for group, splits in given.items() if "train" not in splits}


def _asked(options: BuildOptions) -> list[tuple[str, float | int | None]]:
    return [("validation", options.validation), ("test", options.test)]


def _units(members: Sequence[Member], positions: Iterable[int], seed: int) -> list[_Unit]:
    """The units of some members, in the order of their first picture."""
    together: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for position in positions:
        member = members[position]
        together[(member.group is not None, member.id if member.group is None else member.group)].append(position)
    keys = draws.keys(name for _, name in together)
    numbers = draws.uniforms(seed, 0, keys, "split", 1)[:, 0].tolist()
    units = []
    for number, places in zip(numbers, together.values()):
        label = members[places[0]].label
        if len(places) > 1:
            counts = Counter(members[position].label for position in places)
            # The first of the most frequent ones in alphabetical order: independent of the order of the pictures.
            label = min(counts, key=lambda name: (-counts[name], name))
        units.append(_Unit(number, label, places))
    return units


def _by_rank(members: Sequence[Member], pool: Sequence[int], shares: Mapping[str, float], seed: int) -> dict[int, str]:
    """Position → split for what leaves `train`."""
    strata: dict[str, list[_Unit]] = defaultdict(list)
    for unit in _units(members, pool, seed):
        strata[unit.label].append(unit)
    result: dict[int, str] = {}
    for units in strata.values():
        units.sort(key=lambda unit: (unit.number, members[unit.positions[0]].id))
        pictures = sum(len(unit.positions) for unit in units)
        left = units
        names = [name for name in _DRAWN_ORDER if name in shares]
        for number, name in enumerate(names):
            wanted = max(1.0, np.floor(shares[name] * pictures + 0.5))
            # A unit of more than twice the share is passed over: one patient with most of the pictures would leave
            # nothing to train on. Of the others a prefix is taken, so that a threshold can stand for it later.
            fitting = [unit for unit in left if len(unit.positions) <= 2 * wanted]
            taken: list[_Unit] = []
            count = 0
            for unit in fitting or [min(left, key=lambda one: len(one.positions))]:
                remaining = len(left) - len(taken)
                # One unit always stays for train, and one for each split that is still to be drawn.
                if remaining <= 1 or (taken and remaining <= len(names) - number):
                    break
                if taken and count + len(unit.positions) / 2 > wanted:
                    break
                taken.append(unit)
                count += len(unit.positions)
                for position in unit.positions:
                    result[position] = name
                if count >= wanted:
                    break
            chosen = set(map(id, taken))
            left = [unit for unit in left if id(unit) not in chosen]
    return result


def _thresholds(old: Sequence[tuple[float, str]], drawn: Mapping[str, float]) -> list[tuple[str, float]]:
    """Below which number a unit of a class goes to which split, the first that fits: so that those drawn before, each
    with its number in `old`, would go where they are."""
    found: list[tuple[str, float]] = []
    within: set[str] = set()
    share = 0.0
    for name in _DRAWN_ORDER:
        if name not in drawn:
            continue
        within.add(name)
        share += drawn[name]
        low = max((unit for unit, split in old if split in within), default=0.0)
        high = min((unit for unit, split in old if split not in within), default=1.0)
        found.append((name, min(max(share, np.nextafter(low, 1)), high) if low < high else share))
    return found


def _beyond_share(splits: Sequence[str], drawn: Mapping[str, float]) -> list[str]:
    """A notice for each split that gets far more of the new pictures than was asked, as after a tiny first build."""
    notices = []
    for name in reversed(_DRAWN_ORDER):
        if name not in drawn:
            continue
        count, wanted = splits.count(name), drawn[name] * len(splits)
        if count > _FAR * wanted and count - wanted >= _MANY:
            notices.append(
                f"{name}: {count:,} of {len(splits):,} new pictures of old classes drawn, {count / len(splits):.2g} of them "
                f"where {drawn[name]:.3g} is asked: they go by the few old pictures of their class, and groups stay whole; "
                "for the asked share build all pictures anew"
            )
    return notices


def _torn_groups(members: Sequence[Member], splits: Sequence[str]) -> list[str]:
    places: dict[str, set[str]] = defaultdict(set)
    for member, split in zip(members, splits):
        if member.group is not None:
            places[member.group].add(split)
    torn = [group for group, where in places.items() if len(where) > 1]
    if not torn:
        return []
    text = (
        f"{len(torn)} groups stand in more than one split, as the source gives it (first: {printable(torn[0], 60)}, in "
        f"{' and '.join(sorted(places[torn[0]]))}): results on these pictures will look better than they are"
    )
    return [text]
