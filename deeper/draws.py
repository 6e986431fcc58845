"""The counter-based generator: (seed, epoch, key, purpose) → uniforms, vectorised over examples.

No draw depends on any other draw, on the order of the examples or on the number of workers, so an order
of examples or a distortion's parameters can be drawn again at any time from the four values alone.

The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom
Number Generators", 2014), applied as a keyed hash: each coordinate is absorbed with its own round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def key(identifier: str) -> int:
    """The 64-bit key of an example's id (BLAKE2b), or of any other name."""
    return int.from_bytes(
        hashlib.blake2b(identifier.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )


def keys(identifiers: Iterable[str]) -> NDArray[np.uint64]:
    """One key per id. Shape: N. dtype: uint64."""
    return np.fromiter((key(identifier) for identifier in identifiers), dtype=np.uint64)


def _mix(value: int) -> int:
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


def _mix_array(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    # uint64 arithmetic wraps modulo 2**64 in numpy arrays, as the algorithm wants.
    values = values + np.uint64(_GOLDEN)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FIRST)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_SECOND)
    return values ^ (values >> np.uint64(31))


def derive(seed: int, epoch: int, purpose: str) -> int:
    """A 64-bit seed for one purpose in one epoch, for generators of other libraries (for example dropout masks)."""
    return _mix(_mix(_mix(seed & _MASK) ^ (epoch & _MASK)) ^ key(purpose))


def words(seed: int, epoch: int, example_keys: NDArray[np.uint64], purpose: str, count: int) -> NDArray[np.uint64]:
    """`count` random 64-bit words for each example. Shape: N × count. dtype: uint64."""
    base = np.uint64(derive(seed, epoch, purpose))
    rows = _mix_array(example_keys.astype(np.uint64) ^ base)
    columns = _mix_array(np.arange(count, dtype=np.uint64))
    return _mix_array(rows[:, None] ^ columns[None, :])


def uniforms(seed: int, epoch: int, example_keys: NDArray[np.uint64], purpose: str, count: int) -> NDArray[np.float64]:
    """`count` uniforms in [0, 1) for each example. Shape: N × count. dtype: float64, 53 random bits each."""
    return (words(seed, epoch, example_keys, purpose, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def order(seed: int, epoch: int, example_keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The order of the examples in one epoch: their positions sorted by a draw of their own. Shape: N.

    A function of the *set* of examples: storing the examples in another order, or in other shards, yields
    the same sequence of ids (ties, at 2**-64 each, fall back to the position).
    """
    return np.argsort(words(seed, epoch, example_keys, "order", 1)[:, 0], kind="stable")
