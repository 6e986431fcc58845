"""Evidence in sentences."""

from __future__ import annotations

from dataclasses import replace

from deeper.distortions import ClassRule, Policy
from deeper.inspection import Cause, Evidence, JudgeFacts, Pair, Placebo
from deeper.inspection.inspecting import _with_cause
from deeper.inspection.suggestion import without
from deeper.inspection.verdicts import of_all, of_backlog, of_evidence, of_policy

JUDGE = JudgeFacts(
    description="",
    accuracy=0.99,
    interval=(0.98, 1.0),
    accuracy_here=0.99,
    balanced_accuracy=0.99,
    weak=False,
    seconds=0.0,
)


def placebo(collided):
    return Placebo(
        name="swirl", description="swirled", tries=1, loss=0.1, collided=collided, collided_interval=(0, 1),
        only_distortion=1, only_placebo=1, p_value=0.01,
    )  # fmt: skip


def pair(label, predicted, collided):
    return Pair(
        label=label, predicted=predicted, errors=collided, collided=collided, placebo_collided=0, p_value=0.5,
        adjusted_p_value=1.0, significant=False,
    )  # fmt: skip


FLIP = Evidence(
    distortion="horizontal_flip", description="horizontal flip with probability 0.5", method="inverse", tries=1, loss=0.5,
    errors=95, judged=70, collided=23, collided_interval=(0.1672, 0.3366), correct=400, correct_collided=9,
    correct_interval=(0.01, 0.04), placebos=(placebo(4), placebo(2)), rescued=30, placebo_rescued=20, p_value=0.001,
    adjusted_p_value=0.003, accused=True, pairs=(pair("5", "2", 4), pair("2", "6", 7)), collisions=(), cause=None,
    verdict="",
)  # fmt: skip


def test_an_accusation_names_counts_placebos_and_the_worst_pairs():
    assert of_evidence(FLIP, JUDGE) == (
        "23 of 95 errors look like the predicted class once flipped left to right (16–32); placebos 2–4. Worst: 2→6, 5→2."
    )


def test_where_nothing_collides_nothing_is_nearest():
    nothing = replace(FLIP, accused=False, collided=0, verdict="Not enough evidence: …")
    assert of_all([nothing, replace(nothing, distortion="shear")], 95) == (
        "Not enough evidence against any of the 2 distortions in training: by none of them does an error look like the "
        "predicted class."
    )


def test_a_distortion_without_an_inverse_is_shown_beside_training_pictures():
    crop = replace(FLIP, distortion="crop")
    assert of_evidence(crop, JUDGE).startswith(
        "23 of 95 errors look like training pictures of the predicted class after the crop (16–32)"
    )


def test_a_judge_that_knows_more_than_the_run_is_told():
    assert of_backlog(0.9, 0.995, JUDGE) == of_backlog(0.9, 0.95, None) == ""
    assert of_backlog(0.7, 0.84, JUDGE) == (
        "The judge, small networks, is right on 99.0% of these pictures, the run on 70.0%: it has learned less than they "
        "allow. Train longer, or begin with a smaller network or size."
    )


def test_what_is_not_significant_is_no_accusation():
    sentence = of_evidence(replace(FLIP, accused=False, adjusted_p_value=0.4), JUDGE)
    assert sentence.startswith("Not enough evidence: 23 of 95") and sentence.endswith("(p = 0.4).")
    shrug = of_all(
        [replace(FLIP, accused=False, verdict=sentence), replace(FLIP, accused=False, distortion="shear")], 95
    )
    assert shrug.startswith("Not enough evidence against any of the 2 distortions in training.")


def cause(kind):
    return Cause(
        kind=kind, distortion="horizontal_flip", seeds=5, steps=100, fewer=19, fewer_interval=(13, 25), elsewhere=2,
        elsewhere_interval=(-1, 5), errors_with=(95, 96, 97, 98, 99), errors_without=(70, 71, 72, 73, 74),
        p_value=0.008, adjusted_p_value=0.008, accuracy_with=0.99, accuracy_without=0.993, verdict="",
    )  # fmt: skip


def test_a_removal_effect_accuses_nobody_and_a_cause_does():
    plain = replace(FLIP, accused=False, verdict="Seen.")
    assert "Horizontal flip: Seen." in of_all([replace(plain, cause=cause("cause"))], 95)
    removed = replace(plain, cause=cause("removal effect"))
    assert removed.cause.significant
    assert of_all([removed, plain], 95).startswith("Not enough evidence against any of the 2")


def test_a_weak_judge_a_grey_picture_and_no_errors():
    assert "the judge is right on only 60%" in of_evidence(FLIP, replace(JUDGE, weak=True, accuracy=0.6))
    same = replace(JUDGE, weak=True, accuracy=0.95, balanced_accuracy=0.5)
    assert "right on only 50% of training pictures that it did not learn from, each class" in of_evidence(FLIP, same)
    assert "cannot change grey pictures" in of_evidence(replace(FLIP, method="none"), JUDGE)
    assert of_all([], 0) == "No errors: nothing to explain."
    assert "without distortions" in of_all([], 12)


def test_the_policy_is_named_by_its_shorter_side():
    classes = [str(digit) for digit in range(10)]
    rule = ClassRule(never=("horizontal_flip",))
    most = Policy(classes=dict.fromkeys("2345679", rule))
    assert of_policy(most, "horizontal_flip", classes, "policy.toml") == (
        "Use the horizontal flip only on 0, 1, 8: `deeper train … --policy policy.toml`."
    )
    few = Policy(classes=dict.fromkeys("25", rule))
    assert of_policy(few, "horizontal_flip", classes, "p.toml").startswith("Never use the horizontal flip on 2, 5:")
    everything = Policy(classes=dict.fromkeys(classes, rule))
    assert "for all classes" in of_policy(everything, "horizontal_flip", classes, "p.toml")
    assert of_policy(Policy(), "horizontal_flip", classes, "p.toml") == ""


def test_a_cause_that_nothing_looks_like_comes_first_and_what_helps_is_not_accused():
    sentence = of_evidence(replace(FLIP, accused=False, adjusted_p_value=0.4), JUDGE)
    told = "Retrained five times without it: the horizontal flip explains 19 of 95 errors."
    found = {"horizontal_flip": replace(cause("cause"), verdict=told)}
    one = _with_cause(replace(FLIP, accused=False, verdict=sentence), found)
    assert one.verdict.startswith(f"{told} By looks alone: 23 of 95") and not one.accused
    assert of_all([one], 95).startswith(f"Horizontal flip: {told}")
    better = replace(cause("cause"), errors_with=(70, 71, 72, 73, 74), errors_without=(95, 96, 97, 98, 99))
    assert better.differs and not better.better_without
    cleared = _with_cause(replace(FLIP, verdict=sentence), {"horizontal_flip": replace(better, verdict="It helps.")})
    assert not cleared.accused
    rule = ClassRule(never=("horizontal_flip", "rotation"))
    assert without(Policy(classes={"a": rule}), {"horizontal_flip"}, None) == Policy(
        classes={"a": ClassRule(never=("rotation",))}
    )
    assert without(Policy(classes={"a": ClassRule(never=("horizontal_flip",))}), {"horizontal_flip"}, None) is None
    trained = Policy(classes={"a": ClassRule(never=("horizontal_flip",))})
    assert without(Policy(classes={"a": rule}), {"horizontal_flip"}, trained) == Policy(classes={"a": rule})
