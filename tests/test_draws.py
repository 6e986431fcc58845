"""The draws are uniform, independent, and functions of (seed, epoch, id, purpose) alone."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deeper.draws import derive, key, keys, order, uniforms, words

seeds = st.integers(-(2**63), 2**64)
epochs = st.integers(0, 2**31)
ids = st.lists(st.text(max_size=20), max_size=30)
MASK = 2**64 - 1


def mix(z: int) -> int:
    """SplitMix64's output for the state `z`, as its reference code has it."""
    z = (z + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def written_out(seed: int, epoch: int, identifier: str, purpose: str, column: int) -> int:
    """The documented rule in plain integers: SplitMix64's finaliser, one round for each coordinate."""

    def named(text: str) -> int:
        data = text.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")

    base = mix(mix(mix(seed & MASK) ^ epoch) ^ named(purpose))
    return mix(mix(named(identifier) ^ base) ^ mix(column))


def test_the_finaliser_is_splitmix64s() -> None:
    # The outputs from state 0 that are published with its reference code.
    states = [(n * 0x9E3779B97F4A7C15) & MASK for n in range(3)]
    assert [mix(state) for state in states] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@given(seeds, epochs, ids, st.text(max_size=10), st.integers(0, 5))
def test_vectorised_equals_written_out(seed: int, epoch: int, names: list[str], purpose: str, count: int) -> None:
    drawn = words(seed, epoch, keys(names), purpose, count)
    assert drawn.dtype == np.uint64 and drawn.shape == (len(names), count)
    assert drawn.tolist() == [[written_out(seed, epoch, name, purpose, c) for c in range(count)] for name in names]
    scaled = uniforms(seed, epoch, keys(names), purpose, count)
    assert scaled.dtype == np.float64
    assert scaled.tolist() == [[(word >> 11) / 2**53 for word in row] for row in drawn.tolist()]
    assert ((scaled >= 0) & (scaled < 1)).all()


def test_golden_values() -> None:
    """Runs of earlier versions are resumed and their samples drawn again: these numbers never change."""
    assert key("train/00000") == 0xC16CF6A348044B83
    assert key("flowers/ü 1.jpg") == 0xB49107FD24672508
    assert key("broken \udcff name") == 0xBF9235F712E209FB
    assert derive(1, 2, "x") == 1017719561520968540
    assert words(7, 3, keys(["train/00000", "array:000123"]), "distort:rotation", 2).tolist() == [
        [17247634476466314476, 16674813696628607671],
        [13602156973882567074, 3895971100107938854],
    ]
    assert order(7, 3, keys(f"train/{n:05d}" for n in range(12))).tolist() == [0, 6, 11, 7, 10, 9, 5, 2, 1, 8, 3, 4]


@given(seeds, epochs, st.lists(st.text(max_size=20), min_size=1, max_size=30, unique=True), st.randoms())
def test_nothing_depends_on_the_order_or_the_company(seed: int, epoch: int, names: list[str], random) -> None:
    drawn = dict(zip(names, uniforms(seed, epoch, keys(names), "rotation", 3).tolist(), strict=True))
    sequence = [names[i] for i in order(seed, epoch, keys(names))]
    assert sorted(sequence) == sorted(names)
    mixed = names.copy()
    random.shuffle(mixed)
    assert dict(zip(mixed, uniforms(seed, epoch, keys(mixed), "rotation", 3).tolist(), strict=True)) == drawn
    assert [mixed[i] for i in order(seed, epoch, keys(mixed))] == sequence
    # A part of the examples keeps its draws and its order among themselves; more columns keep the first ones.
    part = mixed[: len(mixed) // 2]
    assert [part[i] for i in order(seed, epoch, keys(part))] == [name for name in sequence if name in part]
    assert uniforms(seed, epoch, keys(part), "rotation", 5)[:, :3].tolist() == [drawn[name] for name in part]


def test_another_process_draws_the_same() -> None:
    """No hash seed, no state of a generator, no thread has a part in it."""
    code = "from deeper.draws import *; print(order(3, 2, keys(map(str, range(50)))).tolist(), derive(1, 2, 'x'))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": hashing}
        ).stdout.strip()
        for hashing in ("1", "2")
    }
    assert texts == {f"{order(3, 2, keys(map(str, range(50)))).tolist()} {derive(1, 2, 'x')}"}


# What a seed, an epoch, a purpose and ids look like in real runs: small neighbouring numbers, names that differ in one
# digit. A weak mixing shows there.
N = 100_000
IDS = keys(f"train/{number:05d}" for number in range(N))
SETTINGS = [(0, 0, "order"), (0, 1, "order"), (1, 0, "order"), (0, 0, "distort:rotation"), (-1, 10**6, "")]


@pytest.mark.parametrize("seed, epoch, purpose", SETTINGS)
def test_uniform(seed: int, epoch: int, purpose: str) -> None:
    drawn = uniforms(seed, epoch, IDS, purpose, 4)
    for column in drawn.T:
        counts = np.histogram(column, bins=256, range=(0, 1))[0]
        # Deterministic: the bound is met once and for all, and a biased generator is off by far more.
        assert stats.chisquare(counts).pvalue > 1e-4
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    # Every one of the 53 bits is a fair coin.
    bits = words(seed, epoch, IDS, purpose, 1)[:, 0]
    for bit in range(64):
        ones = int(((bits >> np.uint64(bit)) & np.uint64(1)).sum())
        assert abs(ones - N / 2) < 5 * np.sqrt(N) / 2, bit


def test_independent_of_each_other() -> None:
    """Columns, neighbouring ids, epochs, seeds and purposes: no pair is correlated, nor together unevenly spread."""
    columns = [uniforms(seed, epoch, IDS, purpose, 2) for seed, epoch, purpose in SETTINGS]
    streams = [column for drawn in columns for column in drawn.T]
    streams.append(np.roll(streams[0], 1))
    correlations = np.corrcoef(np.stack(streams))
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() < 5 / np.sqrt(N)
    for first, second in itertools.pairwise(streams):
        pairs = np.histogram2d(first, second, bins=16, range=((0, 1), (0, 1)))[0].ravel()
        assert stats.chisquare(pairs).pvalue > 1e-4


def test_one_bit_of_the_seed_changes_half_of_the_bits() -> None:
    plain = words(0, 0, IDS[:2000], "x", 1)
    for other in (words(1, 0, IDS[:2000], "x", 1), words(0, 1, IDS[:2000], "x", 1), words(0, 0, IDS[:2000], "y", 1)):
        changed = np.unpackbits((plain ^ other).view(np.uint8)).mean()
        assert abs(changed - 0.5) < 5 * 0.5 / np.sqrt(2000 * 64)


def test_orders_are_permutations_that_differ() -> None:
    first, second = order(0, 0, IDS), order(0, 1, IDS)
    assert first.dtype == np.int64
    assert (np.sort(first) == np.arange(N)).all() and (np.sort(second) == np.arange(N)).all()
    # The expected number of positions that agree by chance is one.
    assert (first == second).sum() < 10
    assert abs(stats.spearmanr(first, np.arange(N)).statistic) < 5 / np.sqrt(N)
    assert order(0, 0, keys([])).tolist() == []


def test_keys_do_not_collide() -> None:
    assert len(np.unique(IDS)) == N
    assert keys([]).dtype == np.uint64 and keys([]).shape == (0,)
