"""Collision by its rule, with a judge whose every reading is known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from deeper.distortions import HorizontalFlip, Translation
from deeper.images import Preprocess
from deeper.inspection.collision import Cases, by_inverse, by_neighbours
from deeper.inspection.reading import Reader
from deeper.inspection.tries import Forwards, transform_of

SIZE = 8


class BrightestQuarter:
    """Reads a picture as the quarter (0 top left, 1 top right, 2 bottom left, 3 bottom right) that is brightest."""

    classes = ("a", "b", "c", "d")
    preprocess = Preprocess(height=SIZE, width=SIZE, channels=1)
    accuracy, interval, balanced_accuracy, weak = 1.0, (0.99, 1.0), 1.0, False
    folds = np.array([0, 1, 0, 1])

    def describe(self):
        return "the brightest quarter"

    def features(self, images, fold=0):
        half = SIZE // 2
        parts = [images[:, r : r + half, c : c + half].mean((1, 2, 3)) for r in (0, half) for c in (0, half)]
        return np.stack(parts, axis=1).astype(np.float32)

    def probabilities(self, images):
        bright = self.features(images) + 1e-3
        return (bright / bright.sum(1, keepdims=True)).astype(np.float32)

    def probabilities_out_of_fold(self, images, positions):
        assert (np.asarray(positions) >= 0).all()
        return self.probabilities(images)


def corner(quarter: int) -> np.ndarray:
    picture = np.zeros((SIZE, SIZE, 1), np.uint8)
    row, column = divmod(quarter, 2)
    picture[row * 4 + 1 : row * 4 + 3, column * 4 + 1 : column * 4 + 3] = 200
    return picture


def cases(labels, given, shown=None):
    images = np.stack([corner(one) for one in (shown or labels)])
    judged = BrightestQuarter().probabilities(images).argmax(1)
    count = len(labels)
    trust = np.ones(count, np.float32)
    return Cases(np.arange(count), images, np.array(labels), np.array(given), np.full(count, -1), judged, trust)


@pytest.fixture
def reader():
    return Reader(BrightestQuarter(), np.arange(4), 4)


EVERY = np.ones(4, bool)


def test_what_the_flip_turns_into_the_given_class_collides_and_nothing_else(reader):
    #         a→b    a→c    b→a    c→d    d→c   and a picture labelled a that the judge itself reads as b
    tried = cases([0, 0, 1, 2, 3, 0], [1, 2, 0, 3, 2, 1], shown=[0, 0, 1, 2, 3, 1])
    hits = by_inverse(reader, transform_of(HorizontalFlip(), "zeros"), tried, EVERY)
    assert hits.collided.tolist() == [True, False, True, True, True, False]
    assert (hits.number[hits.collided] == 0).all() and (hits.strength[hits.collided] > 0.9).all()


def test_a_class_whose_pictures_were_never_flipped_cannot_collide(reader):
    allowed = np.array([True, False, True, True])
    hits = by_inverse(reader, transform_of(HorizontalFlip(), "zeros"), cases([0, 1], [1, 0]), allowed)
    assert hits.collided.tolist() == [False, True]


def test_the_try_that_convinces_most_is_kept(reader):
    transform = transform_of(Translation(fraction=0.5), "zeros")
    hits = by_inverse(reader, transform, cases([0], [3]), EVERY)
    assert hits.collided.all()
    # Undone: a translation by minus half a side each way moves the corner from top left to bottom right.
    assert transform.grid[hits.number[0]].tolist() == [-0.5, -0.5]


def test_no_errors_are_no_collisions(reader):
    none = cases([0], [1])
    empty = Cases(
        *(
            part[:0]
            for part in (none.rows, none.images, none.labels, none.given, none.training, none.judged, none.trust)
        )
    )
    assert by_inverse(reader, transform_of(HorizontalFlip(), "zeros"), empty, EVERY).count == 0


def test_training_pictures_are_read_out_of_fold_and_classes_are_the_runs(reader):
    shuffled = Reader(BrightestQuarter(), np.array([2, 0, 3, 1]), 5)
    images = np.stack([corner(one) for one in range(4)])
    readings = shuffled.probabilities(images, np.array([0, -1, 2, -1]))
    assert readings.shape == (4, 5) and readings.argmax(1).tolist() == [2, 0, 3, 1]
    assert (readings[:, 4] == 0).all()


def test_by_neighbours_what_the_distortion_makes_of_a_class_must_be_nearest(reader):
    """The class b in the library; `moved` makes a's of its pictures."""

    def library_of(moved):
        unit = reader.features(np.stack([corner(one) for one in range(4)]), 0)
        return SimpleNamespace(
            plain=lambda label, fold, but=-1: unit[label : label + 1] * np.float32(0.99),
            distorted=lambda label, transform, fold: (
                np.tile([10 + label], transform.tries),
                np.repeat(unit[moved[label]][None], transform.tries, axis=0),
            ),
        )

    transform = Forwards(HorizontalFlip(), "zeros", 3)
    hits = by_neighbours(reader, transform, cases([0, 0], [1, 2]), EVERY, library_of([1, 0, 3, 2]))
    assert hits.collided.tolist() == [True, False]
    assert hits.neighbour.tolist() == [11, -1]


def test_which_draw_was_nearest_is_kept(reader):
    """Of the pictures 10 and 20, each drawn three times, only the second draw of 20 looks like the case."""
    features = np.zeros((6, 4), np.float32)
    features[3] = reader.features(corner(0)[None], 0)[0]
    library = SimpleNamespace(
        plain=lambda label, fold, but=-1: np.zeros((1, 4), np.float32),
        distorted=lambda label, transform, fold: (np.tile([10, 20], 3), features),
    )
    hits = by_neighbours(reader, Forwards(HorizontalFlip(), "zeros", 3), cases([0], [1]), EVERY, library)
    assert (hits.neighbour.tolist(), hits.number.tolist(), hits.row.tolist()) == ([20], [1], [1])


class ByFold(BrightestQuarter):
    """Fold 1's network sees the quarters in another order: features of two folds cannot be compared."""

    asked: list[tuple[int, int]]

    def features(self, images, fold=0):
        self.asked.append((fold, len(images)))
        found = super().features(images)
        return found[:, ::-1] if fold else found


def test_a_training_picture_is_compared_by_the_network_that_did_not_learn_it():
    judge = ByFold()
    judge.asked = []
    reader = Reader(judge, np.arange(4), 4)
    assert reader.folds(np.array([-1, 0, 1, 3])).tolist() == [0, 0, 1, 1]
    seen = []

    def plain(label, fold, but=-1):
        seen.append((label, fold, but))
        return np.zeros((1, 4), np.float32)

    def distorted(label, transform, fold):
        unit = reader.features(corner(0)[None], fold)
        return np.tile([10], transform.tries), np.repeat(unit, transform.tries, axis=0)

    tried = replace(cases([0, 0, 0], [1, 1, 1]), training=np.array([-1, 1, 2]))
    library = SimpleNamespace(plain=plain, distorted=distorted)
    hits = by_neighbours(reader, Forwards(HorizontalFlip(), "zeros", 3), tried, EVERY, library)
    assert hits.collided.all() and hits.strength == pytest.approx(np.ones(3), abs=1e-5)
    # Of its own class it is itself left out: it would be its own nearest neighbour.
    assert {(0, 0, -1), (0, 0, 2), (0, 1, 1), (1, 0, -1), (1, 1, -1)} == set(seen)
