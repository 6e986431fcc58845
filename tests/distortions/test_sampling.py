"""Exact flips, boxes and the elastic field against other implementations, and samples that no batch can change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import map_coordinates

from deeper import draws
from deeper.distortions import Crop, Elastic, HorizontalFlip, RandomBox, Translation, VerticalFlip, by_name, names
from deeper.distortions.apply import Distorter, distort
from deeper.distortions.sampling import elastic_field, positions


def pictures(count: int, height: int, width: int, channels: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, (count, height, width, channels), np.uint8))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("flip", "axis"), [(HorizontalFlip(), 3), (VerticalFlip(), 2)])
def test_a_flip_alone_is_exact_to_the_bit(flip, axis, channels):
    images = pictures(4, 299, 143, channels)
    flags = np.array([[1.0], [0.0], [1.0], [0.0]])
    plain = distort(images, [], (299, 143))
    result = distort(images, [(flip, flags)], (299, 143))
    assert torch.equal(result[[0, 2]], plain[[0, 2]].flip(axis))
    assert torch.equal(result[[1, 3]], plain[[1, 3]])


def test_both_flips_are_a_half_turn():
    images = pictures(1, 40, 60)
    both = distort(images, [(HorizontalFlip(), np.ones((1, 1))), (VerticalFlip(), np.ones((1, 1)))], (40, 60))
    assert torch.equal(both, distort(images, [], (40, 60)).flip(2, 3))


@pytest.mark.parametrize("box", [Crop(), RandomBox()], ids=lambda one: one.name)
def test_a_box_is_what_pillow_cuts_out(box):
    # Half the picture's size at a quarter from the left, touching the top.
    images = pictures(1, 64, 96, 1)
    ours = distort(images, [(box, np.array([[0.0, -0.5, 0.5, 0.5]]))], (64, 96))[0, 0].numpy()
    pillow = Image.fromarray(images[0, :, :, 0].numpy()).convert("F")
    theirs = np.asarray(pillow.transform((96, 64), Image.Transform.AFFINE, (0.5, 0, 24, 0, 0.5, 0), Image.BILINEAR))
    # Pillow leaves pixels black whose place lies beyond the picture's edge.
    np.testing.assert_allclose(ours[1:] * 255, theirs[1:], atol=0.01)


def test_positions_are_those_of_affine_grid():
    matrices = torch.eye(2, 3) + 0.3 * torch.randn(9, 2, 3, generator=torch.Generator().manual_seed(0))
    wanted = torch.nn.functional.affine_grid(matrices, [9, 1, 31, 44], align_corners=False)
    torch.testing.assert_close(positions(matrices, (31, 44)), wanted, atol=2e-6, rtol=0)


def test_the_elastic_field_is_bicubic_and_pixels_move_by_it():
    parameters = Elastic(deviation=0.03).draw(np.random.default_rng(1).uniform(size=(2, Elastic.uniforms)))
    field = elastic_field(torch.from_numpy(parameters.astype(np.float32)), (30, 41))
    points = torch.from_numpy(parameters.astype(np.float32)).view(2, 2, 7, 7)
    wanted = torch.nn.functional.interpolate(points, (30, 41), mode="bicubic", align_corners=True)
    torch.testing.assert_close(field, 2 * wanted.permute(0, 2, 3, 1), atol=1e-6, rtol=0)

    images = pictures(2, 30, 41, 1)
    ours = distort(images, [(Elastic(), parameters)], (30, 41))[:, 0].numpy() * 255
    rows, columns = np.mgrid[:30, :41].astype(float)
    for number in range(2):
        across, down = wanted[number].numpy()
        places = [rows + down * 30, columns + across * 41]
        theirs = map_coordinates(images[number, :, :, 0].numpy().astype(float), places, order=1, mode="nearest")
        np.testing.assert_allclose(ours[number], theirs, atol=0.02)


def test_sides_that_a_block_does_not_divide_shift_nothing():
    # A store of 65 pixels for an input of 32: a picture that is symmetric stays so.
    ramp = np.abs(np.arange(65) - 32.0) * 7
    images = torch.from_numpy(np.tile(ramp.astype(np.uint8), (65, 1))[None, :, :, None])
    small = distort(images, [], (32, 32))
    torch.testing.assert_close(small, small.flip(3), atol=1e-5, rtol=0)


def test_a_crop_keeps_the_pixels_of_its_part():
    # A quarter of the area of pictures kept at twice the input's size: exactly the pixels that are stored there.
    images = pictures(1, 64, 64)
    quarter = distort(images, [(Crop(), np.array([[-0.5, 0.5, 0.5, 0.5]]))], (32, 32))
    torch.testing.assert_close(quarter[0].permute(1, 2, 0), images[0, 32:, :32] / 255, atol=1e-5, rtol=0)


@pytest.mark.parametrize("store", [200, 288, 400])
def test_crops_of_every_size_are_as_sharp_as_antialiased_ones(store):
    size, count = 96, 24
    draw = np.random.default_rng(store)
    # Noise whose amplitude falls with its frequency, as that of photographs does.
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(store), np.fft.fftfreq(store)))
    frequency[0, 0] = np.inf
    noise = np.fft.ifft2(np.fft.fft2(draw.normal(size=(count, store, store))) / frequency).real
    images = np.clip(127.5 + 40 * noise / noise.std(), 0, 255).astype(np.uint8)
    extent = np.sqrt(draw.uniform(0.15, 1, count))  # of a crop's side
    middle = draw.uniform(-1, 1, (2, count)) * (1 - extent)
    parameters = np.stack([*middle, extent, extent], axis=1)
    ours = distort(torch.from_numpy(images)[..., None], [(Crop(), parameters)], (size, size))[:, 0].numpy()
    errors, sharpness = [], []
    for image, (x, y, wide, high), mine in zip(images, parameters, ours, strict=True):
        box = [(x - wide + 1) / 2, (y - high + 1) / 2, (x + wide + 1) / 2, (y + high + 1) / 2]
        box = [min(max(edge * store, 0), store) for edge in box]
        theirs = Image.fromarray(image.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR, box=box)
        wanted = np.asarray(theirs) / 255
        errors.append(np.square(mine - wanted).mean())
        sharpness.append((np.abs(np.diff(mine)).mean(), np.abs(np.diff(wanted)).mean()))
    ratio = np.sum(sharpness, axis=0)
    # 0.71 to 0.79 and 0.025 to 0.031 where blocks go by the whole pictures' sizes.
    assert 0.88 < ratio[0] / ratio[1] < 1.12
    assert np.sqrt(np.mean(errors)) < 0.02


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize(("side", "channels"), [(28, 1), (230, 3)])
def test_no_batch_and_no_thread_changes_a_sample(name, side, channels):
    # 230 × 230 × 3: larger than what is worked on at a time, and than what torch leaves to one thread.
    count = 5
    images, keys = pictures(count, side, side, channels), draws.keys(str(number) for number in range(count))
    distorter = Distorter([by_name(name)()], seed=1, size=(side, side))
    labels = np.zeros(count, np.int64)
    whole = distorter(images, keys, labels, 0)
    assert whole.is_contiguous(memory_format=torch.channels_last)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(before, 2))
        for chosen in ([3], [4, 1]):
            part = distorter(images[chosen], keys[chosen], labels[chosen], 0)
            assert torch.equal(part, whole[chosen])
    finally:
        torch.set_num_threads(before)


def test_a_plan_for_an_epoch_serves_its_batches():
    images, keys = pictures(8, 24, 24), draws.keys(str(number) for number in range(8))
    labels = np.arange(8) % 3
    distorter = Distorter([by_name(name)() for name in names()], seed=2, size=(24, 24))
    plan = distorter.plan(keys, labels, 4)
    order = np.array([6, 0, 3])
    assert torch.equal(
        distorter.apply(images[order], plan.rows(order)), distorter(images[order], keys[order], labels[order], 4)
    )
    assert torch.equal(distorter.apply(images[2:5], plan.rows(slice(2, 5))), distorter(images, keys, labels, 4)[2:5])


@pytest.mark.parametrize("fill", ["zeros", "border", "reflect"])
@pytest.mark.parametrize("size", [(32, 32), (8, 40), (9, 9)])
def test_an_enlarged_picture_has_no_dark_rim(fill, size) -> None:
    """Its outermost pixels lie outside the centres of the outermost that it was made from."""
    white = torch.full((1, 8, 8, 1), 255, dtype=torch.uint8)
    assert distort(white, (), size, fill).min() > 1 - 1e-6


def test_zeros_lie_outside_an_enlarged_picture_all_the_same() -> None:
    white = torch.full((1, 8, 8, 1), 255, dtype=torch.uint8)
    pixels = distort(white, [(Translation(fraction=0.5), np.array([[0.25, 0.0]]))], (32, 32), "zeros")[0, 0]
    assert set(pixels.unique().tolist()) == {0.0, 1.0} and pixels.mean() == 0.75
