"""Neighbours by distance, against all pairs; what lies apart is strange."""

from __future__ import annotations

import numpy as np

from deeper import draws
from deeper.inspection import nearness


def test_the_nearest_are_those_of_all_pairs() -> None:
    features = np.random.default_rng(0).normal(size=(700, 5)).astype(np.float32)
    own = np.arange(700)
    found, distances = nearness.nearest(features, own, features, own, 4)
    table = np.linalg.norm(features[:, None].astype(np.float64) - features[None], axis=2)
    np.fill_diagonal(table, np.inf)
    np.testing.assert_array_equal(found, np.argsort(table, axis=1)[:, :4])
    np.testing.assert_allclose(distances, np.sort(table, axis=1)[:, :4], atol=1e-3)


def test_a_picture_is_not_its_own_neighbour_and_few_references_give_fewer() -> None:
    features = np.zeros((3, 2), np.float32)
    found, _ = nearness.nearest(features, np.arange(3), features, np.arange(3), 8)
    assert found.shape == (3, 2) and all(row not in found[row] for row in range(3))
    assert nearness.nearest(features[:1], np.zeros(1, np.int64), features[:1], np.zeros(1, np.int64), 8)[0].shape == (
        1,
        0,
    )


def test_what_lies_apart_is_strange_and_nothing_else() -> None:
    features = np.random.default_rng(0).normal(size=(2000, 8)).astype(np.float32)
    features[7] = 60
    keys = draws.keys(map(str, range(2000)))
    everyone = np.ones(2000, np.bool_)
    scores = nearness.strangeness(features, keys, everyone, everyone)
    assert scores.argmax() == 7 and scores[7] > 6 and abs(np.median(scores)) < 0.1
    assert (scores > 4).mean() < 0.005
    few = nearness.strangeness(features[:5], keys[:5], everyone[:5], everyone[:5])
    assert (few == 0).all()


def test_what_was_learned_by_heart_does_not_make_new_pictures_strange() -> None:
    """Of 2,000 training pictures 1,600 were trained on and lie closer together; 400 more are tested on, one lies apart."""
    features = np.random.default_rng(0).normal(size=(2400, 8)).astype(np.float32)
    numbers = np.arange(2400)
    training, seen = numbers < 2000, numbers < 1600
    features[seen] *= 0.4
    features[2399] = 60
    keys = draws.keys(map(str, range(2400)))
    scores = nearness.strangeness(features, keys, training, seen)
    for part in (seen, training & ~seen, ~training):
        assert abs(np.median(scores[part])) < 0.2 and (scores[part] > 4).mean() < 0.005
    assert scores.argmax() == 2399 and scores[2399] > 6
    # Of one kind they would be: that is what this test is about.
    alike = nearness.strangeness(features, keys, training, np.ones(2400, np.bool_))
    assert np.median(alike[~seen]) > 2


def test_too_few_new_pictures_are_compared_with_all() -> None:
    features = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    keys, training, seen = draws.keys(map(str, range(300))), np.ones(300, np.bool_), np.arange(300) >= 20
    features[~seen] *= 2
    scores = nearness.strangeness(features, keys, training, seen)
    np.testing.assert_allclose(scores[~seen], nearness.strangeness(features, keys, training, training)[~seen])
    assert np.median(scores[~seen]) > 1


def test_constant_columns_count_for_nothing() -> None:
    features = np.random.default_rng(0).normal(3, 5, size=(500, 3)).astype(np.float32)
    features[:, 1] = 9
    spread = nearness.standardised(features, np.ones(500, np.bool_))
    np.testing.assert_allclose(spread.std(axis=0), [1, 0, 1], atol=1e-4)
