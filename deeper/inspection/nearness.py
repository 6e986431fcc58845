"""Nearest pictures in feature space, in portions: no table of all pairs is ever held."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deeper import draws

# Reference pictures that typical distances are measured against; more would not move them.
REFERENCE = 8_000
_ROWS, _CELLS = 512, 1 << 24
# Of fewer pictures the median and the spread tell little.
_LEAST = 30


def standardised(features: NDArray[np.float32], training: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Features N × D with each column's deviation among the training pictures 1; constant columns become 0."""
    mean, deviation = features[training].mean(axis=0), features[training].std(axis=0)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0)
    result: NDArray[np.float32] = ((features - mean) * scale).astype(np.float32)
    return result


def nearest(
    queries: NDArray[np.float32],
    own: NDArray[np.int64],
    reference: NDArray[np.float32],
    places: NDArray[np.int64],
    count: int,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each query its nearest references, the nearest first: places and Euclidean distances, both M × count.

    `queries`: float32 M × D; `own`: int64 M, where the queries stand themselves; `reference`: float32 R × D; `places`:
    int64 R, where those stand. A picture is not its own neighbour. `count` is at most R − 1.
    """
    count = max(0, min(count, len(reference) - 1))
    found = np.empty((len(queries), count), np.int64)
    distances = np.empty((len(queries), count), np.float32)
    if not count:
        return found, distances
    squares = (reference**2).sum(axis=1)
    # Of a large reference fewer rows at once: what bounds the memory is their product.
    portion = max(1, min(_ROWS, _CELLS // len(reference)))
    for start in range(0, len(queries), portion):
        rows = queries[start : start + portion]
        table = squares - 2 * rows @ reference.T
        table[own[start : start + len(rows), None] == places] = np.inf
        chosen = np.argpartition(table, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(table, chosen, axis=1)
        order = np.argsort(values, axis=1, kind="stable")
        chosen = np.take_along_axis(chosen, order, axis=1)
        found[start : start + len(rows)] = places[chosen]
        squared = np.take_along_axis(values, order, axis=1) + (rows**2).sum(axis=1)[:, None]
        distances[start : start + len(rows)] = np.sqrt(np.maximum(squared, 0))
    return found, distances


def sample(keys: NDArray[np.uint64], allowed: NDArray[np.bool_], seed: int = 0) -> NDArray[np.int64]:
    """Positions of at most `REFERENCE` of the allowed pictures, drawn by their keys, in stored order."""
    positions = np.flatnonzero(allowed)
    drawn = draws.uniforms(seed, 0, keys[positions], "reference", 1)[:, 0]
    return np.sort(positions[np.argsort(drawn, kind="stable")[:REFERENCE]])


def strangeness(
    features: NDArray[np.float32],
    keys: NDArray[np.uint64],
    training: NDArray[np.bool_],
    seen: NDArray[np.bool_],
    count: int = 10,
) -> NDArray[np.float64]:
    """How far each picture lies from all others. Shape: N. Median 0; 1 deviation of the logarithms is 1.

    The mean distance to the `count` nearest of a sample of the training pictures, as a robust z-score of its logarithm.
    Zeros where there are too few pictures to tell. `seen`: those that the network behind `features` trained on. What it
    learned by heart lies nearer to its kind than anything new does, so what is usual is taken from the training pictures
    that it saw for these, and for all others from those that it did not see.
    """
    places = sample(keys, training)
    if len(places) <= count:
        return np.zeros(len(features))
    _, distances = nearest(features, np.arange(len(features)), features[places], places, count)
    logarithms = np.log(np.maximum(distances.mean(axis=1, dtype=np.float64), 1e-9))
    scores = np.empty(len(features))
    for alike in (seen, ~seen):
        known = alike & training
        usual = logarithms[known if known.sum() >= _LEAST else training]
        middle = np.median(usual)
        spread = 1.4826 * np.median(np.abs(usual - middle))
        scores[alike] = (logarithms[alike] - middle) / max(spread, 1e-6)
    return scores
