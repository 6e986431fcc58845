from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from deeper import draws
from deeper.distortions import (
    ClassRule,
    Crop,
    Elastic,
    Erasing,
    GuideColour,
    HorizontalFlip,
    Noise,
    Policy,
    RandomBox,
    Rotation,
    Translation,
    by_name,
    flipping,
    names,
    parse,
)
from deeper.distortions.apply import Distorter, as_bytes, distort
from deeper.errors import UsageError
from deeper.values import from_plain, to_plain

EVERY = [by_name(name)() for name in names()]


def some(count: int = 12, side: int = 24, channels: int = 3) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, channels), np.uint8)
    return torch.from_numpy(images), draws.keys(f"picture-{number}" for number in range(count)), np.arange(count) % 3


@pytest.mark.parametrize("distortion", EVERY, ids=lambda one: one.name)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_sample_depends_on_seed_epoch_and_id_alone(distortion, channels):
    images, keys, labels = some(channels=channels)
    distorter = Distorter([distortion], seed=3, size=(24, 24))
    whole = distorter(images, keys, labels, 5)
    order = np.array([7, 2, 11])
    part = distorter(images[order], keys[order], labels[order], 5)
    assert torch.equal(part, whole[order])
    assert whole.min() >= 0 and whole.max() <= 1


@pytest.mark.parametrize(
    "distortion", [one for one in EVERY if one.name not in ("saturation", "hue")], ids=lambda one: one.name
)
def test_another_epoch_or_seed_draws_anew(distortion):
    images, keys, labels = some(count=40)
    first = Distorter([distortion], seed=3, size=(24, 24))
    second = Distorter([distortion], seed=4, size=(24, 24))
    assert not torch.equal(first(images, keys, labels, 0), first(images, keys, labels, 1))
    assert not torch.equal(first(images, keys, labels, 0), second(images, keys, labels, 0))


def test_nothing_in_the_list_changes_nothing():
    images, keys, labels = some()
    result = Distorter([], seed=0, size=(24, 24))(images, keys, labels, 0)
    assert torch.equal(result, images.permute(0, 3, 1, 2).float().mul(1 / 255))


def test_all_together_keep_shape_and_range():
    images, keys, labels = some(side=40)
    result = Distorter(EVERY, seed=0, size=(32, 28))(images, keys, labels, 0)
    assert result.shape == (12, 3, 32, 28)
    assert torch.isfinite(result).all() and result.min() >= 0 and result.max() <= 1


def test_a_policy_leaves_its_classes_alone():
    images, keys, labels = some(count=60)
    policy = Policy(classes={"two": ClassRule(never=("horizontal_flip",))})
    classes = ("zero", "one", "two")
    distorter = Distorter([HorizontalFlip(probability=1.0)], seed=0, size=(24, 24), policy=policy, classes=classes)
    plain = images.permute(0, 3, 1, 2).float() / 255
    result = distorter(images, keys, labels, 0)
    for row, label in enumerate(labels):
        wanted = plain[row] if label == 2 else plain[row].flip(2)
        torch.testing.assert_close(result[row], wanted, atol=1e-5, rtol=0)


def test_a_policy_survives_its_file_and_refuses_typos(tmp_path):
    policy = Policy(classes={"a b": ClassRule(never=("horizontal_flip", "rotation"))})
    policy.save(tmp_path / "policy.toml")
    assert Policy.load(tmp_path / "policy.toml") == policy
    with pytest.raises(UsageError, match="class 'a b'; did you mean 'ab'"):
        policy.check(["ab"], names())
    with pytest.raises(UsageError, match="did you mean 'rotation'"):
        Policy(classes={"x": ClassRule(never=("rotatoin",))}).check(["x"], names())
    (tmp_path / "bad.toml").write_text("classes = [")
    with pytest.raises(UsageError, match="no TOML"):
        Policy.load(tmp_path / "bad.toml")


@pytest.mark.parametrize("distortion", EVERY, ids=lambda one: one.name)
def test_values_survive_being_stored_and_describe_themselves(distortion):
    assert from_plain(type(distortion), to_plain(distortion)) == distortion
    assert len(distortion.describe()) > 3


def test_parse():
    assert parse("rotation=15") == Rotation(degrees=15)
    assert parse("crop=0.3:0.9").area_low == 0.3
    assert parse("horizontal_flip") == HorizontalFlip()
    with pytest.raises(UsageError, match="did you mean 'horizontal_flip'"):
        parse("horizontl_flip")
    with pytest.raises(UsageError, match="takes degrees"):
        parse("rotation=1:2")
    with pytest.raises(UsageError, match="wanted numbers"):
        parse("rotation=much")
    with pytest.raises(UsageError, match="degrees must be in"):
        parse("rotation=400")


def test_what_can_turn_one_class_into_another_is_named():
    assert flipping([HorizontalFlip(), Rotation(degrees=10), Rotation(degrees=90)]) == ["horizontal_flip", "rotation"]


def test_crops_stay_inside_and_keep_their_areas():
    uniforms = np.random.default_rng(0).uniform(size=(4000, Crop.uniforms))
    x, y, width, height = Crop(area_low=0.4, area_high=0.8).draw(uniforms).T
    assert (np.abs(x) + width <= 1 + 1e-12).all() and (np.abs(y) + height <= 1 + 1e-12).all()
    area = width * height
    assert area.max() <= 0.8 + 1e-9 and abs(np.mean(area) - 0.6) < 0.02


def test_the_guides_box_keeps_its_constants():
    uniforms = np.random.default_rng(0).uniform(size=(4000, RandomBox.uniforms))
    x, y, width, height = RandomBox().draw(uniforms).T
    assert (np.abs(x) + width <= 1 + 1e-12).all() and (np.abs(y) + height <= 1 + 1e-12).all()
    area, aspect = width * height, width / height
    assert area.min() >= 0.1 and area.max() <= 1
    assert aspect.min() >= 0.75 - 1e-9 and aspect.max() <= 1.33 + 1e-9
    assert np.mean(area) > 0.25


@pytest.mark.parametrize("noise", [False, True])
def test_erasing_fills_as_much_as_it_says(noise):
    images, keys, labels = some(count=200, side=50)
    erasing = Erasing(probability=1.0, area_low=0.1, area_high=0.1, noise=noise)
    result = Distorter([erasing], seed=0, size=(50, 50))(images, keys, labels, 0)
    plain = images.permute(0, 3, 1, 2).float() / 255
    changed = ((result - plain).abs() > 1e-6).any(1).float().mean((1, 2))
    assert changed.min() > 0.08 and changed.max() < 0.12  # whole pixels round it
    assert abs(changed.mean() - 0.1) < 0.003
    whole = Erasing(probability=1.0, area_low=1.0, area_high=1.0, noise=noise)
    filled = Distorter([whole], seed=0, size=(50, 50))(images, keys, labels, 0)
    assert (filled.std((2, 3)) > 0.15).all() if noise else filled.std((2, 3)).max() < 1e-6


def test_noise_is_nearly_normal():
    grey = torch.full((64, 40, 40, 1), 128, dtype=torch.uint8)
    keys = draws.keys(f"n{number}" for number in range(64))
    result = (
        Distorter([Noise(deviation=0.05)], seed=0, size=(40, 40))(grey, keys, np.zeros(64, np.int64), 0) - 128 / 255
    )
    assert abs(float(result.mean())) < 5e-4
    assert abs(float(result.std()) - 0.05) < 5e-4
    assert abs(float((result.abs() > 0.1).float().mean()) - 0.0455) < 0.006
    rows = result.flatten(1).numpy()
    assert abs(np.corrcoef(rows)[np.triu_indices(64, 1)]).max() < 0.15


def test_elastic_moves_smoothly_and_about_as_far_as_it_says():
    uniforms = np.random.default_rng(0).uniform(size=(500, Elastic.uniforms))
    parameters = Elastic(deviation=0.02).draw(uniforms)
    assert parameters.shape == (500, 98)
    assert abs(parameters.std() - 0.02) < 5e-4 and abs(parameters.mean()) < 5e-4


def test_outside_is_what_fill_says():
    white = torch.full((1, 20, 20, 1), 255, dtype=torch.uint8)
    from deeper.distortions.apply import distort

    moved = [(Translation(fraction=0.5), np.array([[0.5, 0.0]]))]
    assert distort(white, moved, (20, 20), "zeros")[0, 0, :, :8].max() == 0
    assert distort(white, moved, (20, 20), "border").min() > 0.99


def test_values_need_no_torch():
    code = "import sys, deeper.distortions; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_guides_colour_is_one_of_its_two_orders():
    _, keys, labels = some(count=30)
    distorter = Distorter([GuideColour()], seed=1, size=(24, 24))
    orders = distorter.parameters(GuideColour(), keys, labels, 0)[:, 0]
    assert set(orders) == {0.0, 1.0}


@pytest.mark.parametrize(
    "text",
    [
        "rotation=0", "rotation=181", "rotation=nan", "rotation=inf", "rotation=", "scale=1.1:0.9", "scale=0:1",
        "shear=90", "translation=2", "horizontal_flip=0", "vertical_flip=1.5", "quarter_turns=1", "crop=0:1",
        "crop=0.5:2", "crop=0.5:1:0.75:inf", "random_box=0.75:1.33:0.5:0.4", "random_box=0.75:1.33:0.05:0.08",
        "brightness=2", "contrast=0:1", "contrast=1:inf", "saturation=-1:1", "hue=0.6", "guide_colour=2",
        "guide_colour=0.1:2:1", "erasing=0.5:0.3:0.2", "elastic=1", "noise=0", "noise=0.1:0.2",
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_by_name(text):
    with pytest.raises(UsageError, match=text.partition("=")[0]):
        parse(text)


@pytest.mark.parametrize("name", names())
def test_every_name_parses_alone_and_with_the_values_it_describes(name):
    assert parse(name) == by_name(name)()


def test_bytes_come_back_as_they_were():
    images, _, _ = some()
    assert np.array_equal(as_bytes(distort(images, (), (24, 24))), images.numpy())
    assert as_bytes(torch.tensor([-0.5, 0.4999, 1.2]).view(1, 1, 1, 3)).reshape(-1).tolist() == [0, 127, 255]
