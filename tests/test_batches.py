from __future__ import annotations

import threading

import numpy as np
import pytest

from deeper import draws
from deeper.batches import InMemory, Joined, Selected, Streaming, in_order, open_pictures, shuffled, steps_per_epoch
from deeper.images import Preprocess


class FakeSplit:
    """Pictures whose every pixel says which example they are."""

    def __init__(self, count: int, side: int = 8) -> None:
        self.count, self.side = count, side
        self.ids = [f"array:{number:06d}" for number in range(count)]
        self.keys = draws.keys(self.ids)
        self.labels = np.arange(count, dtype=np.int64) % 3
        self.decoded = 0

    def __len__(self) -> int:
        return self.count

    def picture(self, position: int, at_least=None) -> np.ndarray:
        self.decoded += 1
        return np.full((self.side, self.side, 1), position % 251, np.uint8)


FIT = Preprocess(height=8, width=8, channels=1, mean=(0.5,), deviation=(0.5,))


def kinds(count: int):
    split = FakeSplit(count)
    return InMemory(split, FIT, workers=2), Streaming(split, FIT, workers=2)


def test_memory_and_stream_give_the_same_batches():
    memory, stream = kinds(103)
    for ours, theirs in zip(
        shuffled(memory, 10, seed=5, first_step=0, steps=25),
        shuffled(stream, 10, seed=5, first_step=0, steps=25),
        strict=True,
    ):
        assert np.array_equal(ours.images, theirs.images)
        assert np.array_equal(ours.labels, theirs.labels)
        assert ours.ids == theirs.ids
        assert np.array_equal(ours.keys, theirs.keys)


def test_pictures_labels_and_ids_stay_together():
    for pictures in kinds(57):
        for batch in shuffled(pictures, 8, seed=1, first_step=0, steps=14):
            numbers = batch.images[:, 0, 0, 0]
            assert [f"array:{number:06d}" for number in numbers] == list(batch.ids)
            assert np.array_equal(batch.labels, numbers % 3)


def test_an_epoch_shows_no_example_twice_and_each_epoch_has_its_order():
    memory, _ = kinds(100)
    per_epoch = steps_per_epoch(100, 10)
    epochs = []
    batches = list(shuffled(memory, 10, seed=3, first_step=0, steps=2 * per_epoch))
    for start in (0, per_epoch):
        epochs.append([identifier for batch in batches[start : start + per_epoch] for identifier in batch.ids])
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(memory.ids)
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("first", [0, 1, 9, 10, 17])
def test_any_step_can_be_the_first(first):
    memory, _ = kinds(100)
    whole = list(shuffled(memory, 10, seed=3, first_step=0, steps=20))
    part = list(shuffled(memory, 10, seed=3, first_step=first, steps=20))
    assert [batch.ids for batch in part] == [batch.ids for batch in whole[first:]]


def test_the_order_depends_on_ids_and_not_on_where_they_stand():
    memory, _ = kinds(60)
    turned = Selected(memory, np.arange(60)[::-1].copy())
    ours = [identifier for batch in shuffled(memory, 6, seed=2, first_step=0, steps=10) for identifier in batch.ids]
    theirs = [identifier for batch in shuffled(turned, 6, seed=2, first_step=0, steps=10) for identifier in batch.ids]
    assert ours == theirs


def test_fewer_pictures_than_a_batch():
    memory, _ = kinds(5)
    batches = list(shuffled(memory, 16, seed=0, first_step=0, steps=3))
    assert [len(batch.ids) for batch in batches] == [5, 5, 5]


def test_in_order_covers_everything_once():
    for pictures in kinds(23):
        batches = list(in_order(pictures, 10))
        assert [len(batch.ids) for batch in batches] == [10, 10, 3]
        assert [identifier for batch in batches for identifier in batch.ids] == list(pictures.ids)


def test_the_choice_is_automatic_and_said():
    split = FakeSplit(100)
    assert "in memory" in open_pictures(split, FIT, memory_limit=10**6).kind
    assert "streamed" in open_pictures(split, FIT, memory_limit=1000).kind


def test_joined_and_selected_know_their_owners():
    memory, stream = kinds(20)
    joined = Joined([memory, stream])
    positions = np.array([0, 25, 19, 39, 20])
    taken = joined.take(positions)
    assert list(taken[:, 0, 0, 0]) == [0, 5, 19, 19, 0]
    selected = Selected(joined, np.array([39, 1]))
    assert list(selected.take(np.array([1, 0]))[:, 0, 0, 0]) == [1, 19]
    assert len(list(in_order(selected, 1))) == 2


def test_a_reader_that_is_left_early_ends_its_thread():
    _, stream = kinds(200)
    batches = shuffled(stream, 4, seed=0, first_step=0, steps=100)
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch" and thread.is_alive()]


def test_an_error_while_decoding_reaches_the_reader():
    split = FakeSplit(50)

    def broken(position, at_least=None):
        raise ValueError(f"broken {position}")

    split.picture = broken
    with pytest.raises(ValueError, match="broken"):
        list(shuffled(Streaming(split, FIT, workers=2), 4, seed=0, first_step=0, steps=3))


def test_streaming_holds_only_a_few_batches():
    split = FakeSplit(10_000)
    stream = Streaming(split, FIT, workers=2)
    batches = shuffled(stream, 10, seed=0, first_step=0, steps=1000)
    for _ in range(5):
        next(batches)
    batches.close()
    assert split.decoded <= (5 + 8) * 10
