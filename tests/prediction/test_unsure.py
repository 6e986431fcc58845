"""A trained run's bundle knows when its answer should not be trusted, and says why."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deeper.prediction import Classifier
from deeper.runs import train

# In fp32, so that it is the same network on every processor.
OPTIONS = {"batch": 50, "precision": "fp32"}


@pytest.fixture(scope="module")
def trained(small_dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("unsure") / "run"
    train(small_dataset, recipe="fast", out=path, epochs=8, quiet=True, options=OPTIONS)
    return path


@pytest.fixture(scope="module")
def pictures(small_dataset) -> np.ndarray:
    split = small_dataset.split("test")
    return np.stack([split.picture(position) for position in range(len(split))])


def test_temperature_threshold_and_appearance_are_fitted(trained) -> None:
    info = Classifier(trained).info
    assert info.temperature and 0.05 <= info.temperature <= 20
    assert info.threshold is not None and 0 < info.threshold <= 0.99
    assert info.familiarity is not None and np.isfinite(info.familiarity)
    assert info.appearance is not None and info.appearance.border[1] < 0.3


def test_right_inputs_are_answered_and_wrong_ones_are_not(trained, pictures) -> None:
    classifier = Classifier(trained)
    assert sum(bool(one.unsure) for one in classifier(pictures)) <= 0.1 * len(pictures)
    assert all("inverted" in one.unsure for one in classifier(255 - pictures))
    blank = classifier(np.zeros((28, 28), np.uint8))
    assert blank.unsure.startswith("blank") and "unsure: blank" in repr(blank)


def test_what_no_class_speaks_up_for_is_unlike_the_training_pictures(trained, pictures) -> None:
    """Also where brightness, contrast and place of the mass are those of digits, and the softmax is sure."""
    classifier = Classifier(trained)
    classifier.info = replace(classifier.info, threshold=0.0)
    generator = np.random.default_rng(0)
    shuffled = generator.permuted(pictures.reshape(len(pictures), -1), axis=1).reshape(pictures.shape)
    kept = classifier.info
    classifier.info = replace(kept, appearance=None)
    unlike = [one.unsure.startswith("unlike the training pictures") for one in classifier(shuffled)]
    assert np.mean(unlike) > 0.5
    assert np.mean([bool(one.unsure) for one in classifier(pictures)]) <= 0.05
    classifier.info = replace(kept, appearance=None, familiarity=None)
    assert not any(one.unsure for one in classifier(shuffled))


def test_an_improbable_answer_is_unsure(trained, pictures) -> None:
    classifier = Classifier(trained)
    classifier.info = replace(classifier.info, threshold=0.9999, familiarity=None, appearance=None)
    answers = classifier(pictures)
    for one in answers:
        assert bool(one.unsure) == (one.probability < 0.9999)
        assert not one.unsure or one.unsure.startswith("no class is probable enough (")
    assert any(one.unsure for one in answers)
    # A bundle without any of it answers everything.
    classifier.info = replace(classifier.info, threshold=None)
    assert not any(one.unsure for one in classifier(255 - pictures))


def test_the_verb_says_it_in_every_form(trained, pictures, tmp_path, run_deeper) -> None:
    Image.fromarray(pictures[0, ..., 0]).save(tmp_path / "good.png")
    Image.fromarray(255 - pictures[0, ..., 0]).save(tmp_path / "inverted.png")
    files = ("good.png", "inverted.png")
    text = run_deeper("predict", trained, *files).stdout.splitlines()
    assert "unsure" not in text[0] and "unsure: inverted" in text[1]
    plain = json.loads(run_deeper("predict", trained, *files, "--json").stdout)["predictions"]
    assert plain[0]["unsure"] is None and plain[1]["unsure"].startswith("inverted")
    rows = list(csv.DictReader(io.StringIO(run_deeper("predict", trained, *files, "--csv").stdout)))
    assert rows[0]["unsure"] == "" and rows[1]["unsure"].startswith("inverted")
