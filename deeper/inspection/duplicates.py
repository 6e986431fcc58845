"""Pictures that are the same, nearly: candidates by perceptual hash, and across splits by a network's features; confirmed
by their pixels, first small and grey, then larger and in colour: two parts before the same camera, one of them with a
scratch, are no copies, and neither are a red and a green button.

All pairs of hashes that differ in at most `RADIUS` of their bits agree in one of `RADIUS` + 1 stretches of bits at
least, so only pictures that share a stretch are compared. 70,000 digits take seconds, and nothing is N².
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeper.images import Preprocess
from deeper.images.perceptual_hash import hamming, hashes, thumbnail
from deeper.inspection.nearness import nearest
from deeper.records import Split

# Bits of 63 that the same picture in another size or file format may differ in.
RADIUS = 4
# Correlation of the thumbnails' pixels from which on two pictures are the same. Another JPEG quality or size keeps it
# above 0.998; of all pairs of the 70,000 MNIST digits, which have no copies, none reaches 0.995.
SAME = 0.995
_BITS = 63
_CHUNK = 512
# Pairs that are compared at once: what bounds the memory.
_PAIRS = 1 << 20
# Of each picture so many nearest in the features are looked at, in so many columns.
_NEAREST, _COLUMNS = 3, 96
# Two pictures at this size, in blocks of so many pixels, of which none differs by more grey levels. Measured on flowers12:
# docs/log.md.
_FIT = Preprocess(height=64, width=64, channels=3, mode="squash")
_BLOCK, DIFFERENT = 4, 20
_HELD = 2048
# Side of the thumbnail that a larger JPEG need not be decoded beyond.
_ENOUGH = (64, 64)


class Prints(NamedTuple):
    """`hashes`: uint64 N. `thumbnails`: uint8 N × 32 × 32, grey."""

    hashes: NDArray[np.uint64]
    thumbnails: NDArray[np.uint8]


class Pair(NamedTuple):
    """Positions of two pictures that are the same, the smaller first. `likeness`: correlation of the pixels, to 1."""

    first: int
    second: int
    likeness: float


def fingerprints(splits: list[Split], progress: Callable[[int, int], None] | None = None) -> Prints:
    """Every picture of the splits, one after the other, as hash and thumbnail."""
    total = sum(map(len, splits))
    thumbnails = np.empty((total, 32, 32), np.uint8)
    jobs = [
        (split, start, min(start + _CHUNK, len(split)), first)
        for split, first in zip(splits, np.cumsum([0, *map(len, splits)]).tolist())
        for start in range(0, len(split), _CHUNK)
    ]

    def fill(job: tuple[Split, int, int, int]) -> int:
        split, start, end, first = job
        for position in range(start, end):
            thumbnails[first + position] = thumbnail(split.picture(position, at_least=_ENOUGH))
        return end - start

    done = 0
    # Threads: the decoders release the interpreter lock while they work.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for count in pool.map(fill, jobs):
            done += count
            if progress:
                progress(done, total)
    parts = [hashes(thumbnails[start : start + 4096]) for start in range(0, total, 4096)]
    return Prints(np.concatenate(parts) if parts else np.empty(0, np.uint64), thumbnails)


def same_pictures(prints: Prints) -> list[Pair]:
    """Pairs of the same picture. Of many copies each is paired with the first one, not all with all."""
    # Copies byte for byte first: a thousand black pictures would be half a million pairs.
    flat = np.ascontiguousarray(prints.thumbnails.reshape(len(prints.thumbnails), -1))
    rows = flat.view(np.dtype((np.void, flat.shape[1])))[:, 0]
    _, first_of, group = np.unique(rows, return_index=True, return_inverse=True)
    original = first_of[group]
    pairs = [Pair(int(first), int(copy), 1.0) for copy, first in enumerate(original) if first != copy]
    distinct = np.sort(first_of)
    for left, right in _near(prints.hashes[distinct]):
        first, second = distinct[left], distinct[right]
        likeness = _correlation(flat[first], flat[second])
        for row in np.flatnonzero(likeness >= SAME):
            low, high = sorted((int(first[row]), int(second[row])))
            pairs.append(Pair(low, high, float(likeness[row])))
    return sorted(pairs)


def across_splits(prints: Prints, features: NDArray[np.float32], owners: NDArray[np.int64]) -> list[Pair]:
    """The same picture in two splits, where the hash may miss it: of smooth pictures most of its bits are noise.

    Candidates are, for each picture of a later split, its nearest of the earlier ones. `features`: float32 N × D, each
    column of deviation 1; they are projected at random to fewer columns, which keeps near what is near (Johnson and
    Lindenstrauss 1984) and makes 15,000 pictures against 55,000 a matter of seconds. `owners`: int64 N, whose splits.
    """
    if features.shape[1] > _COLUMNS:
        features = features @ np.random.default_rng(0).standard_normal((features.shape[1], _COLUMNS), np.float32)
    flat = prints.thumbnails.reshape(len(prints.thumbnails), -1)
    pairs = []
    for owner in np.unique(owners)[1:]:
        own, before = np.flatnonzero(owners == owner), np.flatnonzero(owners < owner)
        found, _ = nearest(features[own], own, features[before], before, _NEAREST)
        second, first = np.repeat(own, found.shape[1]), found.ravel()
        likeness = _correlation(flat[first], flat[second])
        for row in np.flatnonzero(likeness >= SAME).tolist():
            pairs.append(Pair(int(first[row]), int(second[row]), float(likeness[row])))
    return pairs


def confirmed(pairs: Sequence[Pair], splits: Sequence[Split]) -> list[Pair]:
    """Those of the pairs whose pictures nowhere differ in brightness or colour by more than a copy does.

    A picture with another EXIF orientation, border or brightness is no copy.
    """
    starts = np.cumsum([0, *map(len, splits)])
    of_one = lru_cache(_HELD)(partial(_blocks, splits, starts))
    return [one for one in pairs if np.abs(of_one(one.first) - of_one(one.second)).max() <= DIFFERENT]


def _blocks(splits: Sequence[Split], starts: NDArray[np.int64], position: int) -> NDArray[np.float32]:
    """Mean colours of the blocks of a picture. 16 × 16 × 3, 0..255."""
    owner = int(np.searchsorted(starts, position, side="right")) - 1
    picture = splits[owner].picture(position - int(starts[owner]), at_least=_FIT.needed)
    fitted = _FIT.fit(picture).astype(np.float32)
    side, block = _FIT.height // _BLOCK, _BLOCK
    means: NDArray[np.float32] = fitted.reshape(side, block, side, block, 3).mean(axis=(1, 3))
    return means


class Group(NamedTuple):
    """Positions of copies of one picture, rising, and how alike each is to the most alike of the others, to 1."""

    members: list[int]
    likeness: list[float]


def groups(pairs: Sequence[Pair]) -> list[Group]:
    """The pairs joined: whoever is the same as one of a group is of that group. The most alike first."""
    above: dict[int, int] = {}

    def root(place: int) -> int:
        while above.setdefault(place, place) != place:
            # Half the way is left for the next who asks.
            above[place] = above[above[place]]
            place = above[place]
        return place

    best: dict[int, float] = {}
    for first, second, likeness in pairs:
        above[max(root(first), root(second))] = min(root(first), root(second))
        for place in (first, second):
            best[place] = max(best.get(place, 0.0), likeness)
    found: dict[int, list[int]] = {}
    for place in sorted(best):
        found.setdefault(root(place), []).append(place)
    joined = [Group(members, [best[place] for place in members]) for members in found.values()]
    return sorted(joined, key=lambda group: (-max(group.likeness), group.members))


def _near(values: NDArray[np.uint64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Positions of pairs of hashes that differ in at most `RADIUS` bits, each pair once, in portions."""
    edges = np.linspace(0, _BITS, RADIUS + 2).astype(int)
    stretches = [(values >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1) for low, high in pairwise(edges)]
    for number, stretch in enumerate(stretches):
        order = np.argsort(stretch, kind="stable").astype(np.int64)
        ordered = stretch[order]
        active = np.arange(len(order), dtype=np.int64)
        held: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        waiting = offset = 0
        while True:
            offset += 1
            active = active[: np.searchsorted(active, len(order) - offset)]
            active = active[ordered[active] == ordered[active + offset]]
            if len(active):
                held.append((order[active], order[active + offset]))
                waiting += len(active)
            if waiting >= _PAIRS or (waiting and not len(active)):
                left = np.concatenate([one for one, _ in held])
                right = np.concatenate([other for _, other in held])
                held, waiting = [], 0
                close = hamming(values[left], values[right]) <= RADIUS
                # A pair that agrees in an earlier stretch too was there already.
                for earlier in stretches[:number]:
                    close &= earlier[left] != earlier[right]
                if close.any():
                    yield left[close], right[close]
            if not len(active):
                break


def _correlation(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of the pixels of pairs N × D. Shape: N. 0 where one picture has a single colour."""
    result = np.empty(len(first))
    for start in range(0, len(first), 4096):
        one, other = (part[start : start + 4096].astype(np.float32) for part in (first, second))
        one -= one.mean(axis=1, keepdims=True)
        other -= other.mean(axis=1, keepdims=True)
        scale = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
        result[start : start + 4096] = (one * other).sum(axis=1) / np.maximum(scale, 1e-6)
    return result
