"""Inspection as a whole: the planted truth, what is written, bad input."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deeper.distortions import Policy
from deeper.errors import BundleError, StorageError, UsageError
from deeper.evaluation import Evaluation
from deeper.inspection import inspect, inspecting, to_plain, write
from deeper.inspection.inspecting import _beside
from deeper.inspection.report.page import document
from deeper.inspection.subject import open_subject
from deeper.records import BuildOptions, build, open_source
from deeper.records.corrections import Corrections, Decision
from deeper.runs import Fold, train
from tests.inspection.conftest import QUICK
from tests.inspection.glyphs import letters


@pytest.fixture(scope="module")
def found(flipped, judge, tmp_path_factory):
    return inspect(flipped, judge=judge, out=tmp_path_factory.mktemp("out"))


def test_the_planted_flip_is_first_and_accused(found):
    first, second = found.evidence
    assert (first.distortion, first.accused) == ("horizontal_flip", True)
    assert (second.distortion, second.accused) == ("translation", False)
    assert first.collided >= 1.5 * first.placebo_collided
    assert first.collided_interval[0] * first.errors > first.placebo_collided
    assert len(first.placebos) >= 3 and all(one.tries == first.tries == 1 for one in first.placebos)
    assert len(second.placebos) >= 3 and all(one.tries == second.tries for one in second.placebos)
    assert {(pair.label, pair.predicted) for pair in first.pairs if pair.significant} & {
        ("b", "d"),
        ("d", "b"),
        ("p", "q"),
        ("q", "p"),
    }


def test_the_verdict_is_a_sentence_with_counts_and_never_says_explains(found):
    assert "errors look like the predicted class once flipped left to right" in found.verdict
    assert "placebos" in found.verdict and "policy.toml" in found.verdict
    assert "explains" not in json.dumps(to_plain(found))
    assert not found.diagnosis_only and "diagnosis" not in found.verdict


def test_the_policy_keeps_the_flip_from_the_letters_that_it_turns_into_others(found):
    policy = Policy.load(found.policy_path)
    assert policy == found.policy
    never = {name for name, rule in policy.classes.items() if "horizontal_flip" in rule.never}
    assert {"b", "d", "p", "q"} <= never and "x" not in never


def test_evidence_is_shown(found):
    for one in found.evidence[0].collisions:
        assert one.undone == "mirrored left to right"
        assert np.array_equal(one.transformed, one.picture[:, ::-1])
        assert np.array_equal(one.distorted, one.neighbour[:, ::-1])
        assert one.neighbour_id.startswith("train/")
    assert len(found.wrong) == found.evaluation.total - found.evaluation.correct
    surest = [one.probability for one in found.wrong]
    assert surest == sorted(surest, reverse=True)
    by_flip = [one for one in found.wrong if "horizontal_flip" in one.collided_by]
    assert len(by_flip) == found.evidence[0].collided and all(one.judge_right for one in by_flip)


def test_it_is_written_and_written_again(found, tmp_path):
    for _ in range(2):
        write(found, tmp_path / "out")
        plain = json.loads((tmp_path / "out" / "inspection.json").read_text())
        assert [one["distortion"] for one in plain["verdicts"]] == ["horizontal_flip", "translation"]
        shown = plain["verdicts"][0]["collisions"][0]["pictures"]
        assert set(shown) == {"picture", "transformed", "neighbour", "distorted"}
        for name in shown.values():
            with Image.open(tmp_path / "out" / name) as image:
                assert image.size == (20, 20)
                assert not image.getexif()
    keys = {
        "distortion",
        "errors",
        "collided",
        "collided_interval",
        "placebo_collided",
        "rescued",
        "p_value",
        "cause",
        "verdict",
    }
    assert all(keys <= set(one) for one in plain["verdicts"])


def test_nothing_of_others_is_replaced(found, tmp_path):
    (tmp_path / "mine" / "pictures").mkdir(parents=True)
    (tmp_path / "mine" / "pictures" / "holiday.jpg").write_bytes(b"!")
    with pytest.raises(StorageError, match="of no inspection"):
        write(found, tmp_path / "mine")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="is a file"):
        write(found, tmp_path / "file")
    assert (tmp_path / "mine" / "pictures" / "holiday.jpg").exists()


@pytest.mark.parametrize("name", ["policy.toml", "report.html"])
def test_a_policy_or_report_of_somebody_else_is_refused_before_any_work(name, tmp_path):
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / name).write_text("mine")
    # There is not even a run.
    with pytest.raises(StorageError, match=rf"holds {name}, which is of no inspection") as refused:
        inspect(tmp_path / "nowhere", out=tmp_path / "audit")
    assert "\n" not in str(refused.value)
    assert [path.name for path in (tmp_path / "audit").iterdir()] == [name]
    assert (tmp_path / "audit" / name).read_text() == "mine"


def test_the_policy_of_an_earlier_inspection_goes_when_nothing_is_accused(found, tmp_path):
    write(found, tmp_path / "out")
    assert (tmp_path / "out" / "policy.toml").is_file()
    plain = json.loads((tmp_path / "out" / "inspection.json").read_text())
    assert plain["policy_path"] == str(tmp_path / "out" / "policy.toml")
    write(replace(found, policy=None), tmp_path / "out")
    assert not (tmp_path / "out" / "policy.toml").exists()
    assert json.loads((tmp_path / "out" / "inspection.json").read_text())["policy_path"] is None


def test_names_that_are_no_text_are_written(found, tmp_path):
    odd = replace(found.wrong[0], id="b\udcff/1.png", label="\udc80")
    write(replace(found, wrong=(odd, *found.wrong[1:])), tmp_path / "out")
    plain = json.loads((tmp_path / "out" / "inspection.json").read_text("utf-8"))
    assert (plain["errors"][0]["id"], plain["errors"][0]["label"]) == ("b\udcff/1.png", "\udc80")


def test_the_same_again_is_the_same(found, flipped, judge):
    again, before = to_plain(inspect(flipped, judge=judge)), to_plain(found)
    for one in (again, before):
        del one["seconds"], one["policy_path"], one["verdict"], one["judge"]["seconds"]
        for verdict in one["verdicts"]:
            del verdict["verdict"]
    assert again == before


def test_test_pictures_are_for_diagnosis_and_choose_nothing(flipped, judge, tmp_path):
    found = inspect(flipped, split="test", judge=judge, out=tmp_path / "out")
    assert found.diagnosis_only and "choosing by this spends the test set" in found.verdict
    assert found.evidence[0].accused and found.policy is None and found.policy_path is None
    assert not (tmp_path / "out" / "policy.toml").exists() and (tmp_path / "out" / "inspection.json").is_file()
    assert "--policy" not in found.verdict
    # The classes are named, and where to decide.
    assert "It harms b, d, " in found.verdict
    assert f"`deeper inspect {flipped}`" in found.verdict and "`deeper audit DATASET`" in found.verdict


def untrained(*arguments, **named):
    raise AssertionError("there was nothing to ask: no judge was needed")


def test_no_judge_is_trained_where_there_is_nothing_to_ask(lettered, monkeypatch, tmp_path):
    monkeypatch.setattr(inspecting, "judge_for", untrained)
    options = {**QUICK, "validate_every": 1, "checkpoint_every": 1}
    train(lettered, out=tmp_path / "plain", epochs=1, no_distort=("all",), options=options, quiet=True)
    found = inspect(tmp_path / "plain", out=tmp_path / "out")
    assert found.wrong and found.judge is None and found.evidence == ()
    assert "without distortions" in found.verdict
    assert any("No judge was asked: the run was trained without distortions" in note for note in found.notes)
    assert json.loads((tmp_path / "out" / "inspection.json").read_text())["judge"] is None
    assert "None was asked." in document(found)


def test_no_errors_need_no_judge_and_no_ablation(flipped, lettered, monkeypatch, tmp_path):
    monkeypatch.setattr(inspecting, "judge_for", untrained)
    monkeypatch.setattr(inspecting, "causes", untrained)
    answers = open_subject(flipped, None, split="train", checkpoint=None, device="auto", model=None).evaluated()
    split = lettered.split("train")
    right = np.flatnonzero(answers.right)[:16]
    pictures = np.stack([split.picture(int(row)) for row in right])
    names = [lettered.classes[split.labels[row]] for row in right]
    arrays = dict.fromkeys(("train", "validation"), (pictures, names))
    build(open_source(arrays), tmp_path / "easy", options=BuildOptions(workers=1, missing_class="warn"))
    found = inspect(flipped, tmp_path / "easy", ablate=("horizontal_flip",))
    assert found.wrong == () and found.judge is None and found.verdict == "No errors: nothing to explain."
    assert any("No run was trained for --ablate" in note for note in found.notes)
    assert "None. With so many right answers" in document(found)


def test_a_dataset_that_can_have_no_judge_ends_in_a_report(flipped, lettered, monkeypatch, tmp_path):
    monkeypatch.setattr(inspecting, "judge_for", untrained)
    split = lettered.split("validation")
    chosen = [row for row in range(len(split)) if lettered.classes[split.labels[row]] == "b"][:40]
    pictures = np.stack([split.picture(row) for row in chosen])
    few = {"train": (pictures[:3], ["b", "d", "b"]), "validation": (pictures, ["b"] * len(pictures))}
    one = {part: (pictures, ["b"] * len(pictures)) for part in ("train", "validation")}
    for name, arrays, reason in (("one", one, "needs at least two"), ("few", few, "cannot be judged in 5 folds")):
        build(open_source(arrays), tmp_path / name, options=BuildOptions(workers=1, missing_class="warn"))
        found = inspect(flipped / "bundle", tmp_path / name, out=tmp_path / f"out-{name}")
        assert found.wrong and found.judge is None and found.policy is None
        assert [one.method for one in found.evidence] == ["unjudged"] * 2 and not any(o.accused for o in found.evidence)
        assert reason in found.verdict and "Not enough evidence" in found.verdict
        text = document(found)
        assert "not judged" in text and reason in text
        json.dumps(to_plain(found), allow_nan=False)


def test_both_accuracies_of_corrected_labels(flipped, lettered, judge, tmp_path):
    answers = inspect(flipped, split="test", judge=judge)
    assert answers.evaluation.before_correction is None
    pictures = {name: lettered.split(name) for name in ("train", "test")}
    arrays = {
        name: (
            np.stack([split.picture(row) for row in range(len(split))]),
            [lettered.classes[label] for label in split.labels],
        )
        for name, split in pictures.items()
    }
    build(open_source(arrays), tmp_path / "before", options=BuildOptions(workers=1, validation=0))
    before = inspect(flipped, tmp_path / "before", split="test", judge=judge)
    log = Corrections(tmp_path / "c.csv")
    for one in before.wrong[:3]:
        log.decide(Decision(id=one.id, kind="relabel", given=one.label, to=one.predicted))
    options = BuildOptions(workers=1, validation=0, corrections=(tmp_path / "c.csv",))
    build(open_source(arrays), tmp_path / "after", options=options)
    after = inspect(flipped, tmp_path / "after", split="test", judge=judge)
    assert len(after.wrong) == len(before.wrong) - 3
    assert after.evaluation.before_correction["accuracy"] == before.evaluation.accuracy
    assert to_plain(after)["before_correction"]["relabelled"] == 3
    assert "With the labels before correction" in document(after)
    assert "With the labels before correction" not in document(before)


def test_rescue_is_told_with_intervals_and_the_share_of_correct_pictures(found):
    first = found.evidence[0]
    low, high = first.rescued_interval
    assert low <= first.rescued / first.errors <= high < 1
    low, high = first.placebo_rescued_interval
    assert low <= first.placebo_rescued / first.errors <= high
    # A run that flips reads flipped pictures.
    assert first.correct_rescued >= 0.6 * first.correct and first.correct_rescued_interval[1] <= 1
    by_name = [one for one in found.wrong if "horizontal_flip" in one.rescued_by]
    assert len(by_name) == first.rescued
    assert f"{first.correct_rescued} of {first.correct} correct pictures" in document(found)


def test_training_pictures_are_read_out_of_fold(flipped, judge, monkeypatch):
    monkeypatch.setattr(type(judge), "probabilities", lambda self, images: 1 / 0)
    assert inspect(flipped, split="train", judge=judge).evaluation.total == 800


def test_another_run_is_compared(flipped, judge):
    found = inspect(flipped, against=flipped, judge=judge)
    assert found.against.mended == found.against.broken == ()
    assert found.against.both_wrong == len(found.wrong) and found.against.p_value == 1


def test_what_the_other_run_mends_and_what_it_breaks():
    labels = np.array([0, 1, 0, 1, 0, 1])
    ids = tuple("abcdef")

    def answers(*given: int) -> Evaluation:
        return Evaluation(("x", "y"), ids, labels, np.eye(2, dtype=np.float32)[list(given)])

    # This run errs on a, b and c; the other on c and d.
    found = _beside("other", answers(1, 0, 1, 1, 0, 1), answers(0, 1, 1, 0, 0, 1))
    assert (found.mended, found.broken, found.both_wrong) == (("a", "b"), ("d",), 1)
    assert found.accuracy == pytest.approx(4 / 6) and found.difference == pytest.approx(-1 / 6)
    assert found.interval[0] < found.difference < found.interval[1]


def test_a_dataset_of_other_classes_is_refused(flipped, judge, small_dataset):
    with pytest.raises(UsageError, match="does not know"):
        inspect(flipped, small_dataset, judge=judge)


def test_a_split_that_is_not_there(flipped, judge):
    with pytest.raises(UsageError, match=r"no split 'tests'.*did you mean 'test'"):
        inspect(flipped, split="tests", judge=judge)


def test_neither_run_nor_bundle(tmp_path):
    with pytest.raises(BundleError, match="neither a run nor a bundle"):
        inspect(tmp_path)


def test_a_bundle_needs_a_dataset_and_cannot_be_ablated(flipped, judge, lettered):
    with pytest.raises(UsageError, match="which dataset"):
        inspect(flipped / "bundle", judge=judge)
    with pytest.raises(UsageError, match="cannot be trained again"):
        inspect(flipped / "bundle", lettered, ablate=("horizontal_flip",), judge=judge)
    found = inspect(flipped / "bundle", lettered, judge=judge)
    assert found.evidence[0].distortion == "horizontal_flip"


def test_a_fold_is_inspected_on_what_it_held_out_and_distortions_without_inverse_by_neighbours(
    lettered, judge, tmp_path
):
    options = {**QUICK, "validate_every": 3, "checkpoint_every": 3}
    distortions = ("noise=0.1", "crop=0.4:0.9")
    train(
        lettered,
        out=tmp_path / "fold",
        epochs=3,
        fold=Fold(index=0, count=3),
        no_distort=("all",),
        distort=distortions,
        options=options,
        quiet=True,
    )
    found = inspect(tmp_path / "fold", judge=judge)
    assert found.split == "held-out" and abs(found.evaluation.total - 1040 / 3) < 1
    trained_on_by_no_one = sum(identifier.startswith("train/") for identifier in found.evaluation.ids)
    assert 0 < trained_on_by_no_one < found.evaluation.total
    subject = open_subject(tmp_path / "fold", None, split=None, checkpoint=None, device="auto", model=None)
    held = subject.chosen.training[subject.chosen.training >= 0]
    assert not subject.trained[held].any() and subject.trained.sum() == len(subject.trained) - len(held)
    for one in found.evidence:
        taught = {collision.neighbour_id for collision in one.collisions}
        assert not taught & set(found.evaluation.ids), "what the run did not train on taught it nothing"
    for one in found.evidence:
        assert one.method == "neighbours" and one.tries == 6 and len(one.placebos) >= 3
        for collision in one.collisions:
            assert collision.transformed is None and collision.judge_probability is None
            assert collision.distorted.shape == collision.neighbour.shape
    write(found, tmp_path / "out")


def test_pictures_of_one_class_alone(flipped, judge, tmp_path):
    pictures, names = letters(80, 3)
    chosen = pictures[[name == "b" for name in names]]
    arrays = {split: (chosen, ["b"] * len(chosen)) for split in ("train", "validation")}
    build(open_source(arrays), tmp_path / "one", options=BuildOptions(workers=1))
    found = inspect(flipped, tmp_path / "one", judge=judge)
    assert found.evaluation.total == 10 and {one.label for one in found.wrong} <= {"b"}
    json.dumps(to_plain(found), allow_nan=False)


def test_a_run_that_is_never_right(flipped, judge, lettered, tmp_path):
    """Every label is another letter's: there is no correct picture to compare with."""
    pictures, names = letters(40, 1)
    known = list(lettered.classes)
    turned = [known[(known.index(name) + 3) % len(known)] for name in names]
    arrays = {"train": (pictures, turned), "validation": (pictures, turned)}
    build(open_source(arrays), tmp_path / "wrong", options=BuildOptions(workers=1, missing_class="warn"))
    found = inspect(flipped, tmp_path / "wrong", judge=judge)
    assert found.evaluation.correct <= 2 and not any(one.accused for one in found.evidence)
    json.dumps(to_plain(found), allow_nan=False)
