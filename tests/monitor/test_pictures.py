"""Sheets, confusion figures and the projector's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeper.monitor import projector
from deeper.monitor.figures import confusion_figure, most_confused
from deeper.monitor.grids import CELL, sheet


def test_small_pictures_are_enlarged_by_whole_factors() -> None:
    picture = np.zeros((28, 28, 1), np.uint8)
    picture[3, 5] = 255
    drawn = sheet([picture], [["7"]])
    white = np.argwhere((drawn[: CELL + 12] == 255).all(axis=2))
    inside = [tuple(at) for at in white if (drawn[at[0], max(0, at[1] - 5) : at[1]] == 0).any()]
    assert inside, "the white pixel is there"
    factor = CELL // 28
    block = (drawn == 255).all(axis=2)
    found = any(
        block[y : y + factor, x : x + factor].all() and not block[y - 1, x] and not block[y, x - 1]
        for y in range(1, CELL)
        for x in range(1, CELL)
    )
    assert found


@pytest.mark.parametrize("shape", [(28, 28, 1), (1, 1, 1), (500, 300, 3), (3, 900, 3)])
def test_pictures_of_any_size_make_a_sheet(shape: tuple[int, int, int]) -> None:
    pictures = np.full((8, *shape), 128, np.uint8)
    drawn = sheet(pictures, [["a very long class name indeed, longer than a cell → ß", "p 0.99"]] * 8, title=["title"])
    assert drawn.dtype == np.uint8 and drawn.shape[2] == 3 and drawn.shape[1] >= 6 * CELL


def test_no_pictures_make_a_sheet_of_the_title() -> None:
    drawn = sheet([], [], title=["every validation picture is right"])
    assert drawn.shape[1] > 200 and drawn.min() < 100


@pytest.mark.parametrize("count", [2, 10, 45, 120])
def test_confusion_figures(count: int) -> None:
    generator = np.random.default_rng(count)
    confusion = np.diag(generator.integers(50, 90, count))
    confusion[0, count - 1] = 30
    figure = confusion_figure(confusion, [f"class number {i}" for i in range(count)], "a title")
    height, width = figure.shape[:2]
    assert figure.dtype == np.uint8 and 300 < height <= 2000 and 400 < width <= 2000
    # The one confusion is the one dark red area.
    red = (figure[:, :, 0] > 80) & (figure[:, :, 0].astype(int) > 2 * figure[:, :, 1].astype(int) + 40)
    assert red.sum() >= 20


def test_a_class_without_pictures_and_a_perfect_matrix_draw() -> None:
    assert confusion_figure(np.zeros((3, 3), np.int64), ["a", "b", "c"]).size
    assert confusion_figure(np.eye(3, dtype=np.int64), ["a", "$b$", "_c^"]).size


def test_most_confused_says_label_answer_count() -> None:
    confusion = np.array([[9, 2, 0], [5, 9, 0], [0, 1, 9]])
    assert most_confused(confusion, ["a", "b", "c"]) == ["b → a (5)", "a → b (2)", "c → b (1)"]


def test_points_are_limited_and_every_class_is_there() -> None:
    labels = np.concatenate([np.zeros(9000, np.int64), np.full(1, 1), np.full(3000, 2), np.full(1, 3)])
    picked = projector.chosen(labels)
    assert len(picked) <= projector.POINTS and len(set(picked.tolist())) == len(picked)
    assert set(labels[picked]) == {0, 1, 2, 3}
    assert np.array_equal(projector.chosen(labels[:10]), np.arange(10))


def test_principal_components_agree_with_a_full_decomposition() -> None:
    generator = np.random.default_rng(0)
    features = (generator.standard_normal((400, 5)) @ generator.standard_normal((5, 200))).astype(np.float32) * 3
    features += generator.standard_normal((400, 200)).astype(np.float32) * 0.1
    points = projector.principal(features)
    singular = np.linalg.svd(features - features.mean(0), compute_uv=False)
    assert points.shape == (400, projector.COMPONENTS)
    assert np.allclose(np.linalg.norm(points[:, :5], axis=0), singular[:5], rtol=1e-3)


@pytest.mark.parametrize(("count", "shape"), [(5, (12, 12, 1)), (2000, (40, 60, 3))])
def test_projector_files_fit_together(tmp_path: Path, count: int, shape: tuple[int, int, int]) -> None:
    generator = np.random.default_rng(0)
    features = generator.standard_normal((count, 70)).astype(np.float32)
    features[0, 0] = np.nan
    pictures = generator.integers(0, 255, (count, *shape), dtype=np.uint8)
    names = [("a\tb", "c\nd", "wrong", f"train/{i}") for i in range(count)]
    for _ in range(2):  # a second writing replaces the first
        projector.write(tmp_path, features, pictures, names)
    vectors = (tmp_path / "projector/vectors.tsv").read_text().splitlines()
    metadata = (tmp_path / "projector/metadata.tsv").read_text().splitlines()
    assert len(vectors) == count == len(metadata) - 1
    assert metadata[1].split("\t") == ["a\\tb", "c\\nd", "wrong", "train/0"]
    assert {len(line.split("\t")) for line in vectors} == {min(projector.COMPONENTS, 70) if count > 50 else 70}
    config = (tmp_path / "projector_config.pbtxt").read_text()
    width, height = [int(line.split(":")[1]) for line in config.splitlines() if "single_image_dim" in line]
    with Image.open(tmp_path / "projector/sprite.png") as sprite:
        pass
    assert sprite.width <= projector.SPRITE and sprite.height <= projector.SPRITE
    columns = sprite.width // width
    assert columns * columns >= count and sprite.height == columns * height
    assert width / height == pytest.approx(shape[1] / shape[0], rel=0.05)
