"""The picture of the architecture, drawn from the contract that import-linter holds the imports to."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def layers() -> list[list[str]]:
    """The rooms from top to bottom as the contract in pyproject.toml lists them; rooms that are not there left out."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contract = tomllib.load(file)["tool"]["importlinter"]["contracts"][0]
    rows = [re.findall(r"\w+", row) for row in contract["layers"]]
    there = [[name for name in row if list((ROOT / "deeper").glob(f"{name}*"))] for row in rows]
    return [row for row in there if row]


def layers_picture(rows: list[list[str]]) -> str:
    """One line per layer, an arrow down the side: who is above may import who is below."""
    wide, high, gap, left = 560, 34, 8, 70
    height = len(rows) * (high + gap) + gap
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + wide + 10} {height}" role="img"'
            f' width="{left + wide + 10}" height="{height}" font-family="ui-monospace, monospace" font-size="15">'
        ),
        "<title>The rooms of deeper: each imports only from those below it</title>",
        '<rect width="100%" height="100%" rx="8" fill="#ffffff"/>',
        f'<path d="M30 {gap + 10} V {height - 20} m -7 -11 l 7 12 l 7 -12" fill="none" stroke="#1f4e79" stroke-width="2.5"/>',
        (
            f'<text x="48" y="{height / 2}" fill="#1f4e79" transform="rotate(-90 48 {height / 2})" text-anchor="middle">'
            "imports</text>"
        ),
    ]
    for number, row in enumerate(rows):
        y = gap + number * (high + gap)
        width = (wide - gap * (len(row) - 1)) / len(row)
        for place, name in enumerate(row):
            x = left + place * (width + gap)
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{high}" rx="5" fill="#e6eef7" stroke="#1f4e79"/>'
                f'<text x="{x + width / 2:.1f}" y="{y + 22}" text-anchor="middle" fill="#10263c">{name}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])
