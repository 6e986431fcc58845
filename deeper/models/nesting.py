"""Operations that feed one another as nested series and parallel branches, which is how a figure shows them.

Found from the data flow alone, so it holds for every network: where a value feeds several operations a `Parallel`
begins, and it ends where all paths from there have met again (the immediate post-dominator). A piece whose paths cross
is kept as a plain list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deeper.models.dataflow import Operation


@dataclass(frozen=True)
class Parallel:
    """Branches that start from the same value; an empty one passes it on unchanged."""

    branches: tuple[Series, ...]


Series = tuple["Operation | Parallel", ...]


class _CrossedError(Exception):
    """Paths meet each other before they meet all."""


def operations_of(series: Series) -> Iterator[Operation]:
    """All operations inside, in the order in which a reader meets them."""
    for item in series:
        if isinstance(item, Parallel):
            for branch in item.branches:
                yield from operations_of(branch)
        else:
            yield item


def nest(operations: Sequence[Operation], last: int) -> Series:
    """The operations that lead to number `last`, nested; number 0, the picture, is left out."""
    needed = {last}
    for number in range(last, 0, -1):
        if number in needed:
            needed.update(operations[number].inputs)
    following: dict[int, list[int]] = {number: [] for number in sorted(needed)}
    for number in sorted(needed):
        for source in operations[number].inputs:
            following[source].append(number)
    series = _Nesting(operations, following, last).walk(0, last, set())
    return (*series[1:], operations[last])


class _Nesting:
    """One nesting under way. `following`: for each operation those that it feeds. `meets`: where all paths from an
    operation meet first. Numbers rise along every path, so one sweep from the end finds them (Cooper, Harvey and
    Kennedy, A Simple, Fast Dominance Algorithm, 2001)."""

    def __init__(self, operations: Sequence[Operation], following: Mapping[int, Sequence[int]], last: int) -> None:
        self.operations, self.following = operations, following
        self.meets: dict[int, int] = {}
        for number in sorted(following, reverse=True):
            if number != last:
                self.meets[number] = self._meeting(following[number])

    def _meeting(self, numbers: Sequence[int]) -> int:
        """Where all paths from several operations meet first: one of them, where the others lead to it."""
        meeting = numbers[0]
        for other in numbers[1:]:
            while meeting != other:
                if meeting < other:
                    meeting = self.meets[meeting]
                else:
                    other = self.meets[other]
        return meeting

    def walk(self, start: int, stop: int, seen: set[int]) -> Series:
        """From `start` until before `stop`. Raises: _CrossedError, when it comes to what was seen already."""
        items: list[Operation | Parallel] = []
        number = start
        while number != stop:
            if number in seen:
                raise _CrossedError
            seen.add(number)
            items.append(self.operations[number])
            if len(self.following[number]) > 1:
                items.extend(self._between(number, seen))
            number = self.meets[number]
        return tuple(items)

    def _between(self, number: int, seen: set[int]) -> Series:
        """What lies between an operation and where its paths meet, neither included."""
        inside = set(seen)
        try:
            parallel = self._parallel(self.following[number], self.meets[number], inside)
        except _CrossedError:
            region = {number}
            for later in range(number + 1, self.meets[number]):
                if later in self.following and region & set(self.operations[later].inputs):
                    region.add(later)
            if (region - {number}) & seen:
                # They cross what an outer fork has shown already: that fork becomes the plain list.
                raise
            seen.update(region)
            return tuple(self.operations[later] for later in sorted(region - {number}))
        seen.update(inside)
        return (parallel,)

    def _parallel(self, targets: Sequence[int], stop: int, seen: set[int]) -> Parallel:
        """Branches that meet among themselves before `stop` become one branch that begins with a `Parallel`."""
        families: dict[int, list[int]] = {}
        for target in targets:
            ancestor = target
            while ancestor != stop and self.meets[ancestor] != stop:
                ancestor = self.meets[ancestor]
            families.setdefault(ancestor, []).append(target)
        branches: list[Series] = []
        for family in families.values():
            if len(family) == 1:
                branches.append(self.walk(family[0], stop, seen))
            elif family[0] == stop:
                branches.append(())
            else:
                meeting = self._meeting(family)
                branches.append((self._parallel(family, meeting, seen), *self.walk(meeting, stop, seen)))
        return Parallel(tuple(branches))


def signature(series: Series) -> tuple[Any, ...]:
    """Equal for series that a figure would draw alike."""
    return tuple(
        ("parallel", *(signature(branch) for branch in item.branches))
        if isinstance(item, Parallel)
        else (
            item.kind,
            item.shape[1:] if item.kind.endswith("pool") else item.shape,
            item.kernel,
            item.stride,
            item.groups,
            item.label,
            item.scale,
            tuple(item.then),
        )
        for item in series
    )
