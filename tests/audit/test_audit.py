"""The audit on letters that truly turn into each other, and on digits; what it writes; what training does with it."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import deeper
from deeper.audit import auditing, options
from deeper.audit.auditing import audit_dataset
from deeper.audit.options import JudgeOptions
from deeper.audit.result import Audit
from deeper.audit.sheet import draw_evidence
from deeper.distortions import Policy, parse
from deeper.distortions.policy import ClassRule
from deeper.errors import DeeperError, StorageError, UsageError
from deeper.records import BuildOptions, Dataset, build, open_source
from deeper.runs.auditing import warn_before_training
from deeper.training.events import DetailDone
from deeper.training.options import Options
from tests.drawn import words_cut_off

FLIPS = [parse("horizontal_flip"), parse("vertical_flip")]
HARMLESS = [parse("translation=0.036"), parse("rotation=3"), parse("brightness=0.1")]
# What becomes what, planted.
ACROSS = {"b": "d", "d": "b", "p": "q", "q": "p"}
DOWN = {"b": "p", "p": "b", "d": "q", "q": "d", "n": "u", "u": "n"}


@pytest.fixture(scope="module")
def flipped(letters: Dataset, quick: JudgeOptions) -> Audit:
    return audit_dataset(letters, FLIPS, judge_options=quick)


@pytest.mark.parametrize(("description", "planted"), [("horizontal flip", ACROSS), ("vertical flip", DOWN)])
def test_letters_that_turn_into_others_are_found(flipped: Audit, description: str, planted: dict[str, str]) -> None:
    for name, other in planted.items():
        finding = flipped.finding_on(description, name)
        assert (finding.verdict, finding.target) == ("unsafe", other), name
        assert finding.entering.interval[0] > finding.margin == 0.1
    for name in ("o", "x"):
        assert flipped.finding_on(description, name).verdict == "safe"


def test_what_is_harmless_is_not_accused(letters: Dataset, quick: JudgeOptions) -> None:
    found = audit_dataset(letters, HARMLESS, judge_options=quick)
    assert {one.verdict for one in found.findings} == {"safe"}
    assert found.policy() == Policy() and found.evidence == ()


def test_the_policy_forbids_what_was_found_and_nothing_else(flipped: Audit) -> None:
    rules = {name: set(rule.never) for name, rule in flipped.policy().classes.items()}
    for name in flipped.classes:
        assert ("horizontal_flip" in rules.get(name, ())) >= (name in ACROSS)
        assert ("vertical_flip" in rules.get(name, ())) >= (name in DOWN)
    assert "o" not in rules and "x" not in rules


def test_evidence_shows_training_pictures_and_their_mirror_images(
    flipped: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [one for one, _ in flipped.evidence]
    assert {(one.class_name, one.target) for one in findings if one.distortion == "horizontal_flip"} >= set(
        ACROSS.items()
    )
    for finding, examples in flipped.evidence:
        assert 1 <= len(examples) <= auditing.EXAMPLES
        for one in examples:
            axis = 1 if finding.distortion == "horizontal_flip" else 0
            np.testing.assert_array_equal(one.transformed, np.flip(one.picture, axis))
            assert one.read_before == finding.class_name and one.read_after == finding.target
    draw_evidence(flipped, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.width > 1000 and image.height > 100 * len(findings)
    lost = words_cut_off(monkeypatch)
    draw_evidence(flipped, tmp_path / "again.png")
    # Where nothing is shown to be unsafe, that says no more than it does.
    findings = tuple(replace(one, verdict="undecided", suspected=True) for one in flipped.findings)
    empty = replace(flipped, findings=findings, evidence=())
    draw_evidence(empty, tmp_path / "empty.svg")
    said = (tmp_path / "empty.svg").read_text()
    assert "nothing is shown to be unsafe" in said and "keeps away" in said
    assert not lost
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "sheet.png").read_bytes()


def test_the_same_again(flipped: Audit, letters: Dataset, quick: JudgeOptions) -> None:
    again = audit_dataset(letters, FLIPS, judge_options=quick)
    assert again.findings == flipped.findings
    assert audit_dataset(letters, FLIPS, judge_options=quick, per_class=40).findings[0].pictures == 40


def test_a_second_look_is_taken_where_turning_is_undecided_and_nowhere_else(
    letters: Dataset, quick: JudgeOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auditing, "PER_CLASS", 120)
    tried = [parse("rotation=30"), parse("brightness=0.1")]
    found = audit_dataset(letters, tried, judge_options=quick, margin=0.16)
    assert found.intervals == 2 * 2 * len(tried) * (8 + 1)
    turned = [one for one in found.findings if one.distortion == "rotation"]
    assert {one.pictures for one in turned} == {120, 200}, "some are clear at once, some are looked at again"
    assert all(one.verdict != "undecided" or one.leaves for one in turned if one.pictures == 120)
    assert any(one.verdict == "safe" for one in turned if one.pictures == 200), "more pictures, a verdict"
    assert {one.pictures for one in found.findings if one.distortion == "brightness"} == {120}
    again = audit_dataset(letters, tried, judge_options=quick, margin=0.16)
    assert [one.to_plain() for one in again.findings] == [one.to_plain() for one in found.findings]


def test_everything_is_tried_unless_something_is_named(letters: Dataset, quick: JudgeOptions) -> None:
    found = audit_dataset(letters, judge_options=quick, per_class=10)
    assert {one.distortion for one in found.findings} >= {"horizontal_flip", "rotation", "erasing", "noise", "crop"}
    assert "saturation" not in {one.distortion for one in found.findings}, "the letters are grey"
    json.dumps(found.to_plain(), allow_nan=False)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default judge, after a twentieth of the time."""
    monkeypatch.setattr(options, "PICTURES_SEEN", 12_000)


def test_from_the_audit_to_a_training_that_obeys(
    letters: Dataset, tmp_path: Path, soon: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """deeper.audit writes the policy, `deeper train --policy` keeps it, and without it the classes are named."""
    out = tmp_path / "audit"
    found = deeper.audit(letters, distort=["horizontal_flip"], out=out)
    assert sorted(path.name for path in out.iterdir()) == ["audit.json", "evidence.png", "policy.toml"]
    assert Policy.load(out / "policy.toml") == found.policy()
    assert json.loads((out / "audit.json").read_text())["policy"] == found.policy().to_plain()

    words = {"distort": ["horizontal_flip=1"], "no_distort": ["all"], "epochs": 0.2}
    deeper.train(letters, out=tmp_path / "warned", **words)
    said = capsys.readouterr()
    warning = next(line for line in (said.out + said.err).replace("\n", " ").split("  ") if "warning" in line)
    assert "horizontal flip" in warning and "b → d" in warning and "--no-distort horizontal_flip" in warning

    seen: list[DetailDone] = []
    result = deeper.train(
        letters,
        out=tmp_path / "obeying",
        policy=out / "policy.toml",
        handlers=[lambda event: seen.append(event) if isinstance(event, DetailDone) else None],
        **words,
    )
    said = capsys.readouterr()
    assert "b → d" not in said.out + said.err and "no class is shown to be harmed" in said.out + said.err
    stored = tomllib.loads((result.run.path / "config.toml").read_text())
    assert "horizontal_flip" in stored["policy"]["classes"]["b"]["never"]
    check_what_was_shown(letters, seen[0], spared=set(found.policy().classes))

    deeper.train(letters, out=tmp_path / "unasked", audit=False, **words)
    said = capsys.readouterr()
    assert "never saw it" not in said.out + said.err


def test_what_neither_flips_nor_rotates_far_costs_nothing(letters: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("deeper.runs.auditing.audit_dataset")
    said: list[str] = []
    tame = Options(distortions=(parse("rotation=15"), parse("translation=0.1"), parse("erasing")))
    assert warn_before_training(letters, tame, None, said.append) == () and said == []
    with pytest.raises(NameError):  # or else the above could not fail
        warn_before_training(letters, Options(distortions=(parse("rotation=45"),)), None, said.append)


def check_what_was_shown(dataset: Dataset, step: DetailDone, spared: set[str]) -> None:
    """The pictures that the network trained on: spared classes as they are, all others mirrored."""
    split = dataset.split("train")
    shown = {True: 0, False: 0}
    for image, label, identifier in zip(step.images, step.labels, step.ids):
        original = split.picture(split.ids.index(identifier))[..., 0]
        name = dataset.classes[int(label)]
        wanted = original if name in spared else original[:, ::-1]
        np.testing.assert_allclose(image[0].numpy() * 255, wanted, atol=1e-3)
        shown[name in spared] += 1
    assert min(shown.values()) > 5


def test_what_cannot_be_judged_is_trained_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = np.random.default_rng(0).integers(0, 255, (4, 12, 12), np.uint8)
    build(
        open_source({"train": (images, ["a", "b", "a", "b"])}),
        tmp_path / "tiny",
        options=BuildOptions(workers=1, validation=0, test=0),
    )
    result = deeper.train(tmp_path / "tiny", out=tmp_path / "run", distort=["horizontal_flip"], epochs=1)
    assert result.reason == "done"
    said = capsys.readouterr()
    assert "not checked: 4 pictures or groups cannot be judged in 5 folds" in (said.out + said.err).replace("\n", " ")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"margin": 0.0}, "margin 0.0; wanted a share between 0 and 1"),
        ({"margin": 2.0}, "margin 2.0; wanted a share between 0 and 1"),
        ({"per_class": 0}, "0 pictures of each class"),
        ({"distort": ["horizontal_flop"]}, "did you mean 'horizontal_flip'"),
        ({"distort": ["rotation=10", "rotation=20"]}, "rotation was given twice"),
    ],
)
def test_bad_options(letters: Dataset, given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        deeper.audit(letters, **given)


def test_what_stands_there_is_not_overwritten(letters: Dataset, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("mine")
    with pytest.raises(StorageError, match="exists already"):
        deeper.audit(letters, out=tmp_path)
    assert (tmp_path / "policy.toml").read_text() == "mine"


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DeeperError):
        deeper.audit(tmp_path / "nothing")


def mnist(data: Path, target: Path, count: int) -> Dataset:
    source = open_source("mnist")
    chosen = [item for item in source.items if item.split == "train"][:count]
    arrays = {"train": (np.stack([item.array for item in chosen]), [item.label for item in chosen])}
    build(open_source(arrays), target, options=BuildOptions(workers=1, validation=0, test=0))
    return Dataset(target)


def test_flipped_digits(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's finding before any training, on a small part of MNIST and with a small judge."""
    monkeypatch.setenv("DEEPER_DATA", str(data))
    dataset = mnist(data, tmp_path / "mnist", 5000)
    found = audit_dataset(dataset, FLIPS[:1], judge_options=JudgeOptions(folds=2, epochs=4))
    names = found.classes_by_verdict("horizontal flip")
    assert {"2", "5"} <= set(names["unsafe"]) and not {"0", "1", "8"} & set(names["unsafe"])
    assert set(names["safe"]) <= {"0", "1", "8"}
    assert {"2", "3", "5", "6", "7", "9"} <= set(found.policy().classes)
    targets = {one.class_name: one.target for one in found.findings}
    assert targets["5"] == "2" and targets["6"] == "2"


@pytest.mark.long
def test_flipped_mnist(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 55,000 digits, the judge that users get: two of 0, 1, 8 are safe, 2 and 5 are not, and no other is safe."""
    monkeypatch.setenv("DEEPER_DATA", str(data))
    names = audit_dataset(mnist(data, tmp_path / "mnist", 55_000), FLIPS[:1]).classes_by_verdict("horizontal flip")
    assert {"2", "5"} <= set(names["unsafe"])
    assert len({"0", "1", "8"} & set(names["safe"])) >= 2 and set(names["safe"]) <= {"0", "1", "8"}


def test_a_distortion_that_the_policy_keeps_from_all_is_said_to_be_off(
    letters: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is judged for it, and "no class is harmed" would be the opposite of what was found."""
    monkeypatch.delattr("deeper.runs.auditing.audit_dataset")
    said: list[str] = []
    nowhere = Policy(classes={name: ClassRule(never=("horizontal_flip",)) for name in letters.classes})
    flip = Options(distortions=(parse("horizontal_flip"),))
    assert warn_before_training(letters, flip, nowhere, said.append) == ()
    (line,) = said
    assert f"the policy keeps it from all {len(letters.classes)} classes, so it is never applied" in line
