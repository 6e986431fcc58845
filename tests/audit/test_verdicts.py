"""Verdicts from counts: equivalence, superiority, small classes together, a weak judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from deeper.audit.judge import Judge
from deeper.audit.result import Audit, Finding, JudgeFacts
from deeper.audit.traffic import Readings, sureness
from deeper.audit.treatments import Treatment
from deeper.audit.verdicts import Groups, drains, findings_of, group, margin_for, undecided_drain, worst_first
from deeper.distortions import Policy, parse
from deeper.images import Preprocess
from deeper.runs.auditing import warning

FLIP = Treatment(distortion=parse("horizontal_flip"))


def judge_that_reads(labels: NDArray[np.int64], right: float = 1.0, classes: int = 3) -> Judge:
    """A judge without networks: reads a share of every class right and surely, the rest as the next class, unsurely."""
    out_of_fold = np.full((len(labels), classes), 1e-4, np.float32)
    for label in range(classes):
        rows = np.flatnonzero(labels == label)
        read = np.arange(len(rows)) < round(right * len(rows))
        out_of_fold[rows, label] = np.where(read, 0.999, 0.4)
        out_of_fold[rows, (label + 1) % classes] = np.where(read, 1e-4, 0.6)
    return Judge(
        classes=tuple("abcdefgh"[:classes]),
        preprocess=Preprocess(height=12, width=12, channels=1),
        out_of_fold=out_of_fold,
        folds=np.zeros(len(labels), np.int64),
        labels=labels,
        networks=(),
        training="by hand",
        seconds=0.0,
    )


def judged(judge: Judge, after: NDArray[np.float32], margin: float | None = None) -> tuple[Groups, list[Finding]]:
    positions = np.arange(len(judge.labels))
    groups = group(judge, positions, 1, margin)
    sure = sureness(judge)
    return groups, findings_of(judge, groups, FLIP, Readings.of(after, judge.labels, sure), sure)


def entered(judge: Judge, rows: NDArray[np.int64], target: int, probability: float) -> NDArray[np.float32]:
    """The judge's readings, but of `rows` as `target`."""
    after = judge.out_of_fold.copy()
    after[rows] = (1 - probability) / (after.shape[1] - 1)
    after[rows, target] = probability
    return after


LABELS = np.repeat(np.arange(3), 3000)


def test_nothing_happens_and_everything_is_safe() -> None:
    judge = judge_that_reads(LABELS, 0.98)
    _, findings = judged(judge, judge.out_of_fold)
    assert [one.verdict for one in findings] == ["safe"] * 3
    assert all(one.entering.share == one.leaving.share == one.misread == 0 for one in findings)
    assert not any(one.forbidden or one.leaves for one in findings)


@pytest.mark.parametrize(
    "count, probability, verdict, leaves",
    [
        (600, 0.9995, "unsafe", True),  # as sure as of its own
        (600, 0.97, "undecided", True),  # out of the question, but like no other for certain
        (600, 0.6, "safe", False),  # unsurely: this may well be another's fault than the picture's
        (75, 0.9995, "undecided", False),  # 2.5 %: the interval holds the margin
        (15, 0.9995, "safe", False),  # 0.5 %: the whole interval is below
    ],
)
def test_entering_leaving_and_neither(count: int, probability: float, verdict: str, leaves: bool) -> None:
    judge = judge_that_reads(LABELS, 0.98)
    _, findings = judged(judge, entered(judge, np.arange(count), 1, probability))
    assert [one.verdict for one in findings] == [verdict, "safe", "safe"]
    assert findings[0].leaves is leaves and findings[0].misread == pytest.approx(count / 3000, abs=1e-3)
    assert findings[0].forbidden is (verdict != "safe")
    if probability > 0.99:
        assert (findings[0].target, findings[0].target_count) == ("b", count)
        assert findings[0].entering.share == count / 3000
    low, high = findings[0].entering.interval
    assert low <= findings[0].entering.share <= high


def test_what_was_read_so_before_does_not_count() -> None:
    judge = judge_that_reads(LABELS)
    judge.out_of_fold[:600] = entered(judge, np.arange(600), 1, 0.9995)[:600]
    vars(judge).pop("correct", None)
    _, findings = judged(judge, judge.out_of_fold.copy())
    assert findings[0].entering.share == 0 and findings[0].verdict != "unsafe"
    assert findings[0].to_plain()["entering"]["before"] == findings[0].to_plain()["entering"]["after"] > 0


def test_a_strange_picture_forbids_only_what_turns() -> None:
    """A judge that never saw noise cannot read noisy pictures; that teaches no wrong meaning."""
    judge = judge_that_reads(LABELS)
    _, findings = judged(judge, entered(judge, np.arange(600), 1, 0.97))
    assert findings[0].leaves and findings[0].forbidden
    assert not replace(findings[0], turning=False).forbidden


def test_a_suspicion_is_enough_to_turn_nothing() -> None:
    """Seven of a hundred 4s leave in the mirror: no verdict at 10 points, but none is needed to be careful."""
    labels = np.repeat(np.arange(8), 100)
    judge = judge_that_reads(labels, classes=8)
    _, findings = judged(judge, entered(judge, np.arange(7), 1, 0.99))
    few = replace(findings[0], verdict="undecided")
    assert few.suspected and few.forbidden and not few.leaves
    assert not replace(few, verdict="safe").forbidden and not replace(few, turning=False).forbidden
    _, findings = judged(judge, entered(judge, np.arange(3), 1, 0.99))
    assert findings[0].leaving.share == 0.03 and not findings[0].suspected, "three may be chance"


def test_margins() -> None:
    assert [margin_for(count, None) for count in (20, 999, 1000, 5000)] == [0.1, 0.1, 0.02, 0.02]
    assert margin_for(20, 0.05) == 0.05


def test_small_classes_go_together() -> None:
    labels = np.repeat(np.arange(8), 60)
    judge = judge_that_reads(labels, classes=8)
    groups, findings = judged(judge, judge.out_of_fold)
    assert all(groups.small) and findings[-1].class_name is None and findings[-1].pictures == 480
    assert all(one.pooled and one.verdict == "safe" for one in findings[:-1])
    # One class turns into another: it is unsafe by itself, and the others are no longer safe by their company.
    _, findings = judged(judge, entered(judge, np.arange(40), 1, 0.9999))
    assert findings[0].verdict == "unsafe"
    assert [one.verdict for one in findings[1:]] == [findings[-1].verdict] * 8
    assert findings[-1].suspected and all(one.forbidden for one in findings), "what harms some of them is kept from all"
    # Six of sixty: not certain, but it speaks against calling this class safe with the rest.
    _, findings = judged(judge, entered(judge, np.arange(7), 1, 0.9999))
    assert findings[-1].verdict == "safe"
    assert [one.verdict for one in findings[:-1]] == ["undecided"] + ["safe"] * 7


def test_small_classes_of_different_margins_are_pooled_apart() -> None:
    """1,000 training pictures, of which 300 are read, ask for 2 points; their company of small classes asks for 10."""
    labels = np.concatenate([np.repeat([0, 1], 1000), np.repeat(np.arange(2, 8), 100)])
    judge = judge_that_reads(labels, classes=8)
    positions = np.concatenate([np.arange(300), np.arange(1000, 1300), np.arange(2000, 2600)])
    groups = group(judge, positions, 1, None)
    assert all(groups.small) and groups.margins[0] == 0.02 and groups.margins[7] == 0.1
    assert groups.intervals == 2 * (8 + 2)
    sure = sureness(judge)
    # Thirteen of each large class enter another one: 4 %, and of all 1,200 pictures together 2 %.
    rows = np.concatenate([np.arange(13), np.arange(1000, 1013)])
    after = entered(judge, rows, 7, 0.9999)[positions]
    findings = findings_of(judge, groups, FLIP, Readings.of(after, labels[positions], sure), sure)
    large, small = findings[:2], findings[2:8]
    pools = findings[8:]
    assert [(one.class_name, one.margin, one.pictures) for one in pools] == [(None, 0.02, 600), (None, 0.1, 600)]
    assert all(one.verdict != "safe" for one in large), "4 points are no 2"
    assert [one.verdict for one in small] == ["safe"] * 6


def test_a_weak_judge_calls_nothing_safe_but_may_accuse() -> None:
    judge = judge_that_reads(LABELS, 0.7)
    assert judge.weak
    _, findings = judged(judge, judge.out_of_fold)
    assert [one.verdict for one in findings] == ["undecided"] * 3
    _, findings = judged(judge, entered(judge, np.arange(1500), 1, 0.9999))
    assert findings[0].verdict == "unsafe"


def test_what_drains_into_one_class_is_undecided() -> None:
    """Noise that the judge never saw is a tiger lily to it, whatever the flower: that says little of the flowers."""
    labels = np.repeat(np.arange(8), 1500)
    judge = judge_that_reads(labels, classes=8)
    _, everything = judged(judge, entered(judge, np.flatnonzero(labels < 6), 7, 0.9999))
    assert [one.verdict for one in everything[:6]] == ["unsafe"] * 6 and drains(everything) == "h"
    assert [one.verdict for one in undecided_drain(everything, "h")] == ["undecided"] * 6 + ["safe"] * 2
    _, some = judged(judge, entered(judge, np.flatnonzero(labels < 3), 7, 0.9999))
    assert drains(some) is None and some[0].verdict == "unsafe"
    _, nothing = judged(judge, judge.out_of_fold)
    assert drains(nothing) is None


def test_classes_without_pictures_are_left_out() -> None:
    judge = judge_that_reads(np.repeat([0, 2], 2000))
    _, findings = judged(judge, judge.out_of_fold)
    assert [one.class_name for one in findings] == ["a", "c"]


def test_all_intervals_hold_together() -> None:
    """Where nothing is true, hardly one audit in twenty accuses or misses anything: 300 audits of 20 intervals."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 400)
    judge = judge_that_reads(labels)
    wrong = 0
    for _ in range(300):
        # Before and after, each picture enters by chance, 4 % of them: the true excess is 0.
        flags = generator.random((2, 1200)) < 0.04
        before = entered(judge, np.flatnonzero(flags[0]), 0, 0.9995)
        after = entered(judge, np.flatnonzero(flags[1]), 0, 0.9995)
        chance = replace(judge, out_of_fold=before)
        groups = group(chance, np.arange(1200), 1, None)
        sure = np.full(3, 0.99, np.float32)
        found = findings_of(chance, groups, FLIP, Readings.of(after, labels, sure), sure)
        wrong += any(
            not excess.interval[0] <= 0 <= excess.interval[1] for one in found for excess in (one.entering, one.leaving)
        )
    assert wrong <= 0.05 * 300 + 2 * np.sqrt(300 * 0.05 * 0.95)


def test_the_policy_goes_by_the_mildest_strength() -> None:
    judge = judge_that_reads(LABELS)
    _, safe = judged(judge, judge.out_of_fold)
    _, unsafe = judged(judge, entered(judge, np.arange(600), 1, 0.9999))
    mild = [replace(one, distortion="rotation", description="10°") for one in safe]
    strong = [replace(one, distortion="rotation", description="90°") for one in unsafe]
    facts = JudgeFacts(description="", accuracy=1, interval=(1, 1), weak=False)

    def audit(findings: list[Finding]) -> Audit:
        return Audit(
            dataset="x",
            dataset_hash="",
            judge=facts,
            classes=judge.classes,
            findings=tuple(findings),
            intervals=8,
            evidence=(),
            notes=(),
            seconds={},
        )

    assert audit(mild + strong).policy() == Policy()
    assert audit(strong + unsafe).policy().to_plain() == {"classes": {"a": {"never": ["rotation", "horizontal_flip"]}}}
    assert audit(mild + strong).classes_by_verdict("90°")["unsafe"] == ("a",)
    assert audit(mild + strong).finding_on("90°", "a").verdict == "unsafe"
    assert [one.class_name for one in worst_first([*safe, *unsafe])] == ["a"]


def test_a_judge_that_always_says_the_same_calls_nothing_safe() -> None:
    """Of 1,900 a and 100 b it is right on 95 % and can see no traffic at all."""
    labels = np.repeat([0, 1], [1900, 100])
    judge = judge_that_reads(labels, classes=2)
    judge.out_of_fold[:] = (0.95, 0.05)
    assert judge.accuracy == 0.95 and judge.interval[0] > 0.9 and judge.weak
    _, findings = judged(judge, judge.out_of_fold.copy())
    assert [one.verdict for one in findings] == ["undecided"] * len(findings)


def test_what_a_judge_hardly_recognises_may_have_been_entered() -> None:
    labels = np.repeat(np.arange(3), 3000)
    judge = judge_that_reads(labels)
    rows = np.flatnonzero(labels == 2)[:2400]
    judge.out_of_fold[rows] = (0.6, 1e-4, 0.4)
    vars(judge).pop("correct", None)
    assert judge.recalls.tolist() == [1, 1, 0.2]
    after = entered(judge, np.arange(30), 1, 0.9995)  # 1 % of a: below two points, above what is seen of c
    _, findings = judged(judge, after)
    assert findings[0].verdict == "undecided"


def test_of_two_classes_noise_that_makes_all_one_is_a_drain_and_turning_is_not() -> None:
    labels = np.repeat(np.arange(2), 3000)
    judge = judge_that_reads(labels, classes=2)
    _, findings = judged(judge, entered(judge, np.arange(3000), 1, 0.9999))
    assert findings[0].verdict == "unsafe" and drains(findings) is None, "a flip: b is a in the mirror"
    still = [replace(one, turning=False) for one in findings]
    assert drains(still) == "b"
    assert undecided_drain(still, "b")[0].verdict == "undecided"


def test_a_warning_says_no_more_of_a_class_than_is_known() -> None:
    labels = np.repeat(np.arange(8), 60)
    judge = judge_that_reads(labels, classes=8)
    _, findings = judged(judge, entered(judge, np.arange(40), 1, 0.9999))
    text = warning(parse("horizontal_flip"), [one for one in findings if one.class_name and one.forbidden])
    assert "a → b" in text and "too few pictures to tell which: b, c, d, e, f, g, h" in text
    assert "unlike their own class" not in text


def test_a_small_class_that_is_safe_by_itself_stays_so() -> None:
    """Small is a forecast; what the pictures then bear out is not thrown away for the company's sake."""
    labels = np.repeat(np.arange(3), 3000)
    judge = judge_that_reads(labels)
    groups = group(judge, np.arange(len(labels)), 1, None)
    small = replace(groups, small=(True,) * 3)
    sure = sureness(judge)
    after = Readings.of(entered(judge, np.arange(3000, 5000), 2, 0.9999), labels, sure)
    findings = findings_of(judge, small, FLIP, after, sure)
    assert [one.verdict for one in findings[:3]] == ["safe", "unsafe", "safe"]
    assert not findings[0].pooled and not findings[0].forbidden


def test_a_class_of_two_that_nobody_reads_does_not_make_all_others_unknown() -> None:
    labels = np.concatenate([np.repeat(np.arange(7), 3000), [7, 7]])
    judge = judge_that_reads(labels, classes=8)
    judge.out_of_fold[-2:] = [0.93, *[0.01] * 7]
    assert judge.recalls[7] == 0 and not judge.weak
    groups, findings = judged(judge, judge.out_of_fold.copy())
    assert groups.small == (False,) * 7 + (True,)
    assert [one.verdict for one in findings[:7]] == ["safe"] * 7


def test_what_more_pictures_may_tell_is_not_small_where_they_will_be_read() -> None:
    labels = np.repeat(np.arange(3), 3000)
    judge = judge_that_reads(labels)
    groups = group(judge, np.concatenate([first + np.arange(200) for first in (0, 3000, 6000)]), 1, None)
    assert all(groups.small)
    assert not any(groups.of_more(judge, 3000).small) and all(groups.of_more(judge, 250).small)


def test_a_target_is_what_the_distortion_brought() -> None:
    """A hundred were read as b before; ninety-eight others as c since."""
    judge = judge_that_reads(LABELS)
    judge.out_of_fold[:100] = entered(judge, np.arange(100), 1, 0.9999)[:100]
    vars(judge).pop("correct", None)
    _, findings = judged(judge, entered(judge, np.arange(200, 298), 2, 0.9999))
    assert (findings[0].target, findings[0].target_count) == ("c", 98)
