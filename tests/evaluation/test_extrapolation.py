"""The answer to "would more pictures help?" on errors drawn from known laws."""

from __future__ import annotations

import numpy as np
import pytest

from deeper.errors import UsageError
from deeper.evaluation.extrapolation import accuracy_interval, extrapolate
from deeper.statistics import wilson_interval

PICTURES = [500, 1000, 2000]


def drawn(errors: list[float], *, judged: int = 2000, seeds: int = 3, seed: int = 0) -> list[np.ndarray]:
    """Per share seeds × pictures: each picture has a difficulty, so that runs mostly fail on the same ones."""
    generator = np.random.default_rng(seed)
    difficulty = generator.random(judged)
    wrong = []
    for share in errors:
        noise = generator.normal(0, 0.02, (seeds, judged))
        wrong.append(difficulty + noise * share > 1 - share)
    return wrong


def test_a_power_law_is_found_and_followed() -> None:
    answer = extrapolate(PICTURES, drawn([0.2, 0.2 / 2**0.5, 0.1]))
    assert answer.verdict == "yes" and not answer.flattens
    assert answer.exponent == pytest.approx(0.5, abs=0.1)
    low, high = answer.exponent_interval
    assert low < 0.5 < high
    assert answer.gain == pytest.approx(0.1 - 0.1 / 2**0.5, abs=0.01)
    double = next(reach for reach in answer.reaches if reach.times == 2)
    assert double.accuracy == pytest.approx(1 - 0.1 / 2**0.5, abs=0.01)
    assert double.interval[0] < double.accuracy < double.interval[1]
    assert "yes, most likely: +3." in answer.text


def test_no_change_is_hardly_worth_more() -> None:
    answer = extrapolate(PICTURES, drawn([0.05, 0.05, 0.05], judged=20_000))
    assert answer.verdict == "hardly" and abs(answer.gain) < 0.003


def test_a_small_but_certain_gain_is_called_one() -> None:
    answer = extrapolate(PICTURES, drawn([0.12, 0.11, 0.1], judged=5000))
    assert answer.verdict == "yes" and "a little" in answer.text


def test_few_pictures_cannot_tell() -> None:
    answer = extrapolate(PICTURES, drawn([0.13, 0.11, 0.1], judged=100))
    assert answer.verdict == "cannot tell" and "more validation pictures" in answer.text
    assert answer.gain_interval[0] < 0 < answer.gain_interval[1]


def test_shares_that_never_disagreed_on_fifty_pictures_may_yet() -> None:
    answer = extrapolate(PICTURES, drawn([0.1, 0.1, 0.1], judged=50, seeds=1))
    assert answer.verdict == "cannot tell"
    low, high = answer.gain_interval
    assert low < -0.005 and high > 0.005


def test_a_bend_is_seen_and_only_the_end_followed() -> None:
    answer = extrapolate(PICTURES, drawn([0.4, 0.1, 0.095], judged=10_000))
    assert answer.flattens and answer.exponent == pytest.approx(0.07, abs=0.05)
    assert answer.verdict != "yes" and "flattens" in answer.text


def test_no_errors_left_cannot_tell() -> None:
    answer = extrapolate(PICTURES, [np.zeros((2, 100), bool)] * 3)
    assert answer.verdict == "cannot tell" and answer.gain is None and "no error is left" in answer.text


def test_runs_that_have_not_learned_tell_nothing() -> None:
    answer = extrapolate(PICTURES, drawn([0.9, 0.9, 0.89], judged=5000), guessing=0.11)
    assert answer.verdict == "cannot tell" and answer.gain is None
    assert "instead of 11.00 %); train longer" in answer.text
    assert extrapolate(PICTURES, drawn([0.9, 0.9, 0.85], judged=5000), guessing=0.11).gain is not None


def test_the_intervals_hold_what_they_promise() -> None:
    """Of 120 draws from one law, about 95 % of the intervals must hold the gain that the law gives."""
    generator = np.random.default_rng(1)
    truth = 0.1 - 0.1 / 2**0.4
    held = 0
    for _ in range(120):
        difficulty = generator.random(600)
        wrong = []
        for size in PICTURES:
            share = 0.1 * (2000 / size) ** 0.4
            # Seeds differ by more than the pictures explain.
            shares = share * np.exp(generator.normal(0, 0.05, 3))
            wrong.append(difficulty[None] > 1 - shares[:, None])
        low, high = extrapolate(PICTURES, wrong).gain_interval
        held += low <= truth <= high
    assert held >= 108, held


def test_the_same_errors_give_the_same_answer() -> None:
    wrong = drawn([0.2, 0.15, 0.1])
    assert extrapolate(PICTURES, wrong) == extrapolate(PICTURES, wrong)


def test_two_shares_are_refused() -> None:
    with pytest.raises(UsageError, match="at least three shares, got 2"):
        extrapolate([1, 2], drawn([0.2, 0.1]))


@pytest.mark.parametrize("pictures", [(2, 2, 80), (2, 80, 80), (80, 2, 100)])
def test_numbers_of_pictures_that_do_not_rise_are_refused(pictures: tuple[int, ...]) -> None:
    """There is no line through two points above each other: NaN, of which no interval says anything."""
    with pytest.raises(UsageError, match="rising numbers of pictures"):
        extrapolate(pictures, [np.ones((1, 50), bool)] * 3)


def test_accuracy_intervals() -> None:
    assert accuracy_interval([0.9], 100) == pytest.approx(wilson_interval(90, 100))
    low, high = accuracy_interval([0.88, 0.9, 0.92], 100)
    assert low < wilson_interval(90, 100)[0] and high > wilson_interval(90, 100)[1]
    assert accuracy_interval([1.0, 1.0], 50)[1] == 1.0


def test_intervals_of_three_seeds_hold_what_they_promise() -> None:
    """Where seeds differ by more than the pictures explain, 95 % of the intervals must hold the accuracy all the same."""
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        pictures = generator.normal(0, (0.9 * 0.1 / 20_000) ** 0.5)
        accuracies = 0.9 + pictures + generator.normal(0, 0.02, 3)
        low, high = accuracy_interval(accuracies.tolist(), 20_000)
        held += low <= 0.9 <= high
    assert 1860 <= held <= 1950, held
