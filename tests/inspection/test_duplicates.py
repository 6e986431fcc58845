"""The same picture found again, whatever its size and file format; different ones left alone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from deeper.images.perceptual_hash import hamming, hashes, perceptual_hash, thumbnail
from deeper.inspection import duplicates
from deeper.inspection.duplicates import (
    Group,
    Pair,
    Prints,
    across_splits,
    confirmed,
    fingerprints,
    groups,
    same_pictures,
)
from deeper.records import BuildOptions, Dataset, build, open_source


def scene(seed: int, size: int = 160) -> Image.Image:
    """Something like a photograph: smooth shapes of random colours."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def test_copies_in_another_size_quality_and_format_are_found(tmp_path: Path) -> None:
    for number in range(30):
        place = tmp_path / "source" / "train" / f"c{number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        scene(number).save(place / f"{number:02}.png")
    place = tmp_path / "source" / "test" / "c0"
    place.mkdir(parents=True)
    scene(3).save(place / "jpeg.jpg", quality=60)
    scene(4).resize((90, 90), Image.Resampling.LANCZOS).save(place / "smaller.png")
    scene(5).save(place / "copy.png")
    scene(99).save(place / "other.png")
    build(open_source(tmp_path / "source"), tmp_path / "out", options=BuildOptions(workers=1, validation=0))
    dataset = Dataset(tmp_path / "out")
    splits = [dataset.split("train"), dataset.split("test")]
    ids = [identifier for split in splits for identifier in split.ids]
    found = confirmed(same_pictures(fingerprints(splits)), splits)
    pairs = {(ids[one.first], ids[one.second]) for one in found}
    assert pairs == {
        ("train/c0/03.png", "test/c0/jpeg.jpg"),
        ("train/c1/04.png", "test/c0/smaller.png"),
        ("train/c2/05.png", "test/c0/copy.png"),
    }


def test_colour_and_a_scratch_make_another_picture(tmp_path: Path) -> None:
    """Two buttons of equal brightness, two parts before the same camera: alike in a grey thumbnail, and no copies."""
    shape = np.zeros((120, 120, 3), np.uint8)
    shape[20:100, 30:90] = 1
    grey = np.asarray(scene(7, 120))[..., 1]
    red, green = np.zeros((2, 120, 120, 3), np.uint8)
    red[..., 0], green[..., 1] = 200 * shape[..., 0] + 20, 102 * shape[..., 0] + 10
    part = np.repeat(grey[..., None], 3, axis=2)
    scratched = part.copy()
    scratched[60:68, 40:48] = 128
    place = tmp_path / "source"
    for name, pixels in {"a/red": red, "b/green": green, "a/ok": part, "b/defect": scratched, "b/copy": part}.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{name}.png")
    build(open_source(place), tmp_path / "out", options=BuildOptions(workers=1, validation=0, test=0))
    split = Dataset(tmp_path / "out").split("train")
    pairs = same_pictures(fingerprints([split]))
    named = {tuple(sorted((split.ids[one.first], split.ids[one.second]))) for one in pairs}
    assert {("a/red.png", "b/green.png"), ("a/ok.png", "b/defect.png")} <= named, "or they test nothing"
    kept = {tuple(sorted((split.ids[one.first], split.ids[one.second]))) for one in confirmed(pairs, [split])}
    assert kept == {("a/ok.png", "b/copy.png")}


def test_candidates_are_exactly_the_near_pairs() -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(0, 1 << 63, 400, np.uint64)
    # Some that differ in 0 to 8 bits.
    for place in range(100):
        flips = generator.choice(63, generator.integers(0, 9), replace=False)
        values[200 + place] = values[place] ^ np.bitwise_or.reduce(np.uint64(1) << flips.astype(np.uint64), initial=0)
    found = [tuple(sorted(pair)) for left, right in duplicates._near(values) for pair in zip(left, right)]
    table = hamming(values[:, None], values[None, :])
    wanted = {(int(a), int(b)) for a, b in zip(*np.nonzero(table <= duplicates.RADIUS)) if a < b}
    assert len(wanted) > 30 and set(found) == wanted and len(found) == len(wanted)


def test_a_thousand_copies_are_a_thousand_pairs() -> None:
    thumbnails = np.zeros((1000, 32, 32), np.uint8)
    thumbnails[500:] = 255
    pairs = same_pictures(Prints(hashes(thumbnails), thumbnails))
    assert len(pairs) == 998 and {one.first for one in pairs} == {0, 500}


def test_a_copy_that_the_hash_misses_is_found_among_the_nearest() -> None:
    """Skies, saved again as JPEG: where there are no edges, the hash is of the noise."""
    pictures, copies = [], []
    for number in range(60):
        corners = np.random.default_rng(number).integers(60, 200, (2, 2, 3), np.uint8)
        sky = Image.fromarray(corners).resize((160, 160), Image.Resampling.BILINEAR)
        data = io.BytesIO()
        sky.save(data, "JPEG", quality=50)
        pictures.append(np.asarray(sky))
        copies.append(np.asarray(Image.open(data).convert("RGB")))
    others = [np.asarray(scene(number)) for number in range(40)]
    # Train: skies and scenes. Test: the first thirty skies again, and other scenes.
    everything = [*pictures, *others[:20], *copies[:30], *others[20:]]
    owners = np.repeat([0, 1], [80, 50])
    thumbnails = np.stack([thumbnail(one) for one in everything])
    prints = Prints(hashes(thumbnails), thumbnails)
    # As a network would see them: by their colours, blurred.
    features = np.stack([one[::20, ::20].astype(np.float32).ravel() / 50 for one in everything])
    wanted = {(number, 80 + number) for number in range(30)}
    by_hash = {(one.first, one.second) for one in same_pictures(prints)} & wanted
    found = {(one.first, one.second) for one in across_splits(prints, features, owners)}
    assert len(by_hash) < 15 and len(found & wanted) >= 25
    assert all(first < 80 <= second for first, second in found)
    same = [one.likeness >= duplicates.SAME for one in across_splits(prints, features, owners)]
    assert all(same)


def test_pairs_are_joined_into_groups() -> None:
    pairs = [Pair(0, 3, 1.0), Pair(0, 5, 0.996), Pair(1, 2, 0.999), Pair(5, 6, 0.998)]
    assert groups(pairs) == [Group([0, 3, 5, 6], [1.0, 1.0, 0.998, 0.998]), Group([1, 2], [0.999, 0.999])]
    chain = [Pair(place, place + 1, 1.0) for place in range(5000)]
    assert len(groups(chain)) == 1 and groups([]) == []


def test_digits_without_copies_have_none(data: Path, monkeypatch) -> None:
    monkeypatch.setenv("DEEPER_DATA", str(data))
    items = open_source("mnist").items[:4000]
    thumbnails = np.stack([thumbnail(np.asarray(item.array).reshape(28, 28, 1)) for item in items])
    assert same_pictures(Prints(hashes(thumbnails), thumbnails)) == []


def test_hashes_of_many_are_those_of_each() -> None:
    pictures = [np.asarray(scene(number)) for number in range(20)]
    many = hashes(np.stack([thumbnail(one) for one in pictures]))
    assert many.tolist() == [perceptual_hash(one) for one in pictures]
