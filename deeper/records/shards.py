"""Writing one split as shards of a bounded size, each with its index."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from deeper.records import tfrecord
from deeper.records.info import ShardInfo


class ShardWriter:
    """Writes records to `folder` under passing names; `finish` gives them their own, when their number is known.

    A file is closed when the next record would take it over `limit` bytes, so where the cuts fall
    depends on the records alone. Syncing to disk is left to the owner of the folder.
    """

    def __init__(self, folder: Path, split: str, limit: int, added: int = 0) -> None:
        self.folder, self.split, self.limit, self.added = folder, split, limit, added
        self._done: list[ShardInfo] = []
        self._file: BinaryIO | None = None
        self._sizes: list[int] = []
        self._bytes = 0
        self._hash = hashlib.sha256()

    def write(self, records: bytes, sizes: list[int]) -> None:
        """Append framed records that stand one behind the other in `records`."""
        view = memoryview(records)
        first = end = 0
        for size in sizes:
            if self._bytes + (end - first) + size > self.limit and (self._sizes or end > first):
                self._append(view[first:end])
                self._close()
                first = end
            end += size
            self._sizes.append(size)
        self._append(view[first:end])

    def finish(self) -> tuple[ShardInfo, ...]:
        """Close the last shard, name them all and write their indexes."""
        self._close()
        return tuple(
            self._named(shard, shard_name(self.split, number, len(self._done), self.added))
            for number, shard in enumerate(self._done)
        )

    def abandon(self) -> None:
        """Close what is open; the caller removes the folder."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, data: memoryview) -> None:
        if not data:
            return
        if self._file is None:
            self._file = (self.folder / self._passing_name()).open("wb")
        self._file.write(data)
        self._hash.update(data)
        self._bytes += len(data)

    def _passing_name(self) -> str:
        return f"{self.split}-{len(self._done)}.unnamed"

    def _close(self) -> None:
        if self._file is None:
            return
        self._file.close()
        name = self._passing_name()
        (self.folder / f"{name}.idx").write_bytes(tfrecord.index_text(self._sizes))
        self._done.append(
            ShardInfo(file=name, count=len(self._sizes), bytes=self._bytes, sha256=self._hash.hexdigest())
        )
        self._file, self._sizes, self._bytes, self._hash = None, [], 0, hashlib.sha256()

    def _named(self, shard: ShardInfo, name: str) -> ShardInfo:
        target = self.folder / name
        (self.folder / shard.file).rename(target)
        (self.folder / f"{shard.file}.idx").rename(tfrecord.index_path(target))
        return ShardInfo(file=name, count=shard.count, bytes=shard.bytes, sha256=shard.sha256)


def shard_name(split: str, number: int, count: int, added: int = 0) -> str:
    """`train-00000-of-00002.tfrecord`; of the third addition `train-added003-00000-of-00001.tfrecord`.

    Shards that exist are never renamed when a dataset grows: `train-*.tfrecord` matches old and new, and in the order
    of their names the first build comes first.
    """
    addition = f"-added{added:03d}" if added else ""
    return f"{split}{addition}-{number:05d}-of-{count:05d}.tfrecord"
