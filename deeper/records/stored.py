"""Pictures as a record would hold them, without writing one: to compare them with those that are stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deeper.records import picture, tfrecord
from deeper.records.sources import Item, Rejected
from deeper.records.workers import Workers
from deeper.records.writing import chunks_of, encoded_chunks

# Below so many pictures starting processes costs more than it gains.
_FEW = 100


def stored(items: Sequence[Item], workers: int) -> Iterator[tuple[Item, bytes | Rejected]]:
    """Each item, in order, with the bytes that its record would hold as `image/encoded`, or why there are none."""
    labels = {item.label: 0 for item in items}  # the index of a class is no part of the picture
    start = 0
    with Workers(workers if len(items) > _FEW else 1) as pool:
        for chunk, encoded in encoded_chunks(pool, chunks_of(items, range(len(items)), labels, None)):
            refused = dict(encoded.rejected)
            sizes = iter(encoded.sizes)
            offset = 0
            for row, item in enumerate(items[start : start + len(chunk.ids)]):
                if row in refused:
                    yield item, Rejected(item.id, refused[row])
                    continue
                size = next(sizes)
                yield item, picture.read_encoded(tfrecord.unframe(encoded.records[offset : offset + size]))
                offset += size
            start += len(chunk.ids)
