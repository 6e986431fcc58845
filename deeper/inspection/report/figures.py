"""Figures of the report as inline SVG: they print, scale, follow light and dark, and are read out by their text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deeper.evaluation.calibration import Bin
from deeper.inspection.report.text import escape

_LABELS, _PLOT, _ROW = 420, 300, 24


@dataclass(frozen=True)
class Bar:
    """A share with its interval. `kind`: what it is, for its colour: `distortion`, `placebo` or `control`."""

    label: str
    share: float
    interval: tuple[float, float]
    kind: str
    text: str


def shares(bars: Sequence[Bar], title: str) -> str:
    """Points with 95 % intervals, one row each, on a common axis from 0."""
    highest = max((bar.interval[1] for bar in bars), default=0.0)
    top = next((step for step in (0.05, 0.1, 0.2, 0.4, 0.6, 0.8) if highest <= step), 1.0)
    height = _ROW * len(bars) + 26
    width = _LABELS + _PLOT + 90
    parts = [
        f'<svg class="shares" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    for number in range(5):
        x = _LABELS + _PLOT * number / 4
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 22}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 6}">{top * number / 4 * 100:g} %</text>')
    for number, bar in enumerate(bars):
        y = _ROW * number + _ROW / 2
        low, middle, high = (
            _LABELS + _PLOT * min(1.0, value / top) for value in (bar.interval[0], bar.share, bar.interval[1])
        )
        parts.append(
            f'<g class="{escape(bar.kind)}"><text class="name" x="{_LABELS - 12}" y="{y + 4:.1f}">{escape(_cut(bar.label, 58))}</text>'
            f'<line class="interval" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<circle cx="{middle:.1f}" cy="{y:.1f}" r="4.5"/>'
            f'<text class="value" x="{_LABELS + _PLOT + 12}" y="{y + 4:.1f}">{escape(bar.text)}</text></g>'
        )
    return "".join([*parts, "</svg>"])


def reliability(bins: Sequence[Bin]) -> str:
    """Accuracy against confidence, with how many answers lie in each bin below."""
    side, low = 260, 46
    most = max((one.pictures for one in bins), default=0) or 1
    width, height = side + 68, side + low + 40
    title = "Reliability: how often answers of each confidence are right"
    parts = [
        f'<svg class="reliability" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f'<line class="ideal" x1="44" y1="{side + 4}" x2="{side + 44}" y2="4"/>',
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = 44 + side * share, 4 + side * (1 - share)
        parts.append(f'<line class="grid" x1="44" x2="{side + 44}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick end" x="38" y="{y + 4}">{share * 100:g} %</text>')
        parts.append(f'<text class="tick" x="{x}" y="{height - 6}">{share * 100:g} %</text>')
    for one in bins:
        if one.accuracy is None or one.confidence is None:
            continue
        x, y = 44 + side * one.confidence, 4 + side * (1 - one.accuracy)
        tall = max(1.0, low * one.pictures / most)
        left, wide = 44 + side * one.low + 1, side * (one.high - one.low) - 2
        text = f"{one.pictures:,} answers of {one.confidence:.0%} confidence on average; {one.accuracy:.0%} right"
        parts.append(
            f'<g><title>{escape(text)}</title><rect class="count" x="{left:.1f}" y="{side + 12 + low - tall:.1f}" '
            f'width="{wide:.1f}" height="{tall:.1f}"/><circle cx="{x:.1f}" cy="{y:.1f}" r="4"/></g>'
        )
    return "".join([*parts, "</svg>"])


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
