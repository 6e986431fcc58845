"""Policies as people edit them."""

from __future__ import annotations

import codecs
from pathlib import Path

from deeper.distortions.policy import Policy


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    """Some editors write one when they save as UTF-8."""
    text = '[classes."6"]\nnever = ["vertical_flip"]\n'
    plain, marked = tmp_path / "plain.toml", tmp_path / "marked.toml"
    plain.write_text(text)
    marked.write_bytes(codecs.BOM_UTF8 + text.encode())
    assert Policy.load(marked) == Policy.load(plain)
