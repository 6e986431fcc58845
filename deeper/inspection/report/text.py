"""Text that comes from data, as HTML."""

from __future__ import annotations

import html

from deeper.errors import readable

# Sentences are ours and may be long; what stands in them was cut before.
_LONGEST = 20_000


def escape(text: str) -> str:
    """As text of a page: no tag, no quote, and no sign that could turn the line around, arrow and counts with it."""
    return html.escape(readable(text, _LONGEST))
