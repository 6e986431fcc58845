"""Shards → `Batch`: shuffled, resumable, prefetched, in memory where it fits.

The order of the examples is `draws.order(seed, epoch, keys)`: a function of the seed, the epoch and the ids alone. Any
batch of any epoch can therefore be produced without producing those before it, which is what an exact resume needs.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deeper import draws
from deeper.errors import UsageError
from deeper.images import Preprocess
from deeper.memory import free_memory
from deeper.records import Part, Split

# A set is held in memory when its pictures, as uint8 at store size, take no more than this share of what is free,
# and never more than the ceiling: beyond it streaming costs little and the machine stays usable.
MEMORY_SHARE = 0.25
MEMORY_CEILING = 8 << 30
# Batches that wait, decoded, between the reader and the training loop.
PREFETCH = 3


@dataclass(frozen=True)
class Batch:
    """`images`: uint8 N × H × W × C at store size. `labels`: int64 N. `ids`: N names. `keys`: uint64 N, their keys.

    `positions`: int64 N, where the examples stand in their split.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: Sequence[str]
    keys: NDArray[np.uint64]
    positions: NDArray[np.int64]


class Pictures(Protocol):
    """A split as pictures of one size. `kind` says how they are held, in words."""

    kind: str
    ids: Sequence[str]
    keys: NDArray[np.uint64]
    labels: NDArray[np.int64]

    def __len__(self) -> int: ...

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures by position. Shape: N × H × W × C."""
        ...


class _Base:
    kind: str

    def __init__(self, split: Split | Part, fit: Preprocess) -> None:
        self.split = split
        self.fit = fit
        self.ids: Sequence[str] = split.ids
        self.keys = split.keys
        self.labels = split.labels

    def __len__(self) -> int:
        return len(self.labels)

    def _decode_into(self, target: NDArray[np.uint8], positions: NDArray[np.int64]) -> None:
        for row, position in enumerate(positions):
            target[row] = self.fit.fit(self.split.picture(int(position), at_least=self.fit.needed))


class InMemory(_Base):
    """Every picture decoded once and kept as uint8."""

    def __init__(
        self, split: Split | Part, fit: Preprocess, workers: int, progress: Callable[[int, int], None] | None = None
    ) -> None:
        super().__init__(split, fit)
        count = len(split)
        self.images = np.empty((count, fit.height, fit.width, fit.channels), np.uint8)
        self.kind = f"{count:,} pictures in memory ({self.images.nbytes / 1e6:,.0f} MB)"
        chunks = np.array_split(np.arange(count), max(1, -(-count // 256)))
        done = 0
        # Threads: the decoders release the interpreter lock while they work.
        with ThreadPoolExecutor(workers) as pool:
            jobs = [
                pool.submit(self._decode_into, self.images[chunk[0] : chunk[-1] + 1], chunk)
                for chunk in chunks
                if len(chunk)
            ]
            for job, chunk in zip(jobs, (chunk for chunk in chunks if len(chunk)), strict=True):
                try:
                    job.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
                done += len(chunk)
                if progress:
                    progress(done, count)

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.images[positions]


class Streaming(_Base):
    """Pictures decoded anew each time they are wanted; memory holds a few batches only."""

    def __init__(self, split: Split | Part, fit: Preprocess, workers: int) -> None:
        super().__init__(split, fit)
        self.workers = workers
        self.kind = f"{len(split):,} pictures streamed from disk with {workers} decoding threads"
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        images = np.empty((len(positions), self.fit.height, self.fit.width, self.fit.channels), np.uint8)
        pieces = np.array_split(np.arange(len(positions)), min(self.workers * 4, max(1, len(positions))))
        jobs = [
            self._pool.submit(self._decode_into, images[piece[0] : piece[-1] + 1], positions[piece])
            for piece in pieces
            if len(piece)
        ]
        for job in jobs:
            job.result()
        return images


class Selected:
    """Some of another's pictures, by position."""

    def __init__(self, pictures: Pictures, positions: NDArray[np.int64]) -> None:
        self.pictures, self.positions = pictures, positions
        self.kind = f"{len(positions):,} of {pictures.kind}"
        self.ids: Sequence[str] = [pictures.ids[position] for position in positions]
        self.keys = pictures.keys[positions]
        self.labels = pictures.labels[positions]

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pictures.take(self.positions[positions])


class Joined:
    """Several splits' pictures of one size, one after the other."""

    def __init__(self, parts: Sequence[Pictures]) -> None:
        self.parts = parts
        self.kind = " + ".join(part.kind for part in parts)
        self.ids: Sequence[str] = [identifier for part in parts for identifier in part.ids]
        self.keys = np.concatenate([part.keys for part in parts])
        self.labels = np.concatenate([part.labels for part in parts])
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        owners = np.searchsorted(self._ends, positions, side="right")
        images: NDArray[np.uint8] | None = None
        for number, part in enumerate(self.parts):
            rows = np.flatnonzero(owners == number)
            if not len(rows):
                continue
            start = 0 if number == 0 else int(self._ends[number - 1])
            taken = part.take(positions[rows] - start)
            if images is None:
                images = np.empty((len(positions), *taken.shape[1:]), np.uint8)
            images[rows] = taken
        assert images is not None, "no positions were given"
        return images


class Fitted:
    """Another's pictures at another size, fitted whenever they are taken."""

    def __init__(self, pictures: Pictures, fit: Preprocess) -> None:
        self.pictures, self.fit = pictures, fit
        self.kind = f"{pictures.kind}, fitted to {fit.height}×{fit.width} as they are taken"
        self.ids: Sequence[str] = pictures.ids
        self.keys = pictures.keys
        self.labels = pictures.labels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        fit = self.fit
        images = np.empty((len(positions), fit.height, fit.width, fit.channels), np.uint8)
        for row, picture in enumerate(self.pictures.take(positions)):
            images[row] = fit.fit(picture)
        return images


def open_pictures(
    split: Split | Part,
    fit: Preprocess,
    *,
    workers: int | None = None,
    memory_limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> InMemory | Streaming:
    """A split's pictures at `fit`'s size, held in memory where they fit and streamed otherwise.

    `workers`: decoding threads, all processors by default; the result does not depend on it. `memory_limit`: bytes
    that the pictures may take in memory, a quarter of what is free by default.

    Raises: UsageError, for fewer than one worker.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} workers; wanted 1 or more")
    workers = workers or os.cpu_count() or 1
    limit = min(MEMORY_CEILING, int(free_memory() * MEMORY_SHARE)) if memory_limit is None else memory_limit
    if len(split) * fit.height * fit.width * fit.channels <= limit:
        return InMemory(split, fit, workers, progress)
    return Streaming(split, fit, workers)


def _batch(pictures: Pictures, positions: NDArray[np.int64]) -> Batch:
    return Batch(
        images=pictures.take(positions),
        labels=pictures.labels[positions],
        ids=[pictures.ids[position] for position in positions],
        keys=pictures.keys[positions],
        positions=positions,
    )


def in_order(pictures: Pictures, batch: int) -> Iterator[Batch]:
    """All examples once, in stored order; the last batch may be smaller."""
    chunks = (np.arange(start, min(start + batch, len(pictures))) for start in range(0, len(pictures), batch))
    return _prefetched(pictures, chunks)


def steps_per_epoch(count: int, batch: int) -> int:
    """Whole batches in one epoch; the remainder is left out of that epoch (a different one each time)."""
    return max(1, count // batch)


def shuffled(
    pictures: Pictures,
    batch: int,
    *,
    seed: int,
    first_step: int,
    steps: int,
    first_epoch: int = 0,
    among: NDArray[np.int64] | None = None,
) -> Iterator[Batch]:
    """The batches of steps `first_step` … `steps` − 1 of a training run, each epoch in its own drawn order.

    `first_epoch`: the epoch that step 0 begins. `among`: positions of the pictures that are shown; all when None.
    """
    shown = np.arange(len(pictures)) if among is None else among
    return _prefetched(pictures, _shuffled_positions(pictures.keys, shown, batch, seed, first_step, steps, first_epoch))


def _shuffled_positions(
    keys: NDArray[np.uint64],
    shown: NDArray[np.int64],
    batch: int,
    seed: int,
    first_step: int,
    steps: int,
    first_epoch: int,
) -> Iterator[NDArray[np.int64]]:
    per_epoch = steps_per_epoch(len(shown), batch)
    order: NDArray[np.int64] | None = None
    ordered_epoch = -1
    for step in range(first_step, steps):
        epoch, within = divmod(step, per_epoch)
        if order is None or epoch != ordered_epoch:
            order, ordered_epoch = shown[draws.order(seed, first_epoch + epoch, keys[shown])], epoch
        yield order[within * batch : (within + 1) * batch]


def _streams(pictures: Pictures) -> bool:
    if isinstance(pictures, Selected):
        return _streams(pictures.pictures)
    if isinstance(pictures, Joined):
        return any(_streams(part) for part in pictures.parts)
    return isinstance(pictures, Streaming | Fitted)


def _prefetched(pictures: Pictures, chunks: Iterator[NDArray[np.int64]]) -> Iterator[Batch]:
    if not _streams(pictures):
        # A gather takes microseconds: a thread would cost more than it hides.
        for positions in chunks:
            yield _batch(pictures, positions)
        return
    ready: queue.Queue[Batch | BaseException | None] = queue.Queue(PREFETCH)
    stopped = threading.Event()

    def put(item: Batch | BaseException | None) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for positions in chunks:
                if not put(_batch(pictures, positions)):
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
