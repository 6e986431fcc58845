"""What is shown of a collision is what collided."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from deeper.distortions import Crop, Elastic, Erasing, GuideColour, Noise, RandomBox
from deeper.images import Preprocess
from deeper.inspection.collision import Cases, Hits
from deeper.inspection.evidence import Weighed
from deeper.inspection.gallery import Shown
from deeper.inspection.library import DISTORTED, Library
from deeper.inspection.tries import transform_of
from tests.inspection.glyphs import SIDE

JUDGED = Preprocess(height=SIDE, width=SIDE, channels=1)
# The run's pictures may be larger than the judge's.
FIT = Preprocess(height=2 * SIDE, width=2 * SIDE, channels=1)
GIVEN, NUMBER, ROW = 3, 2, 7


@pytest.fixture
def library(lettered):
    split = lettered.split("train")
    # Nothing is asked of the judge's network here.
    reader = SimpleNamespace(
        judge=SimpleNamespace(preprocess=JUDGED),
        classes=len(lettered.classes),
        folds=lambda training: np.zeros(len(training), np.int64),
        features=lambda images, fold: images.reshape(len(images), -1).astype(np.float32),
    )
    return Library(lettered, np.arange(len(lettered.classes)), reader, np.ones(len(split), np.bool_))


def shown(library, lettered, distortion):
    """The collision of one case with the picture in row ROW of its given class."""
    position = library.members(GIVEN)[ROW]
    one = [np.array([number], np.int64) for number in (NUMBER, position, ROW)]
    hits = Hits(np.array([True]), one[0], np.array([0.5], np.float32), one[1], one[2])
    method = transform_of(distortion, "border")
    weighed = Weighed(distortion, method, hits, 0.1, 0, (), None, None, 1.0)
    zero, none = np.zeros(1, np.int64), np.full(1, -1, np.int64)
    images = np.zeros((1, SIDE, SIDE, 1), np.uint8)
    cases = Cases(zero, images, zero, np.array([GIVEN]), none, zero, np.ones(1, np.float32))
    subject = SimpleNamespace(classes=lettered.classes, chosen=SimpleNamespace(ids=("case",)))
    inspected = SimpleNamespace(take=lambda rows: np.zeros((len(rows), 2 * SIDE, 2 * SIDE, 1), np.uint8))
    (found,) = Shown(subject, FIT, inspected, library.reader, library).collisions(weighed, cases)
    return method, found


@pytest.mark.parametrize(
    "distortion", [Crop(), RandomBox(), GuideColour(), Erasing(), Elastic(), Noise()], ids=lambda one: one.name
)
def test_without_an_inverse_the_copy_that_was_nearest_is_shown(library, lettered, distortion):
    method, found = shown(library, lettered, distortion)
    members = library.members(GIVEN)[:DISTORTED]
    assert found.neighbour_id == lettered.split("train").ids[members[ROW]]
    batch = library.pictures(members)
    assert np.array_equal(found.neighbour, batch[ROW])
    assert np.abs(found.distorted.astype(int) - method(batch, NUMBER)[ROW]).max() <= 1
