"""The bundle: a trained network as a finished artefact, in a folder of three files that a person can read about.

    bundle.json             architecture, classes, Preprocess, what it was trained with and on, metrics, hashes, a card
    weights.safetensors     float32 (and integer counters)
    golden.safetensors      a few uint8 inputs at model size and their fp32 logits

Loading checks everything: format, hashes, shapes, and that the golden inputs still give the golden logits. It runs no
code of whoever made it: a network of a user's own is built only when its import path is given by the loading user.
The hashes tell damage and careless edits; they are no signature, and whoever means harm can compute them anew.

`Info` and what reads it know no torch; `save` and `load`, which do, are imported when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deeper.bundle.info import FORMAT_VERSION, GOLDEN_TOLERANCE, Info, is_bundle, read_info

if TYPE_CHECKING:
    from deeper.bundle.loading import Bundle, load
    from deeper.bundle.saving import save

__all__ = ["FORMAT_VERSION", "GOLDEN_TOLERANCE", "Bundle", "Info", "is_bundle", "load", "read_info", "save"]

_HOMES = {"Bundle": "loading", "load": "loading", "save": "saving"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"deeper.bundle.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'deeper.bundle' has no attribute {name!r}")
