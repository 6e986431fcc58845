"""Sources → split → TFRecord shards and `dataset.json`; reading, verifying, repairing, growing.

build(open_source("flowers/"), Path("datasets/flowers"))
Dataset("datasets/flowers").split("train").picture(0)
"""

from __future__ import annotations

from deeper.records.build import build
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
