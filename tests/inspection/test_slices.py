"""Parts of the pictures that are read worse."""

from __future__ import annotations

import numpy as np
import pytest

from deeper.inspection.slices import find_slices

COUNT, CLASSES = 900, ("daisy", "rose", "test", "tulip")


def slices(right=None, labels=None, ids=None, areas=None, brightness=None):
    everything = {
        "right": np.random.default_rng(0).random(COUNT) < 0.95 if right is None else right,
        "labels": np.arange(COUNT) % 3 if labels is None else labels,
        "ids": [f"array:{number:06d}" for number in range(COUNT)] if ids is None else ids,
        "areas": np.full(COUNT, 784) if areas is None else areas,
        "brightness": np.full(COUNT, 0.5) if brightness is None else brightness,
        "classes": CLASSES,
    }
    return find_slices(**everything)


def test_pictures_that_are_all_alike_have_no_slices():
    assert slices() == ()


def test_dark_pictures_that_are_read_worse_are_found():
    generator = np.random.default_rng(1)
    brightness = generator.random(COUNT)
    right = generator.random(COUNT) < np.where(brightness < 1 / 3, 0.8, 0.97)
    first, *others = slices(right=right, brightness=brightness)
    assert first.name == "darkest third" and first.worse and first.accuracy < first.rest_accuracy
    assert first.interval[0] < first.accuracy < first.interval[1]
    assert not any(one.worse for one in others)


@pytest.mark.parametrize(
    ("odd", "share", "name"),
    [
        (100, 0.2, "smallest third"),
        (9000, 0.2, "largest third"),
        (100, 0.5, "smallest third"),
        (9000, 0.5, "largest third"),
    ],
)
def test_the_few_pictures_of_another_size_are_a_slice(odd, share, name):
    """Equal sizes, as one camera makes them, and some that were reduced or are larger: all of those are misread."""
    other = np.arange(COUNT) % 10 < 10 * share
    first, *_ = slices(right=~other, areas=np.where(other, odd, 784))
    assert first.name == name and first.worse and first.accuracy == 0 and first.pictures == other.sum()


def test_folders_are_told_apart_unless_they_are_the_classes():
    generator = np.random.default_rng(2)
    folders = generator.integers(0, 4, COUNT)
    right = generator.random(COUNT) < np.where(folders == 2, 0.75, 0.97)
    ids = [f"camera-{folder}/{number}.png" for number, folder in enumerate(folders)]
    found = slices(right=right, ids=ids)
    assert found[0].name == "folder camera-2" and found[0].worse
    assert slices(right=right, ids=ids, labels=folders) == ()


@pytest.mark.parametrize("pattern", ["{name}/cam{folder}/{number}.png", "train/{name}/cam{folder}/{number}.png"])
def test_folders_below_the_classes_are_told_apart_across_classes_and_splits(pattern):
    generator = np.random.default_rng(2)
    folders, labels = generator.integers(0, 4, COUNT), np.arange(COUNT) % 4
    right = generator.random(COUNT) < np.where(folders == 2, 0.75, 0.97)
    ids = [
        pattern.format(name=CLASSES[label], folder=folder, number=number)
        for number, (label, folder) in enumerate(zip(labels, folders, strict=True))
    ]
    found = slices(right=right, ids=ids, labels=labels)
    assert {one.name for one in found} == {f"folder cam{folder}" for folder in range(4)}
    assert found[0].name == "folder cam2" and found[0].worse
    # Classes and splits alone are no folders of their own.
    assert slices(right=right, ids=[one.replace(f"/cam{f}", "") for one, f in zip(ids, folders)], labels=labels) == ()


def test_chance_seldom_accuses():
    generator = np.random.default_rng(3)
    accused = 0
    for _ in range(100):
        found = slices(
            right=generator.random(COUNT) < 0.9,
            brightness=generator.random(COUNT),
            areas=generator.integers(100, 10_000, COUNT),
        )
        accused += any(one.worse for one in found)
    assert accused <= 9
