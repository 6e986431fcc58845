"""What mean and deviation are of: exact where pictures are small, a fair sample where they are large and many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeper import images
from deeper.records import BuildOptions, Dataset, build, sums, writing
from deeper.records.info import Moments
from deeper.records.sums import Sums, moments, sampled
from deeper.records.verify import verify


@pytest.mark.parametrize("shape", [(1, 1, 1), (128, 128, 3), (2, 30_000, 1), (8_000, 2, 3)])
def test_sums_are_exact(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(250, 256, shape, np.uint8)
    found = moments(pixels)
    wide = pixels.reshape(-1, shape[2]).astype(np.int64)
    assert found.pixels == len(wide)
    assert (found.sums, found.squares) == (tuple(wide.sum(axis=0).tolist()), tuple((wide**2).sum(axis=0).tolist()))


@pytest.mark.parametrize("shape", [(1600, 1500, 3), (40, 60_000, 3), (60_000, 40, 3)])
def test_sums_of_a_large_picture_are_near(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    found = moments(pixels)
    assert abs(found.pixels / (shape[0] * shape[1]) - 1) < 0.06
    np.testing.assert_allclose(
        found.mean(), pixels.reshape(-1, 3).mean(axis=0) / 255, rtol=0.015
    )  # of 2^13 pixels or more
    np.testing.assert_allclose(
        found.deviation(), pixels.reshape(-1, 3).std(axis=0) / 255, rtol=0.015
    )  # of 2^13 pixels or more


def test_of_the_rows_of_a_large_picture_those_in_the_middle_are_summed() -> None:
    rows = np.repeat(np.arange(224, dtype=np.uint8)[:, None, None], 224, axis=1)
    found = moments(rows)
    assert found.pixels == 224 * 224 and found.sums[0] / found.pixels == 111.5


def photographs(folder: Path, count: int, side: int = 130, form: str = "jpg") -> list[np.ndarray]:
    """`count` pictures of plain noise around as many levels, and their pixels as they are decoded."""
    random = np.random.default_rng(5)
    decoded = []
    for number in range(count):
        level = random.integers(40, 200, 3)
        pixels = np.clip(random.normal(level, 20, (side, side, 3)), 0, 255).astype(np.uint8)
        path = folder / f"class{number % 2}" / f"{number}.{form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        decoded.append(images.decode(path.read_bytes()))
    return decoded


@pytest.mark.parametrize("workers", [1, 2])
def test_of_many_large_pictures_some_stand_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    decoded = photographs(tmp_path / "source", 60)
    exact = build(tmp_path / "source", tmp_path / "exact", options=BuildOptions(workers=workers, validation=0, test=0))
    monkeypatch.setattr(sums, "_SUMMED_PICTURES", 20)
    some = build(tmp_path / "source", tmp_path / "some", options=BuildOptions(workers=workers, validation=0, test=0))
    assert exact.kept == some.kept == 60
    all_of_them, sample = Dataset(tmp_path / "exact").info, Dataset(tmp_path / "some").info
    np.testing.assert_allclose(all_of_them.mean, np.mean(decoded, axis=(0, 1, 2)) / 255, rtol=1e-3)
    # Sixty levels of deviation 46, a third of them: within three deviations of their mean.
    assert 0 < np.abs(np.subtract(sample.mean, all_of_them.mean)).max() < 3 * 46 / 255 * np.sqrt((1 - 1 / 3) / 20)
    assert sample.moments.pixels == all_of_them.moments.pixels
    # Everything else is the same, and nothing is wrong with it.
    assert sample.splits == all_of_them.splits and sample.sizes == all_of_them.sizes
    assert not verify(tmp_path / "some").problems


@pytest.mark.parametrize("workers", [1, 2])
def test_the_sample_is_one_in_so_many_of_the_stored_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Over several chunks, in each of which the counting goes on."""
    photographs(tmp_path / "source", 100)
    monkeypatch.setattr(sums, "_SUMMED_PICTURES", 33)
    monkeypatch.setattr(writing, "_CHUNK_FILES", 7)
    build(tmp_path / "source", tmp_path / "made", options=BuildOptions(workers=workers, validation=0, test=0))
    dataset = Dataset(tmp_path / "made")
    stored = [moments(dataset.split("train").picture(position)) for position in range(100)]
    assert dataset.info.mean == pytest.approx(sums.sum_moments(stored[::3]).mean(), abs=1e-6)
    assert dataset.info.mean != pytest.approx(sums.sum_moments(stored).mean(), abs=1e-6)


@pytest.mark.parametrize("workers", [1, 2])
def test_few_large_pictures_among_many_small_ones_are_sampled_by_their_own_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """One in so many of all would leave one or two to stand for the others."""
    small = photographs(tmp_path / "source", 80, side=16, form="png")
    large = photographs(tmp_path / "source", 9)
    monkeypatch.setattr(sums, "_SUMMED_PICTURES", 10)
    build(tmp_path / "source", tmp_path / "made", options=BuildOptions(workers=workers, validation=0, test=0))
    info = Dataset(tmp_path / "made").info
    exact = sums.sum_moments([moments(pixels) for pixels in (*small, *large)])
    assert info.moments == exact
    assert not verify(tmp_path / "made").problems


def test_the_sample_does_not_depend_on_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photographs(tmp_path / "source", 90)
    monkeypatch.setattr(sums, "_SUMMED_PICTURES", 10)
    for workers in (1, 2, 3):
        build(tmp_path / "source", tmp_path / str(workers), options=BuildOptions(workers=workers))
    one, two, three = ((tmp_path / str(workers) / "dataset.json").read_bytes() for workers in (1, 2, 3))
    assert one == two == three


def test_small_pictures_are_all_summed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = photographs(tmp_path / "source", 30, side=20, form="png")
    monkeypatch.setattr(sums, "_SUMMED_PICTURES", 5)
    build(tmp_path / "source", tmp_path / "made", options=BuildOptions(validation=0, test=0))
    np.testing.assert_allclose(Dataset(tmp_path / "made").info.mean, np.mean(decoded, axis=(0, 1, 2)) / 255, rtol=1e-12)


def test_where_the_whole_sample_is_rejected_others_are_summed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = photographs(tmp_path / "source", 12)
    monkeypatch.setattr(sums, "_SUMMED_PICTURES", 2)  # the first and the seventh in the stored order
    build(tmp_path / "source", tmp_path / "before", options=BuildOptions(validation=0, test=0))
    split = Dataset(tmp_path / "before").split("train")
    for number in (0, 6):
        path = tmp_path / "source" / split.facts[number].id
        path.write_bytes(path.read_bytes()[:-200])
    report = build(tmp_path / "source", tmp_path / "after", options=BuildOptions(validation=0, test=0))
    assert (report.kept, report.rejected) == (10, 2)
    info, left = Dataset(tmp_path / "after").info, Dataset(tmp_path / "after").split("train")
    assert info.mean == pytest.approx(
        sums.sum_moments([moments(left.picture(number)) for number in (0, 5)]).mean(), abs=1e-6
    )
    assert info.moments.pixels == sum(moments(pixels).pixels for pixels in decoded[:10])


def test_large_and_small_count_by_their_pixels() -> None:
    grey, colour = np.full((10, 10, 1), 100, np.uint8), np.full((200, 100, 3), 40, np.uint8)
    total = Sums()
    total.count(10, 10, grey)
    for number in range(4):
        other = Sums()
        other.count(200, 100, None if number else colour)
        total.join(other)
    counted = moments(colour).pixels
    whole = total.moments(3)
    assert whole.pixels == 100 + 4 * counted
    assert whole.sums == (100 * 100 + 4 * counted * 40,) * 3
    assert whole.squares == (100 * 100**2 + 4 * counted * 40**2,) * 3
    assert (total.summed, total.unsummed) == (1, 3)


def test_too_few_stand_for_the_others() -> None:
    few, enough = Sums(summed=1, unsummed=3), Sums(summed=2, unsummed=2)
    assert few.lacking and not enough.lacking
    many, half = Sums(summed=511, unsummed=90_000), Sums(summed=512, unsummed=90_000)
    assert many.lacking and not half.lacking
    assert not Sums(summed=1).lacking and not Sums().lacking


def test_nothing_is_none() -> None:
    assert Sums().moments(3) == Moments.none(3)
    assert [sampled(pictures) for pictures in (0, 1, 2_047, 2_048, 10_240)] == [1, 1, 1, 2, 10]
