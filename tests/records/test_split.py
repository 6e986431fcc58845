"""Draws of splits: shares, groups, and that no old picture ever moves."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeper import draws
from deeper.errors import UsageError
from deeper.records.options import BuildOptions
from deeper.records.split import Member, assign, assign_more


def members(
    count: int, *, label: str = "a", first: int = 0, group: int | None = None, split: str | None = None
) -> list[Member]:
    return [
        Member(f"{label}/{number}.jpg", label, None if group is None else f"{label}{number // group}", split)
        for number in range(first, first + count)
    ]


def counts(splits: tuple[str, ...]) -> dict[str, int]:
    return dict(Counter(splits))


def test_a_tenth_of_each_class_for_validation_and_for_test() -> None:
    both = members(100, label="a") + members(30, label="b")
    assignment = assign(both, BuildOptions())
    assert counts(assignment.splits[:100]) == {"train": 80, "validation": 10, "test": 10}
    assert counts(assignment.splits[100:]) == {"train": 24, "validation": 3, "test": 3}
    assert assignment.drawn == {"validation": 0.1, "test": 0.1}
    assert any("validation: 13 of 130 pictures drawn" in notice for notice in assignment.notices)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, {"train": 1}),
        (2, {"train": 1, "test": 1}),
        (3, {"train": 1, "test": 1, "validation": 1}),
        (7, {"train": 5, "test": 1, "validation": 1}),
    ],
)
def test_few_pictures(count: int, expected: dict[str, int]) -> None:
    assert counts(assign(members(count), BuildOptions()).splits) == expected


def test_given_splits_stay_and_only_what_is_missing_is_drawn() -> None:
    given_ones = members(50, split="train") + members(20, first=50, split="test")
    assignment = assign(given_ones, BuildOptions())
    assert counts(assignment.splits) == {"train": 45, "validation": 5, "test": 20}
    assert set(assignment.splits[50:]) == {"test"}
    refused = assign(given_ones, BuildOptions(test=0.3))
    assert refused.splits == assignment.splits
    assert any("--test is not used" in notice for notice in refused.notices)


def test_zero_draws_nothing_and_a_number_draws_so_many() -> None:
    assert counts(assign(members(40), BuildOptions(validation=0, test=0)).splits) == {"train": 40}
    assert counts(assign(members(40), BuildOptions(validation=8, test=0)).splits) == {"train": 32, "validation": 8}
    with pytest.raises(UsageError, match="leave nothing of 40 pictures"):
        assign(members(40), BuildOptions(validation=40, test=0))


def test_the_seed_decides_and_the_order_of_the_pictures_does_not() -> None:
    one = assign(members(100), BuildOptions())
    turned = assign(members(100)[::-1], BuildOptions())
    assert turned.splits[::-1] == one.splits
    assert assign(members(100), BuildOptions(seed=1)).splits != one.splits


def test_groups_stay_whole() -> None:
    grouped = members(90, label="a", group=5) + members(60, label="b", group=3)
    assignment = assign(grouped, BuildOptions(validation=0.2, test=0.2))
    places = defaultdict(set)
    for member, split in zip(grouped, assignment.splits, strict=True):
        places[member.group].add(split)
    assert all(len(where) == 1 for where in places.values())
    for split in ("validation", "test"):
        assert abs(assignment.splits.count(split) - 30) <= 5


def test_a_patient_with_most_pictures_stays_in_train() -> None:
    """Of one group of 90 and two of 5 the drawn order once put the 90 into a test split of a tenth."""
    for seed in range(8):
        sizes = {"large": 90, "small": 5, "other": 5}
        some = [
            Member(f"{group}-{number}", "a", f"{group}-{seed}", None)
            for group, size in sizes.items()
            for number in range(size)
        ]
        splits = assign(some, BuildOptions()).splits
        assert {split: splits.count(split) for split in ("train", "validation", "test")} == {
            "train": 90,
            "validation": 5,
            "test": 5,
        }


def test_a_group_that_the_source_tears_apart_is_told() -> None:
    torn = [Member("a", "x", "plant", "train"), Member("b", "x", "plant", "test")]
    (notice,) = [one for one in assign(torn, BuildOptions(validation=0)).notices if "plant" in one]
    assert "train" in notice and "test" in notice


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_open_pictures_follow_the_given_ones_of_their_group(share: float) -> None:
    """A table where one row of a group names the split and the others leave it empty."""
    some = members(80, group=4)
    some[3] = replace(some[3], split="test")
    some[40] = replace(some[40], split="test")
    some[41] = replace(some[41], split="validation")
    some[77] = replace(some[77], split="train")
    splits = assign(some, BuildOptions(validation=share)).splits
    assert set(splits[:4]) == {"test"}
    # Torn by the source itself: as it says, and the open ones are not tested on.
    assert splits[40:44] == ("test", "validation", "validation", "validation")
    assert splits[76:80].count(splits[77]) == 4
    assert set(splits[4:40] + splits[44:76]) == {"train"}
    drawn = assign(some[:40] + some[44:], BuildOptions(validation=share)).splits
    assert all(len(set(drawn[start : start + 4])) == 1 for start in range(0, 76, 4))
    assert abs(drawn.count("validation") - share * 72) <= 2  # groups of four


def test_open_pictures_that_join_follow_the_given_ones_of_their_group() -> None:
    old = [replace(member, split="train") for member in members(20)]
    new = members(24, first=20, group=4)
    new[0] = replace(new[0], split="test")
    splits = assign_more(new, old, {"validation": 0.4}, 0).splits
    assert set(splits[:4]) == {"test"} and "test" not in splits[4:]
    assert all(len(set(splits[start : start + 4])) == 1 for start in range(0, 24, 4))


def test_a_number_below_that_of_the_classes_draws_one_of_each_and_says_so() -> None:
    several = [member for label in "abcdefgh" for member in members(20, label=label)]
    assignment = assign(several, BuildOptions(validation=0, test=4))
    assert counts(assignment.splits) == {"train": 152, "test": 8}
    assert "test: 8 of 160 pictures drawn (0.025 of each class, at least one); --test 0 for none" in assignment.notices
    assert "at least" not in " ".join(assign(several, BuildOptions(validation=0, test=80)).notices)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=60, unique=True),
    st.integers(0, 60),
    st.integers(0, 5),
)
def test_old_and_new_pictures_lie_on_the_same_side_of_the_same_thresholds(
    pairs: list[tuple[int, int]], cut: int, seed: int
) -> None:
    everyone = [Member(f"{label}/{number}", f"class {label}", None, None) for label, number in pairs]
    old, new = everyone[:cut], everyone[cut:]
    first = assign(old, BuildOptions(seed=seed))
    placed = [Member(m.id, m.label, m.group, split) for m, split in zip(old, first.splits, strict=True)]
    joined = assign_more(new, placed, {"validation": 0.1, "test": 0.1}, seed)
    numbers = draws.uniforms(seed, 0, draws.keys(m.id for m in everyone), "split", 1)[:, 0]
    rank = {"test": 0, "validation": 1, "train": 2}
    for label in {member.label for member in everyone}:
        rows = [row for row, member in enumerate(everyone) if member.label == label]
        rows.sort(key=lambda row: numbers[row])
        ranks = [rank[(first.splits + joined.splits)[row]] for row in rows]
        assert ranks == sorted(ranks)


def test_a_growing_class_keeps_its_shares() -> None:
    old = members(100)
    first = assign(old, BuildOptions())
    placed = [Member(m.id, m.label, None, split) for m, split in zip(old, first.splits, strict=True)]
    new = counts(assign_more(members(2000, first=100), placed, first.drawn, 0).splits)
    # The threshold is near 0.1, not at it: it must agree with the hundred that were there before.
    assert 120 < new["test"] < 280
    assert 120 < new["validation"] < 280


def test_a_new_picture_follows_its_group_and_a_new_class_is_drawn_by_rank() -> None:
    old = members(60, group=6)
    first = assign(old, BuildOptions())
    placed = [Member(m.id, m.label, m.group, split) for m, split in zip(old, first.splits, strict=True)]
    home = {member.group: member.split for member in placed}
    joining = [Member(f"new/{group}", "a", group, None) for group in home]
    joined = assign_more(joining + members(10, label="b"), placed, first.drawn, 0)
    assert list(joined.splits[: len(home)]) == list(home.values())
    assert counts(joined.splits[len(home) :]) == {"train": 8, "validation": 1, "test": 1}


def test_a_share_far_beyond_the_asked_one_is_said() -> None:
    """Of three pictures one is in each split, and new ones go by where these lie."""
    old, new = members(3), members(1000, first=3)
    said = 0
    for seed in range(10):
        first = assign(old, BuildOptions(seed=seed))
        placed = [Member(m.id, m.label, None, split) for m, split in zip(old, first.splits, strict=True)]
        joined = assign_more(new, placed, first.drawn, seed)
        for name in ("validation", "test"):
            count = joined.splits.count(name)
            notices = [notice for notice in joined.notices if notice.startswith(f"{name}: {count:,} of 1,000 new")]
            assert len(notices) == (count > 150)
            said += len(notices)
        assert len(joined.notices) == sum(joined.splits.count(name) > 150 for name in ("validation", "test"))
        # Of a handful nothing is said, nor of classes that are new: those are drawn as in a first build.
        assert not assign_more(new[:10] + members(90, label="b"), placed, first.drawn, seed).notices
    assert 0 < said < 20


def test_of_what_joins_nothing_is_drawn_for_a_split_that_it_gives_itself() -> None:
    old = [
        replace(member, split=split)
        for member, split in zip(members(100), assign(members(100), BuildOptions()).splits, strict=True)
    ]
    new = members(300, first=100, split="train") + members(50, first=400, split="test")
    assignment = assign_more(new, old, {"validation": 0.1, "test": 0.1}, 0)
    assert counts(assignment.splits[300:]) == {"test": 50}
    drawn = counts(assignment.splits[:300])
    assert "test" not in drawn and 15 < drawn["validation"] < 50


def test_many_that_join_take_no_longer_each() -> None:
    """Thresholds are a class's: worked out for every picture anew, 4,000 of 4,000 took four seconds."""
    placed = members(4000)
    splits = assign(placed, BuildOptions()).splits
    old = [replace(one, split=split) for one, split in zip(placed, splits, strict=True)]
    began = time.process_time()
    assign_more(members(4000, first=4000), old, {"validation": 0.1, "test": 0.1}, 0)
    assert time.process_time() - began < 1.5


def test_a_share_that_is_newly_given_is_drawn_whatever_the_old_pictures_are() -> None:
    old = [replace(member, split="train") for member in members(1000)]
    new = members(2000, first=1000)
    drawn = counts(assign_more(new, old, {"test": 0.1}, 0, agreeing=False).splits)
    assert 140 < drawn["test"] < 260


def test_a_new_picture_of_a_torn_group_adds_nothing_to_what_is_judged() -> None:
    old = [Member("1", "a", "plant", "train"), Member("2", "a", "plant", "test"), Member("3", "a", "leaf", "test")]
    new = [Member("4", "a", "plant", None), Member("5", "a", "leaf", None)]
    assert assign_more(new, old, {"test": 0.1}, 0).splits == ("train", "test")
