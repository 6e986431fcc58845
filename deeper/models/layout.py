"""Where everything of an architecture's drawing stands, in points on the page. Knows no matplotlib.

A block becomes a `Card`: its branches side by side, each a column of boxes. Layers that follow one another without
branches share a card, a row each. Cards flow down the page in columns, as text does in a newspaper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from deeper.models.dataflow import Operation
from deeper.models.nesting import Parallel, Series
from deeper.models.structure import Block

BOX, BAR, GAP, FORK = 11.5, 9.5, 6.0, 6.0
HEADER, PADDING, ROW = 25.0, 7.0, 17.0
BETWEEN_CARDS, BETWEEN_COLUMNS = 15.0, 24.0
WIDEST_BOX, NARROWEST_BOX, BETWEEN_BOXES = 62.0, 33.0, 5.0
# Share of a box's width that a branch without operations takes.
_EMPTY = 0.45
Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """An operation drawn. `x`, `y`: of its upper left corner; y grows downwards."""

    operation: Operation
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Line:
    """A polyline; `arrow`: whether it ends in one."""

    points: tuple[Point, ...]
    arrow: bool = False


@dataclass
class Card:
    """One or several blocks drawn in one frame, at the place of its upper left corner.

    `rows`: whether it lists layers, one a row, each a block (or an operation of the one block that it shows).
    """

    blocks: list[Block]
    rows: bool
    height: float
    column: int = 0
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    @property
    def auxiliary(self) -> bool:
        return self.blocks[0].role == "auxiliary"

    @property
    def titled(self) -> bool:
        """Whether it has a heading: single layers say all in their row."""
        return not self.rows or self.auxiliary or len(self.blocks) > 1

    def operations(self) -> list[Operation]:
        """Of a card of rows: one each."""
        return [item for block in self.blocks for item in block.series if isinstance(item, Operation)]


def _is_chain(block: Block) -> bool:
    return all(isinstance(item, Operation) for item in block.series)


def _alike(one: Block, other: Block) -> bool:
    """Whether two layers stand in one card: those of a stem or classifier do, and layers with the pools among them."""
    plain = ("layer", "reduction")
    return one.role == other.role or (one.role in plain and other.role in plain)


def cards_of(blocks: Sequence[Block]) -> list[Card]:
    """Blocks as cards without a place; single layers of one role that follow one another share one."""
    cards: list[Card] = []
    for block in blocks:
        single = len(block.series) == 1 and _is_chain(block)
        before = cards[-1] if cards else None
        if single and before is not None and before.rows and _alike(before.blocks[-1], block):
            before.blocks.append(block)
        else:
            cards.append(Card([block], rows=_is_chain(block), height=0.0))
    for card in cards:
        header = HEADER if card.titled else 0.0
        if card.rows:
            card.height = header + ROW * len(card.operations()) + (PADDING if card.titled else 2.0)
        else:
            card.height = header + FORK + _height(card.blocks[0].series) + PADDING
    return cards


def _columns(series: Series) -> float:
    """Width in boxes."""
    widths = [
        sum(_columns(branch) for branch in item.branches) if isinstance(item, Parallel) else 1.0 for item in series
    ]
    return max(widths, default=_EMPTY)


def widest(cards: Sequence[Card]) -> float:
    """Boxes side by side in the widest card."""
    return max((_columns(block.series) for card in cards for block in card.blocks), default=1.0)


def _joins(item: Operation | Parallel | None) -> bool:
    return isinstance(item, Operation) and item.kind in ("concatenate", "add", "other") and len(item.inputs) > 1


def _without_last_join(branch: Series, join: Operation | None) -> Series:
    """A branch that ends in branches concatenated, before a concatenation: one join does for both."""
    ends_alike = join is not None and join.kind == "concatenate" and len(branch) > 1 and _joins(branch[-1])
    return branch[:-1] if ends_alike and isinstance(branch[-2], Parallel) else branch


def _next(series: Series, position: int) -> Operation | None:
    after = series[position + 1] if position + 1 < len(series) else None
    return after if isinstance(after, Operation) else None


def _height(series: Series, join: Operation | None = None) -> float:
    total = 0.0
    series = _without_last_join(series, join)
    for position, item in enumerate(series):
        total += GAP if position and not isinstance(item, Parallel) and not _joins(item) else 0.0
        if isinstance(item, Parallel):
            after = _next(series, position) or join
            total += FORK + max(_height(branch, after) for branch in item.branches) + FORK
        else:
            total += BAR if _joins(item) else BOX
    return total


def _place(
    card: Card, series: Series, left: float, width: float, top: float, *, join: Operation | None, until: float | None
) -> Point:
    """Place boxes and lines of `series` in a strip, from `top` down, its input arriving at the middle of `top`.

    `join`: the operation that follows the series. `until`: where lines go on to when it ends in branches. Returns the
    point where its output leaves.
    """
    series = _without_last_join(series, join)
    middle, y = left + width / 2, top
    unit = width / _columns(series)
    for position, item in enumerate(series):
        if isinstance(item, Parallel):
            after = _next(series, position)
            last = position == len(series) - 1
            y = _place_branches(card, item, left, width, y, join=after or join, until=until if last else None)
            continue
        if _joins(item):
            card.boxes.append(Box(item, middle - (width - BETWEEN_BOXES) / 2, y, width - BETWEEN_BOXES, BAR))
            y += BAR
            continue
        if position:
            card.lines.append(Line(((middle, y), (middle, y + GAP)), arrow=True))
            y += GAP
        wide = min(unit - BETWEEN_BOXES, WIDEST_BOX)
        card.boxes.append(Box(item, middle - wide / 2, y, wide, BOX))
        y += BOX
    return middle, y


def _place_branches(
    card: Card, item: Parallel, left: float, width: float, top: float, *, join: Operation | None, until: float | None
) -> float:
    """Place branches side by side below a line that feeds them; returns where all of them end."""
    middle = left + width / 2
    bottom = until or top + FORK + max(_height(branch, join) for branch in item.branches) + FORK
    unit = width / sum(_columns(branch) for branch in item.branches)
    at, middles = left, []
    for branch in item.branches:
        own = _columns(branch) * unit
        x = at + own / 2
        middles.append(x)
        shown = _without_last_join(branch, join)
        if not branch:
            card.lines.append(Line(((x, top), (x, bottom)), arrow=True))
        else:
            # A branch that forks at once has no box for an arrow to point at.
            card.lines.append(Line(((x, top), (x, top + FORK)), arrow=not isinstance(shown[0], Parallel)))
            _, end = _place(card, branch, at, own, top + FORK, join=join, until=bottom)
            if not isinstance(shown[-1], Parallel):
                card.lines.append(Line(((x, end), (x, bottom)), arrow=True))
        at += own
    card.lines.append(Line(((min(*middles, middle), top), (max(*middles, middle), top))))
    return bottom


def fill(card: Card) -> None:
    """Place what is inside a card that has its place and width."""
    top = card.y + (HEADER if card.titled else 0.0)
    middle = card.x + card.width / 2
    if card.rows:
        for number, operation in enumerate(card.operations()):
            y = top + number * ROW + (0.0 if card.titled else 1.0)
            wide = min(WIDEST_BOX, card.width * 0.3)
            card.boxes.append(Box(operation, middle - wide / 2, y + (ROW - BOX) / 2, wide, BOX))
            if number:
                above = y - (ROW - BOX) / 2
                card.lines.append(Line(((middle, above), (middle, y + (ROW - BOX) / 2)), arrow=True))
        return
    inside = card.width - 2 * PADDING
    columns = _columns(card.blocks[0].series)
    inside = min(inside, columns * (WIDEST_BOX + BETWEEN_BOXES))
    card.lines.append(Line(((middle, top), (middle, top + FORK))))
    _place(card, card.blocks[0].series, middle - inside / 2, inside, top + FORK, join=None, until=None)


def columns_of(cards: Sequence[Card], count: int) -> list[list[Card]]:
    """Cards in `count` columns, in order, the tallest as low as can be; a head stays with the block it hangs on."""
    groups: list[list[Card]] = []
    for card in cards:
        if groups and card.auxiliary:
            groups[-1].append(card)
        else:
            groups.append([card])
    heights = [tallness(group) for group in groups]

    def split(limit: float) -> list[list[Card]] | None:
        result: list[list[Card]] = [[]]
        used = 0.0
        for group, height in zip(groups, heights, strict=True):
            if result[-1] and used + BETWEEN_CARDS + height > limit:
                result.append([])
            used = height if not result[-1] else used + BETWEEN_CARDS + height
            result[-1].extend(group)
        return result if len(result) <= count and max(map(tallness, result)) <= limit + 1e-6 else None

    low, high = max(heights), sum(heights) + BETWEEN_CARDS * len(heights)
    while high - low > 0.5:
        middle = (low + high) / 2
        low, high = (low, middle) if split(middle) else (middle, high)
    return split(math.ceil(high)) or [list(cards)]


def tallness(cards: Sequence[Card]) -> float:
    """Height of a column of cards."""
    return sum(card.height for card in cards) + BETWEEN_CARDS * (len(cards) - 1)
