"""The networks: building blocks with scopes, one file per paper, and the catalog that names them.

`Architecture` knows no torch; everything else here is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deeper.models.architecture import Architecture

if TYPE_CHECKING:
    from deeper.models.blocks import set_noise
    from deeper.models.catalog import MODELS, Entry, create, native_size
    from deeper.models.output import Output

__all__ = ["MODELS", "Architecture", "Entry", "Output", "create", "native_size", "set_noise"]

_HOMES = {
    "MODELS": "catalog",
    "Entry": "catalog",
    "create": "catalog",
    "native_size": "catalog",
    "Output": "output",
    "set_noise": "blocks",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"deeper.models.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'deeper.models' has no attribute {name!r}")
