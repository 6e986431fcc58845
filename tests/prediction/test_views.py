"""Test-time averaging: only over what is safe, and the better for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deeper.distortions import HorizontalFlip, Rotation, Translation
from deeper.errors import UsageError
from deeper.inference.scores import Scores, familiarity, softmax
from deeper.prediction import Classifier
from deeper.prediction.views import averaged, safe_distortions
from deeper.values import to_plain
from tests.sample_network import digits, write

SMALL, FLIP = (Rotation(degrees=10), Translation(fraction=0.1)), HorizontalFlip()


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    return Classifier(write(tmp_path_factory.mktemp("run") / "bundle"), device="cpu").info


def trained(info, distortions, policy=None):
    return replace(info, distortions=to_plain(list(distortions)), policy=policy)


def test_what_is_safe(info) -> None:
    never = {"classes": {info.classes[2]: {"never": ["horizontal_flip"]}}}
    elsewhere = {"classes": {info.classes[2]: {"never": ["vertical_flip"]}}}
    assert safe_distortions(trained(info, (*SMALL, FLIP))) == SMALL  # nobody looked at the flip
    assert safe_distortions(trained(info, (*SMALL, FLIP), never)) == SMALL
    assert safe_distortions(trained(info, (*SMALL, FLIP), elsewhere)) == (*SMALL, FLIP)
    assert safe_distortions(trained(info, (Rotation(degrees=90), SMALL[1]))) == SMALL[1:]


def test_without_a_safe_view_it_is_refused(info, tmp_path) -> None:
    with pytest.raises(UsageError, match="leave --tta out"):
        averaged(lambda images: Scores(np.zeros((1, 10)), np.zeros((1, 3))), trained(info, (FLIP,)))
    with pytest.raises(UsageError, match="no view to average over"):
        Classifier(write(tmp_path / "bundle"), device="cpu", views=8)


def test_views_are_the_same_for_every_picture_and_include_itself(info) -> None:
    seen: list[np.ndarray] = []

    def predict(images):
        seen.append(images)
        logits = np.zeros((len(images), 10), np.float32)
        logits[:, 3] = images.mean(axis=(1, 2, 3))
        return Scores(logits, logits)

    images = digits("test", 6)[0]
    images = images if images.ndim == 4 else images[..., None]
    twice = np.concatenate([images, images])
    scores = averaged(predict, trained(info, SMALL), views=5)(twice)
    assert len(seen) == 5
    np.testing.assert_array_equal(seen[0], twice)
    for view in seen[1:]:
        assert view.dtype == np.uint8 and view.shape == twice.shape and not np.array_equal(view, twice)
        np.testing.assert_array_equal(view[:6], view[6:])
    np.testing.assert_array_equal(scores.logits[:6], scores.logits[6:])


def test_one_sure_view_among_many_moves_the_mean(info) -> None:
    answers = iter([[0.0, 0.0], [0.0, 2.0], [0.0, 4.0]])

    def predict(images):
        logits = np.tile(np.array(next(answers), np.float32), (len(images), 1))
        return Scores(logits, logits)

    scores = averaged(predict, replace(trained(info, SMALL), temperature=None), views=3)(
        np.zeros((1, 28, 28, 1), np.uint8)
    )
    shares = np.array([0.5, 1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-4))])
    np.testing.assert_allclose(softmax(scores.logits)[0], [1 - shares.mean(), shares.mean()], rtol=1e-6)
    # Softmax takes the familiarity away; the views' mean of it is kept.
    of_views = np.log([2, 1 + np.exp(2), 1 + np.exp(4)])
    np.testing.assert_allclose(familiarity(scores.logits), [of_views.mean()], rtol=1e-6)
    np.testing.assert_allclose(scores.features[0], [0, 2])
