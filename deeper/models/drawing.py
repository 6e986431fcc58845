"""A network's annotated architecture on one page, drawn from the network itself.

Page and type are set in points: an A4 page where everything fits, else a larger page of the same shape, so that it
still prints on one sheet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deeper import figures
from deeper.errors import printable
from deeper.models.captions import (
    count_text,
    family_of,
    followers,
    inner_name,
    name_text,
    size_text,
    sum_text,
    words_of,
)
from deeper.models.catalog import MODELS
from deeper.models.layout import (
    BETWEEN_BOXES,
    BETWEEN_CARDS,
    BETWEEN_COLUMNS,
    HEADER,
    NARROWEST_BOX,
    PADDING,
    ROW,
    Box,
    Card,
    Line,
    cards_of,
    columns_of,
    fill,
    tallness,
    widest,
)
from deeper.models.nesting import operations_of
from deeper.models.structure import Block, Structure, collapsed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_A4 = (595.3, 841.9)
# Columns narrower than this would need letters too small to print.
_COLUMN = 236.0
_MARGIN, _HEAD, _FOOT, _INPUT = 32.0, 44.0, 50.0, 24.0
# Fill and edge of each kind of box. Pale, so that black letters stand out and little ink is used; kinds that are
# neighbours in colour differ in brightness too.
_COLOURS = {
    "1×1 convolution": ("#e4eef8", "#7ba7d0"),
    "convolution": ("#a9cbea", "#3d78b0"),
    "1×n or n×1 convolution": ("#bfe3d3", "#3f9677"),
    "max-pool": ("#fad4ab", "#d08333"),
    "average pool": ("#fdf0bf", "#c2a63a"),
    "fully connected": ("#dfd0ec", "#8c66b0"),
    "joined": ("#4a5056", "#4a5056"),
}
_LINE, _FRAME, _CARD, _HEAD_CARD = "#5c6268", "#cfd4d9", "#fafbfc", "#f1f8f1"


def draw(structure: Structure, path: Path) -> None:
    """Draw the architecture into `path`: .svg (its text is text), .pdf or .png.

    Raises: UsageError, for another ending; StorageError.
    """
    figures.kind_of(path)
    from matplotlib.figure import Figure

    cards = cards_of(collapsed(structure.blocks))
    columns, (width, height) = _arrange(cards)
    operations = [one for block in structure.blocks for one in operations_of(block.series)]
    dashes = followers(operations) is not None
    with figures.style(6.2):
        figure = Figure(figsize=(width / 72, height / 72))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.axis("off")
        _title(axes, structure, width)
        for column in columns:
            for card in column:
                fill(card)
                _paint(axes, card, structure, dashes)
        _flow(axes, columns, structure)
        _legend(axes, structure, width, height)
        # Enough for print, whatever the page: about 3,500 pixels on its longer side at most.
        figures.save(figure, path, title=structure.architecture.model, dpi=min(220.0, 3500 * 72 / max(width, height)))


def _arrange(cards: list[Card]) -> tuple[list[list[Card]], tuple[float, float]]:
    """Give every card its place; returns the columns and the page's size."""
    around = 2 * _MARGIN + _HEAD + _FOOT
    needed = widest(cards) * (NARROWEST_BOX + BETWEEN_BOXES) + 2 * PADDING
    alone = _INPUT + tallness(cards)
    if around + alone <= _A4[1]:
        # Few blocks: a page no larger than they need.
        columns, width, height = [cards], max(330.0, needed + 2 * _MARGIN), around + alone
    else:
        best: tuple[float, int] | None = None
        for count in (1, 2, 3, 4):
            tall = max(map(tallness, columns_of(cards, count))) + _INPUT + around
            wide = count * max(needed, _COLUMN) + (count - 1) * BETWEEN_COLUMNS + 2 * _MARGIN
            page = max(tall, wide * math.sqrt(2), _A4[1])
            if best is None or page < best[0] - 1:
                best = (page, count)
        assert best is not None
        height = best[0]
        width = height / math.sqrt(2)
        columns = columns_of(cards, best[1])
    own = (width - 2 * _MARGIN - (len(columns) - 1) * BETWEEN_COLUMNS) / len(columns)
    available = height - around - _INPUT
    for number, column in enumerate(columns):
        y = _MARGIN + _HEAD + _INPUT
        spare = available - tallness(column)
        # Columns end at one height, as long as that does not tear them apart.
        extra = min(spare / max(1, len(column) - 1), 26.0) if len(columns) > 1 else 0.0
        for card in column:
            card.column = number
            card.x, card.y, card.width = _MARGIN + number * (own + BETWEEN_COLUMNS), y, own
            if card.auxiliary:
                card.x, card.width = card.x + own * 0.14, own * 0.86
            y += card.height + BETWEEN_CARDS + extra
    return columns, (width, height)


def _text(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    width: float = 0.0,
    align: str = "left",
    weight: str = "normal",
    colour: str = figures.INK,
) -> None:
    """Letters on the page, set smaller where they would be wider than `width` points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    if width:
        properties = FontProperties(family="DejaVu Sans", size=size, weight=weight)
        wide, _, _ = text_to_path.get_text_width_height_descent(text, properties, ismath=False)
        size *= min(1.0, width / max(wide, 1e-6))
    axes.text(
        x, y, text, fontsize=size, ha=align, va="center_baseline", fontweight=weight, color=colour, parse_math=False
    )


def _title(axes: Axes, structure: Structure, width: float) -> None:
    one = structure.architecture
    wide = width - 2 * _MARGIN
    _text(axes, _MARGIN, _MARGIN + 7, printable(one.model, 60), size=15, weight="bold", width=wide * 0.5)
    totals = f"{structure.parameters:,} parameters · {count_text(structure.multiply_adds)} multiply-adds a picture"
    _text(axes, width - _MARGIN, _MARGIN + 8, totals, size=8, align="right", width=wide * 0.5)
    source = MODELS[one.model].source if one.model in MODELS else "a network of your own"
    shown = f"{source}; for pictures of {one.height}×{one.width}×{one.channels} and {one.classes:,} classes"
    _text(axes, _MARGIN, _MARGIN + 24, shown, size=7, colour=_LINE, width=wide)


def _paint(axes: Axes, card: Card, structure: Structure, dashes: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    if card.titled:
        frame = FancyBboxPatch(
            (card.x, card.y),
            card.width,
            card.height,
            boxstyle="round,pad=0,rounding_size=4",
            facecolor=_HEAD_CARD if card.auxiliary else _CARD,
            edgecolor="#8fbf8f" if card.auxiliary else _FRAME,
            linewidth=0.7,
            linestyle=(0, (3, 2)) if card.auxiliary else "solid",
        )
        axes.add_patch(frame)
        _heading(axes, card, structure)
    for line in card.lines:
        _line(axes, line)
    for box in card.boxes:
        _box(axes, box, dashes)
    if card.rows:
        _rows(axes, card)


def _heading(axes: Axes, card: Card, structure: Structure) -> None:
    blocks = card.blocks
    role = blocks[0].role
    left, right, top = card.x + PADDING, card.x + card.width - PADDING, card.y + 9
    inside = right - left
    several = "" if card.rows or blocks[0].count == 1 else f" ({blocks[0].count} ×)"
    # A card of layers is called by what they are together; their names stand in its rows.
    listed = card.rows and role != "auxiliary"
    name = {"stem": "Stem", "classifier": "Classifier"}.get(role, "Layers") if listed else name_text(blocks)
    _text(axes, left, top, name + several, size=8, weight="bold", width=inside * 0.68)
    # The shape that a head gives is that of its last row.
    if not card.rows:
        _text(axes, right, top, size_text(blocks[0].shape), size=7.5, align="right", weight="bold")
    parameters = sum_text([number for block in blocks for number in block.parameters], listed)
    cost = sum_text([number for block in blocks for number in block.multiply_adds], listed)
    kind = "auxiliary head, in training only" if role == "auxiliary" else "" if role == "layer" else str(role)
    _text(axes, left, top + 9.5, "" if listed else kind, size=6, colour=_LINE, width=inside * 0.36)
    numbers = f"{parameters} parameters · {cost} multiply-adds"
    _text(axes, right, top + 9.5, numbers, size=6, colour=_LINE, align="right", width=inside * 0.62)
    if role == "auxiliary":
        return
    share = sum(sum(block.multiply_adds) for block in blocks) / max(1, structure.multiply_adds)
    y = card.y + HEADER - 1.5
    axes.plot([left, right], [y, y], color=figures.PALE, linewidth=1.6, solid_capstyle="butt")
    axes.plot([left, left + inside * share], [y, y], color=figures.BLUE, linewidth=1.6, solid_capstyle="butt")


def _line(axes: Axes, line: Line) -> None:
    xs, ys = zip(*line.points, strict=True)
    axes.plot(xs, ys, color=_LINE, linewidth=0.6, solid_capstyle="butt", solid_joinstyle="miter", zorder=1.5)
    if line.arrow:
        (_, above), (x, y) = line.points[-2:]
        if y > above:
            axes.fill([x - 1.5, x + 1.5, x], [y - 3.2, y - 3.2, y], color=_LINE, linewidth=0, zorder=1.6)


def _box(axes: Axes, box: Box, dashes: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    family = family_of(box.operation)
    face, edge = _COLOURS[family]
    shape = FancyBboxPatch(
        (box.x, box.y),
        box.width,
        box.height,
        boxstyle="round,pad=0,rounding_size=2",
        facecolor=face,
        edgecolor=edge,
        linewidth=0.6,
        # Where convolutions are followed by norm and activation, those that are not are dashed; the legend says so.
        linestyle=(0, (2, 1.3))
        if dashes and box.operation.kind == "convolution" and not box.operation.then
        else "solid",
        zorder=2,
    )
    axes.add_patch(shape)
    colour = "white" if family == "joined" else figures.INK
    what, channels = words_of(box.operation)
    y = box.y + box.height / 2
    inside = box.width - 5
    size = 5.8 if family == "joined" else 6.2
    if not channels or family == "joined":
        shown = f"{what} → {channels}" if channels else what
        _text(axes, box.x + box.width / 2, y, shown, size=size, align="center", width=inside, colour=colour)
        return
    share = len(what) / (len(what) + len(channels) + 1)
    _text(axes, box.x + 2.5, y, what, size=size, width=inside * share)
    _text(
        axes, box.x + box.width - 2.5, y, channels, size=size, width=inside * (1 - share), align="right", weight="bold"
    )


def _rows(axes: Axes, card: Card) -> None:
    """Names at the left of the boxes, shapes and numbers at their right."""
    rows: list[tuple[str, Block | None]] = (
        [(inner_name(one, card.blocks[0]), None) for one in card.operations()]
        if card.auxiliary or (len(card.blocks) == 1 and len(card.blocks[0].series) > 1)
        else [(name_text([block]), block) for block in card.blocks]
    )
    for (name, block), box in zip(rows, card.boxes, strict=True):
        y = box.y + box.height / 2
        left, right = card.x + PADDING, card.x + card.width - PADDING
        name = "" if name == box.operation.kind else name
        _text(axes, left, y, name, size=6.4, width=box.x - left - 4, weight="bold" if block else "normal")
        after = box.x + box.width + 6
        _text(axes, after, y, size_text(box.operation.shape), size=6.2, width=(right - after) * 0.45)
        if block and block.parameters[0]:
            numbers = f"{count_text(block.parameters[0])} · {count_text(block.multiply_adds[0])}"
            _text(axes, right, y, numbers, size=6, align="right", colour=_LINE, width=(right - after) * 0.52)


def _flow(axes: Axes, columns: Sequence[Sequence[Card]], structure: Structure) -> None:
    """The way of a picture from card to card, past the auxiliary heads and from column to column."""
    from matplotlib.patches import FancyBboxPatch

    first = columns[0][0]
    middle = first.x + first.width / 2
    one = structure.architecture
    pill = FancyBboxPatch(
        (middle - 45, first.y - _INPUT),
        90,
        12,
        boxstyle="round,pad=0,rounding_size=6",
        facecolor="white",
        edgecolor=_LINE,
        linewidth=0.7,
    )
    axes.add_patch(pill)
    text = f"picture: {one.height}×{one.width}×{one.channels}"
    _text(axes, middle, first.y - _INPUT + 6, text, size=6.4, align="center", width=84)
    _line(axes, Line(((middle, first.y - _INPUT + 12), (middle, _entry(first))), arrow=True))
    for before, heads, after in _pairs([card for column in columns for card in column]):
        start = (before.x + before.width / 2, before.y + before.height - (3 if not before.titled else 0))
        points = [start]
        for head in heads:
            x = head.x + head.width / 2
            _line(
                axes, Line(((start[0], start[1]), (start[0], start[1] + 5), (x, start[1] + 5), (x, head.y)), arrow=True)
            )
        if after is None:
            continue
        last = heads[-1] if heads else before
        below = last.y + last.height + 6
        if heads:
            rail = before.x + before.width * 0.06
            points += [(start[0], start[1] + 5), (rail, start[1] + 5), (rail, below)]
        end = (after.x + after.width / 2, _entry(after))
        if after.column != before.column:
            gutter = before.x + before.width + BETWEEN_COLUMNS / 2
            above = after.y - 10
            points += [] if heads else [(start[0], below)]
            points += [(gutter, below), (gutter, above), (end[0], above)]
        elif heads:
            points.append((end[0], below))
        _line(axes, Line((*points, end), arrow=True))


def _entry(card: Card) -> float:
    """Where the line into a card ends: at its frame, or at its only box."""
    return card.y if card.titled else card.y + 1 + (ROW - 11.5) / 2


def _pairs(cards: Sequence[Card]) -> Iterator[tuple[Card, list[Card], Card | None]]:
    """Each card of the main way, the auxiliary heads on it, and the next card of the main way."""
    main = [number for number, card in enumerate(cards) if not card.auxiliary]
    for place, number in enumerate(main):
        following = main[place + 1] if place + 1 < len(main) else None
        heads = [card for card in cards[number + 1 : following] if card.auxiliary]
        yield cards[number], heads, cards[following] if following is not None else None


def _legend(axes: Axes, structure: Structure, width: float, height: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    operations = [one for block in structure.blocks for one in operations_of(block.series)]
    present = {family_of(one) for one in operations}
    x, y = _MARGIN, height - _MARGIN - _FOOT + 16
    shown = [name for name in _COLOURS if name in present and name != "joined"]
    # A letter of this size is about 3.6 points wide.
    steps = [24 + 3.6 * len(name) for name in shown]
    tight = min(1.0, (width - 2 * _MARGIN) / max(1.0, sum(steps)))
    for name, step in zip(shown, steps, strict=True):
        face, edge = _COLOURS[name]
        axes.add_patch(
            FancyBboxPatch(
                (x, y), 12, 7, boxstyle="round,pad=0,rounding_size=2", facecolor=face, edgecolor=edge, linewidth=0.6
            )
        )
        _text(axes, x + 15, y + 3.5, name, size=6, width=step * tight - 18)
        x += step * tight
    lines = ["3×3 /2 … 64: kernel, stride where it is not 1, output channels. Shapes: height × width × channels."]
    if any(one.groups > 1 for one in operations):
        lines[0] += " ÷32: in 32 groups."
    lines.append("Blue bar: share of all multiply-adds (of one picture; convolutions and fully connected layers).")
    after = followers(operations)
    if after is not None:
        plain = any(one.kind == "convolution" and not one.then for one in operations)
        lines.append(f"Convolutions are followed by {after}{', those drawn dashed are not.' if plain else '.'}")
    if width > 480:
        lines = [lines[0], " ".join(lines[1:])]
    for number, line in enumerate(lines):
        _text(axes, _MARGIN, y + 17 + 9 * number, line, size=6, colour=_LINE, width=width - 2 * _MARGIN)
