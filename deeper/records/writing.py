"""Items with their splits → shards in a folder, and everything that is counted on the way.

A new dataset and an addition to one both go through here.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deeper import draws
from deeper.records.encoding import Chunk, Encoded
from deeper.records.info import SPLITS, ShardInfo, SplitInfo
from deeper.records.shards import ShardWriter
from deeper.records.sources import Item, Rejected
from deeper.records.sums import LARGE, Sums, sampled
from deeper.records.workers import Workers, available_processors

Progress = Callable[[int, int], None]

# Pixels of a side below which there is hardly anything to see: an icon, a spacer, a thumbnail of a thumbnail.
TINY = 8

# A chunk is long enough to hide the cost of a pipe and short enough to keep both processors busy to the end, and its
# bytes bound the memory that waits.
_CHUNK_PICTURES = 512
_CHUNK_FILES = 32
_CHUNK_BYTES = 2 << 20
# Below so many pictures starting processes costs more than it gains.
_FEW_FILES = 24
_FEW_ARRAYS = 1000


@dataclass
class Written:
    """What came of the items. `shards` and `per_class` by split; heights and widths of all kept pictures."""

    shards: dict[str, tuple[ShardInfo, ...]] = field(default_factory=dict)
    per_class: dict[str, Counter[int]] = field(default_factory=dict)
    heights: list[int] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    channels: Counter[int] = field(default_factory=Counter)
    """Kept pictures by their own number of channels."""
    sums: Sums = field(default_factory=Sums)
    """Over the training pictures."""
    large_training: list[int] = field(default_factory=list)
    """Positions of the large ones among the items."""
    rejected: list[Rejected] = field(default_factory=list)
    tiny: list[tuple[int, int, str]] = field(default_factory=list)
    """Width, height and id of the pictures with a side below `TINY`."""

    @property
    def kept(self) -> int:
        """Pictures written."""
        return len(self.heights)

    def count(self, split: str) -> int:
        """Pictures written to one split."""
        return sum(shard.count for shard in self.shards.get(split, ()))


def worker_count(items: Sequence[Item], asked: int | None) -> int:
    """Processes to use for these items."""
    files = sum(item.path is not None for item in items)
    if asked is None and files <= _FEW_FILES and len(items) - files <= _FEW_ARRAYS:
        return 1
    return asked or available_processors()


def stored_order(items: Sequence[Item], splits: Sequence[str], seed: int) -> dict[str, list[int]]:
    """Positions of the items by split, as they are stored.

    Train in a drawn order, since many readers shuffle through a small buffer only and a source is often sorted by
    class; the others in the order of the source.
    """
    places: dict[str, list[int]] = {name: [] for name in SPLITS}
    for position, split in enumerate(splits):
        places[split].append(position)
    train = np.asarray(places["train"], np.int64)
    if len(train):
        order = draws.order(draws.derive(seed, 0, "stored order"), 0, draws.keys(items[place].id for place in train))
        places["train"] = train[order].tolist()
    return {name: positions for name, positions in places.items() if positions}


def chunks_of(
    items: Sequence[Item],
    positions: Sequence[int],
    index_of: Mapping[str, int],
    channels: int | None,
    *,
    summed: int = 0,
) -> Iterator[Chunk]:
    """The items at `positions`, in that order, cut into chunks. `summed`: see `Chunk`."""
    held: list[Item] = []
    first = weight = 0
    for position in positions:
        item = items[position]
        size = _weight(item)
        limit = _CHUNK_PICTURES if item.path is None else _CHUNK_FILES
        if held and (len(held) >= limit or weight + size > _CHUNK_BYTES):
            yield _chunk(held, index_of, channels, summed, first)
            first += len(held)
            held, weight = [], 0
        held.append(item)
        weight += size
    if held:
        yield _chunk(held, index_of, channels, summed, first)


def _weight(item: Item) -> int:
    if item.path is None:
        return 0 if item.array is None else item.array.nbytes
    if item.size is not None:
        return item.size
    try:
        return os.stat(item.path).st_size
    except (OSError, ValueError):
        return 0


def _chunk(items: Sequence[Item], index_of: Mapping[str, int], channels: int | None, summed: int, first: int) -> Chunk:
    arrays = [item.array for item in items]
    shape = None if arrays[0] is None else arrays[0].shape
    # One stacked array travels many times faster than as many small ones.
    whole = shape is not None and all(array is not None and array.shape == shape for array in arrays)
    return Chunk(
        ids=[item.id for item in items],
        labels=[index_of[item.label] for item in items],
        texts=[item.label for item in items],
        groups=[item.group for item in items],
        paths=[None if item.path is None else str(item.path) for item in items],
        arrays=np.stack([array for array in arrays if array is not None]) if whole else arrays,
        channels=channels,
        summed=summed,
        first=first,
    )


def write_items(
    items: Sequence[Item],
    splits: Sequence[str],
    index_of: Mapping[str, int],
    folder: Path,
    *,
    channels: int | None,
    seed: int,
    shard_bytes: int,
    pool: Workers,
    added: int = 0,
    progress: Progress | None = None,
) -> Written:
    """Encode all items into shards in `folder`. The bytes depend on the items, splits, seed and shard size alone."""
    written = Written()
    rejected: dict[int, str] = {}
    done = 0
    for split, positions in stored_order(items, splits, seed).items():
        writer = ShardWriter(folder, split, shard_bytes, added)
        counts: Counter[int] = Counter()
        start = 0
        summed = sampled(len(positions)) if split == "train" else 0
        chunks = chunks_of(items, positions, index_of, channels, summed=summed)
        try:
            for chunk, encoded in encoded_chunks(pool, chunks):
                writer.write(encoded.records, encoded.sizes)
                counts.update(chunk.labels[row] for row in encoded.kept)
                _note(written, chunk, encoded)
                if split == "train":
                    kept = zip(encoded.kept, encoded.heights, encoded.widths, strict=True)
                    large = [positions[start + row] for row, height, width in kept if height * width > LARGE]
                    written.large_training += large
                rejected.update((positions[start + row], reason) for row, reason in encoded.rejected)
                start += len(chunk.ids)
                done += len(chunk.ids)
                if progress:
                    progress(done, len(items))
            written.shards[split] = writer.finish()
        finally:
            writer.abandon()
        written.per_class[split] = counts
    if written.sums.lacking:
        # As if all pictures were large, one in so many was taken; now it is known which are.
        large, sums = written.large_training, Sums()
        for _, encoded in encoded_chunks(pool, chunks_of(items, large, index_of, channels, summed=sampled(len(large)))):
            sums.join(encoded.sums)
        written.sums = written.sums.with_large(sums)
    written.rejected = [Rejected(items[position].id, rejected[position]) for position in sorted(rejected)]
    return written


def encoded_chunks(pool: Workers, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Encoded]]:
    """Each chunk with what came of it, in order; no more chunks are made than are under way."""
    under_way: list[Chunk] = []

    def noted() -> Iterator[Chunk]:
        for chunk in chunks:
            under_way.append(chunk)
            yield chunk

    for encoded in pool.encode(noted()):
        yield under_way.pop(0), encoded


def _note(written: Written, chunk: Chunk, encoded: Encoded) -> None:
    written.heights += encoded.heights
    written.widths += encoded.widths
    if min((*encoded.heights, *encoded.widths), default=TINY) < TINY:
        sizes = zip(encoded.widths, encoded.heights, encoded.kept, strict=True)
        written.tiny += [(width, height, chunk.ids[row]) for width, height, row in sizes if min(width, height) < TINY]
    written.channels.update(encoded.channels)
    written.sums.join(encoded.sums)


def split_infos(written: Written, classes: int) -> dict[str, SplitInfo]:
    """The splits that have pictures, and `train` in any case."""
    infos = {}
    for name in SPLITS:
        shards = written.shards.get(name, ())
        counts: Mapping[int, int] = written.per_class.get(name, Counter())
        if shards or name == "train":
            per_class = tuple(counts.get(label, 0) for label in range(classes))
            infos[name] = SplitInfo(count=sum(per_class), per_class=per_class, shards=shards)
    return infos
