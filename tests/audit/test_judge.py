"""The judge: never reads what it trained on, is kept, made again when damaged, and says when it is weak."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from deeper.audit import cache
from deeper.audit.judge import Judge, judge_for
from deeper.audit.options import JudgeOptions
from deeper.batches import open_pictures
from deeper.errors import DatasetError, UsageError
from deeper.records import BuildOptions, Dataset, build, open_source


@pytest.fixture(scope="module")
def judge(letters: Dataset, quick: JudgeOptions) -> Judge:
    return judge_for(letters, options=quick)


def test_it_reads_well_and_says_how_well(judge: Judge, letters: Dataset) -> None:
    assert judge.out_of_fold.shape == (1600, 8) and judge.out_of_fold.dtype == np.float32
    np.testing.assert_allclose(judge.out_of_fold.sum(1), 1, atol=1e-5)
    labels = letters.split("train").labels
    assert judge.accuracy == (judge.out_of_fold.argmax(1) == labels).mean() > 0.9
    assert judge.interval[0] < judge.accuracy < judge.interval[1]
    assert not judge.weak and "out-of-fold accuracy" in judge.describe() and "weak" not in judge.describe()


def test_its_ways_of_reading_agree(judge: Judge, letters: Dataset) -> None:
    split = letters.split("train")
    images = open_pictures(split, judge.preprocess).take(np.arange(0, 1600, 3))
    again = judge.probabilities_out_of_fold(images, np.arange(0, 1600, 3))
    np.testing.assert_allclose(again, judge.out_of_fold[::3], atol=1e-2)  # bf16 in other batches
    everyone = judge.probabilities(images)
    assert everyone.shape == again.shape and everyone.dtype == np.float32
    # The mean of the folds' readings, one of which is the out-of-fold one.
    other = 2 * everyone - again
    assert (other > -2e-2).all() and (np.abs(other - again) > 1e-3).any()
    features = judge.features(images)
    assert features.shape[0] == 534 and features.dtype == np.float32 and features.std() > 0


def test_wrong_positions_and_pictures(judge: Judge) -> None:
    image = np.zeros((1, 28, 28, 1), np.uint8)
    for positions in ([], [0, 1], [-1], [1600]):
        with pytest.raises(UsageError, match="from 0 to 1599"):
            judge.probabilities_out_of_fold(image, positions)
    with pytest.raises(UsageError, match="the model takes uint8"):
        judge.probabilities(image[:, :20])
    assert judge.probabilities(image[:0]).shape == (0, 8)


def test_it_is_kept_beside_the_dataset(judge: Judge, letters: Dataset, quick: JudgeOptions) -> None:
    heard: list[str] = []
    again = judge_for(Dataset(letters.path), options=quick, notice=heard.append)
    assert again.seconds == 0 and not any("training" in line for line in heard)
    np.testing.assert_array_equal(again.out_of_fold, judge.out_of_fold)
    np.testing.assert_array_equal(again.folds, judge.folds)
    image = np.full((3, 28, 28, 1), 100, np.uint8)
    np.testing.assert_array_equal(again.probabilities(image), judge.probabilities(image))
    assert again.describe() == judge.describe()
    # Judges of other options lie beside it.
    kept = [json.loads(place.read_text()) for place in (letters.path / "judge").glob("*/judge.json")]
    assert (judge.accuracy, list(judge.interval)) in [(facts["accuracy"], facts["interval"]) for facts in kept]


def random_labels(target: Path, count: int = 160) -> Dataset:
    """Pictures whose labels cannot be learned, only learned by heart."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (count, 12, 12), np.uint8)
    labels = [str(one) for one in generator.integers(0, 4, count)]
    build(open_source({"train": (images, labels)}), target, options=BuildOptions(workers=1, validation=0, test=0))
    return Dataset(target)


SOON = JudgeOptions(folds=2, epochs=20)


@pytest.fixture(scope="module")
def judged_noise(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    dataset = random_labels(tmp_path_factory.mktemp("judged") / "noise")
    judge_for(dataset, options=SOON)
    return dataset


def test_it_never_judges_what_it_learned_and_says_that_it_is_weak(judged_noise: Dataset) -> None:
    dataset = judged_noise
    judge = judge_for(dataset, options=SOON)
    assert judge.accuracy < 0.45, "labels at random cannot be known: it has read its own training pictures"
    assert judge.weak and "weak judge" in judge.describe()
    images = open_pictures(dataset.split("train"), judge.preprocess).take(np.arange(160))
    learned = judge.probabilities(images).argmax(1) == dataset.split("train").labels
    assert learned.mean() > 0.7, "or else the check above could not fail"


@pytest.mark.parametrize("how", ["cut", "changed", "emptied", "facts", "other"])
def test_a_damaged_one_is_made_again(judged_noise: Dataset, tmp_path: Path, how: str) -> None:
    dataset = Dataset(shutil.copytree(judged_noise.path, tmp_path / "noise"))
    first = judge_for(dataset, options=SOON)
    assert first.seconds == 0
    place, _ = cache.places(dataset, SOON)
    tensors, facts = place / "judge.safetensors", place / "judge.json"
    data = bytearray(tensors.read_bytes())
    if how == "cut":
        tensors.write_bytes(data[: len(data) // 2])
    elif how == "changed":
        data[-5] ^= 1
        tensors.write_bytes(data)
    elif how == "emptied":
        tensors.unlink()
    elif how == "facts":
        facts.write_text("{")
    else:
        other = JudgeOptions(folds=2, epochs=19)
        judge_for(dataset, options=other)
        shutil.rmtree(place)
        shutil.copytree(cache.places(dataset, other)[0], place)
    heard: list[str] = []
    again = judge_for(dataset, options=SOON, notice=heard.append)
    assert again.seconds > 0 and "is damaged" in heard[0] and "training it again" in heard[0]
    np.testing.assert_array_equal(again.out_of_fold, first.out_of_fold)
    assert judge_for(dataset, options=SOON).seconds == 0


def test_several_networks_of_a_fold_are_averaged_and_kept(judged_noise: Dataset) -> None:
    dataset, options = Dataset(judged_noise.path), JudgeOptions(folds=2, seeds=2, epochs=1)
    judge = judge_for(dataset, options=options)
    assert [len(fold) for fold in judge.networks] == [2, 2] and judge.describe().startswith("4 networks")
    images = open_pictures(dataset.split("train"), judge.preprocess).take(np.flatnonzero(judge.folds == 0))
    apart = [judge._mean([predict], images) for predict in judge._predictors[0]]
    np.testing.assert_allclose(np.mean(apart, axis=0), judge.out_of_fold[judge.folds == 0], atol=1e-2)
    assert np.abs(apart[0] - apart[1]).max() > 0.01
    again = judge_for(dataset, options=options)
    assert again.seconds == 0 and [len(fold) for fold in again.networks] == [2, 2]


def test_where_the_dataset_cannot_be_written_it_goes_to_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPER_CACHE", str(tmp_path / "cache"))
    dataset = random_labels(tmp_path / "noise")
    (dataset.path / "judge").write_text("a file where the folder should be")
    judge_for(dataset, options=SOON)
    assert list((tmp_path / "cache" / "judge").iterdir())
    assert judge_for(dataset, options=SOON).seconds == 0
    assert (dataset.path / "judge").read_text().startswith("a file")


def test_where_nothing_can_be_written_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DEEPER_CACHE", str(tmp_path / "file"))
    dataset = random_labels(tmp_path / "noise")
    (dataset.path / "judge").write_text("")
    heard: list[str] = []
    assert judge_for(dataset, options=SOON, notice=heard.append).seconds > 0
    assert any("not kept" in line for line in heard)


def test_of_a_dataset_that_has_changed_there_is_another(judged_noise: Dataset, tmp_path: Path) -> None:
    other = random_labels(tmp_path / "noise", 170)
    shutil.copytree(judged_noise.path / "judge", other.path / "judge")
    old = other.path / "judge" / cache.key(judged_noise, SOON)
    assert old.is_dir()
    assert judge_for(other, options=SOON).seconds > 0
    assert not old.exists(), "what the dataset was before is forgotten"


def test_progress_and_verify(tmp_path: Path) -> None:
    from deeper.records.verify import verify

    dataset = random_labels(tmp_path / "noise")
    seen: list[tuple[int, int]] = []
    judge_for(dataset, options=SOON, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1] > 0
    assert verify(dataset.path).sound, "a judge in its folder makes a dataset no less sound"


def test_too_little_to_judge_by(tmp_path: Path) -> None:
    images = np.zeros((6, 12, 12), np.uint8)
    options = BuildOptions(workers=1, validation=0, test=0)
    build(open_source({"train": (images, list("aaaaaa"))}), tmp_path / "one", options=options)
    with pytest.raises(DatasetError, match="needs at least two"):
        judge_for(Dataset(tmp_path / "one"))


@pytest.mark.parametrize(
    "given", [{"folds": 1}, {"seeds": 0}, {"epochs": 0.0}, {"size": 11}, {"size": 500}, {"seed": -1}]
)
def test_options_that_cannot_be(given: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"judge: {next(iter(given))} must be"):
        JudgeOptions(**given)  # type: ignore[arg-type]
