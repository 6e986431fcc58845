"""Pictures of another dataset that the judge trained on are known to it, whatever split they were drawn into."""

from __future__ import annotations

import numpy as np
import pytest

from deeper.inspection import inspect
from deeper.inspection.inspecting import _of_learned
from deeper.inspection.subject import HELD_OUT, Subject, open_subject
from deeper.records import BuildOptions, Dataset, build, open_source
from deeper.runs import Fold, evaluate_run, train
from tests.inspection.conftest import QUICK
from tests.inspection.glyphs import letters

KNOWN = 700


def built(arrays, folder, **options) -> Dataset:
    build(open_source(arrays), folder, options=BuildOptions(workers=1, **options))
    return Dataset(folder)


@pytest.fixture(scope="module")
def anew(tmp_path_factory):
    """The training letters alone, from which other splits were drawn."""
    return built({"train": letters(800, 0)}, tmp_path_factory.mktemp("anew") / "letters", seed=3)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """KNOWN training letters, and other ones under the names of the rest."""
    pictures, names = letters(800, 0)
    others, their_names = letters(800 - KNOWN, 9)
    arrays = np.concatenate([pictures[:KNOWN], others]), names[:KNOWN] + their_names
    parts = {"train": arrays, "validation": letters(80, 1)}
    return built(parts, tmp_path_factory.mktemp("mixed") / "letters", test=0)


def opened(run, source, split) -> Subject:
    return open_subject(run, source, split=split, checkpoint=None, device="auto", model=None)


def test_pictures_are_known_by_name_and_bytes(flipped, lettered, anew, mixed):
    train_ids = lettered.split("train").ids
    for source, split, known in ((anew, "train", 640), (anew, "validation", 80), (mixed, "train", KNOWN)):
        chosen = opened(flipped, source, split).chosen
        inside = np.flatnonzero(chosen.training >= 0)
        assert len(inside) == known
        assert [train_ids[chosen.training[row]] for row in inside] == [chosen.ids[row] for row in inside]
    assert (opened(flipped, mixed, "validation").chosen.training == -1).all()


def test_they_are_read_out_of_fold_and_it_is_said(flipped, judge, anew, monkeypatch):
    monkeypatch.setattr(type(judge), "probabilities", lambda self, images: 1 / 0)
    found = inspect(flipped, anew, split="train", judge=judge)
    assert found.judge is not None
    assert "The run trained on these pictures; the judge's readings are out-of-fold." in found.notes
    found = inspect(flipped, anew, judge=judge)
    assert "The run trained on these pictures; the judge's readings are out-of-fold." in found.notes


def test_of_a_mixture_their_number_is_said(flipped, judge, mixed):
    notes = inspect(flipped, mixed, split="train", judge=judge).notes
    assert "The run trained on 700 of these 800 pictures; the judge's readings are out-of-fold there." in notes
    assert not any("out-of-fold." in note for note in inspect(flipped, mixed, judge=judge).notes)


def test_what_a_fold_held_out_it_was_not_trained_on(lettered, judge, tmp_path):
    options = {**QUICK, "validate_every": 1, "checkpoint_every": 1}
    distort = ("translation=0.05",)
    train(
        lettered, out=tmp_path / "fold", epochs=1, fold=Fold(index=0, count=4), no_distort=("all",), distort=distort,
        options=options, quiet=True,
    )  # fmt: skip
    learned = int(opened(tmp_path / "fold", None, "train").trained.sum())
    assert 0 < learned < 800
    notes = inspect(tmp_path / "fold", split="train", judge=judge).notes
    assert f"The run trained on {learned} of these 800 pictures; the judge's readings are out-of-fold there." in notes
    assert not any(note.startswith("The run trained") for note in inspect(tmp_path / "fold", judge=judge).notes)


def test_what_is_not_known_to_have_been_learned_is_not_said_to_be(flipped, lettered):
    """Of a bundle alone, whose pictures may be anybody's, nothing is known; they may be neighbours all the same."""
    subject = opened(flipped / "bundle", lettered, "train")
    assert subject.trained.all() and _of_learned(subject, True) == ""
    assert _of_learned(opened(flipped, None, "train"), True).startswith("The run trained on these pictures")


def test_validation_of_a_fold_is_what_it_held_out(small_dataset, tmp_path):
    options = {"batch": 50, "precision": "fp32"}
    train(small_dataset, epochs=1, out=tmp_path / "run", quiet=True, options=options, fold=Fold(index=0, count=3))
    held = evaluate_run(tmp_path / "run", split="validation")

    def opened(source, split):
        return open_subject(tmp_path / "run", source, split=split, checkpoint=None, device="cpu", model=None).chosen

    for split in ("validation", None):
        assert opened(None, split).name == HELD_OUT and opened(None, split).ids == held.ids
    # Named as a dataset, its splits are what they are everywhere else.
    assert list(opened(small_dataset, "validation").ids) == list(small_dataset.split("validation").ids)
