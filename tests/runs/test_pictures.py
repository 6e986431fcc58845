"""How a run keeps its pictures: once, and never larger than they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deeper.batches import in_order, shuffled
from deeper.images import Preprocess
from deeper.runs.pictures import Opener, at_size, evaluation_batch, open_both, storage

LARGE = Preprocess(height=96, width=96, channels=1)


@pytest.fixture
def opener(small_dataset):
    return Opener(small_dataset, LARGE, workers=1)


def test_small_pictures_are_kept_as_they_are(opener, small_dataset) -> None:
    training, validation = open_both(opener, 1.15, None, None)
    assert training.images.shape == (600, 28, 28, 1), "not 600 pictures of 96 × 1.15"
    assert validation.pictures.images.shape == (150, 28, 28, 1)
    split = small_dataset.split("validation")
    wanted = np.stack([LARGE.fit(split.picture(position)) for position in (3, 149)])
    assert np.array_equal(validation.take(np.array([3, 149])), wanted), "what evaluation sees is what `fit` makes"
    batches = list(in_order(validation, 64))
    assert [batch.images.shape for batch in batches] == [(64, 96, 96, 1), (64, 96, 96, 1), (22, 96, 96, 1)]


def test_stages_see_the_same_pictures_at_their_size(opener, small_dataset) -> None:
    _, validation = open_both(opener, 1.0, None, None)
    small = at_size(validation, LARGE.at(40, 40))
    split = small_dataset.split("validation")
    assert np.array_equal(small.take(np.array([7]))[0], LARGE.at(40, 40).fit(split.picture(7)))
    assert len(small) == 150 and np.array_equal(small.keys, validation.keys)


def test_stages_crop_what_is_kept_only_once(small_dataset) -> None:
    cropping = Preprocess(height=20, width=20, channels=1, crop=0.75)
    _, validation = open_both(Opener(small_dataset, cropping, workers=1), 1.0, None, None)
    picture = cropping.fit(small_dataset.split("validation").picture(3))
    small = at_size(validation, cropping.at(10, 10)).take(np.array([3]))[0]
    assert np.array_equal(small, replace(cropping, crop=1.0).at(10, 10).fit(picture))
    # Those that are enlarged as they are taken are kept whole.
    large = replace(LARGE, crop=0.75)
    _, validation = open_both(Opener(small_dataset, large, workers=1), 1.0, None, None)
    whole = small_dataset.split("validation").picture(3)
    shown = at_size(validation, large.at(40, 40)).take(np.array([3]))[0]
    assert np.array_equal(shown, large.at(40, 40).fit(whole))


def test_evaluations_may_crop_what_training_sees_whole(small_dataset) -> None:
    split = small_dataset.split("train")
    cropping = Preprocess(height=20, width=20, channels=1, crop=0.75)
    whole = Opener(small_dataset, cropping, workers=1, whole=True)
    training, validation = open_both(whole, 1.0, None, None)
    assert np.array_equal(training.take(np.array([3]))[0], replace(cropping, crop=1.0).fit(split.picture(3)))
    picture = small_dataset.split("validation").picture(3)
    assert np.array_equal(validation.take(np.array([3]))[0], cropping.fit(picture))
    alike, _ = open_both(Opener(small_dataset, cropping, workers=1), 1.0, None, None)
    assert np.array_equal(alike.take(np.array([3]))[0], cropping.fit(split.picture(3)))


@pytest.mark.parametrize(
    ("size", "factor", "kept"), [((20, 20), 1.15, (23, 23)), ((28, 28), 1.15, (28, 28)), ((96, 48), 1.5, (56, 28))]
)
def test_store_size_is_bounded_by_the_pictures(small_dataset, size, factor, kept) -> None:
    fit = storage(Preprocess(height=size[0], width=size[1], channels=1), factor, small_dataset)
    assert (fit.height, fit.width) == kept


def test_large_inputs_are_evaluated_in_smaller_batches() -> None:
    assert [evaluation_batch(side, side) for side in (28, 75, 299, 2000)] == [500, 500, 44, 16]


def test_a_later_leg_begins_its_own_epochs(opener) -> None:
    training, _ = open_both(opener, 1.0, None, None)
    first = [batch.ids for batch in shuffled(training, 60, seed=1, first_step=0, steps=10, first_epoch=2)]
    third = [batch.ids for batch in shuffled(training, 60, seed=1, first_step=20, steps=30)]
    assert first == third
