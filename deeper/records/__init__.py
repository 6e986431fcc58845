"""Sources → split → TFRecord shards and `dataset.json`; reading, verifying, repairing, growing.

build("flowers/", "datasets/flowers")
Dataset("datasets/flowers").split("train").picture(0)

Everything is imported when it is first asked for: a worker of a build needs the encoding alone, and starts sooner.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeper.records.building import build
    from deeper.records.dataset import Dataset, Part, Split
    from deeper.records.info import DatasetInfo, ShardInfo, SplitInfo
    from deeper.records.options import BuildOptions, BuildReport
    from deeper.records.sources import Item, Rejected, Source, SourceOptions, open_source

__all__ = [
    "BuildOptions",
    "BuildReport",
    "Dataset",
    "DatasetInfo",
    "Item",
    "Part",
    "Rejected",
    "ShardInfo",
    "Source",
    "SourceOptions",
    "Split",
    "SplitInfo",
    "build",
    "open_source",
]

_HOMES = {
    "BuildOptions": "options",
    "BuildReport": "options",
    "Dataset": "dataset",
    "DatasetInfo": "info",
    "Item": "sources",
    "Part": "dataset",
    "Rejected": "sources",
    "ShardInfo": "info",
    "Source": "sources",
    "SourceOptions": "sources",
    "Split": "dataset",
    "SplitInfo": "info",
    "build": "building",
    "open_source": "sources",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"deeper.records.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'deeper.records' has no attribute {name!r}")
