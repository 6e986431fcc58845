"""Comparisons: paired on the same pictures, whatever their order; refused where the pictures differ."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from deeper.errors import UsageError
from deeper.evaluation import Comparison, Evaluation, align, compare
from deeper.evaluation.comparison_figure import draw
from deeper.evaluation.comparison_table import escaped, latex
from tests.drawn import words_cut_off


def judged(right: list[bool], *, ids=None, classes=("a", "b"), order=None) -> Evaluation:
    """Two classes in turn; the answer is right where `right` says so."""
    count = len(right)
    names = np.array(["a", "b"])[np.arange(count) % 2]
    labels = np.array([classes.index(name) for name in names], np.int64)
    logits = np.zeros((count, 2), np.float32)
    logits[np.arange(count), np.where(right, labels, 1 - labels)] = 1
    order = np.arange(count) if order is None else order
    given = np.array(ids if ids is not None else [f"test/{index:03}" for index in range(count)], dtype=object)
    return Evaluation(classes, tuple(given[order]), labels[order], logits[order])


GOOD = [index % 10 != 0 for index in range(200)]
BAD = [index % 4 != 0 for index in range(200)]


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare({"good": judged(GOOD), "bad": judged(BAD), "$x$ & <b>\n[red]漢": judged(GOOD)})


def test_counts_and_paired_test(comparison):
    pair = comparison.pairs[0]
    both, only_first, only_second, neither = (
        sum(one is a and other is b for one, other in zip(GOOD, BAD, strict=True))
        for a, b in ((True, True), (True, False), (False, True), (False, False))
    )
    assert (pair.both, pair.only_first, pair.only_second, pair.neither) == (both, only_first, only_second, neither)
    assert pair.difference == pytest.approx(
        comparison.evaluations["good"].accuracy - comparison.evaluations["bad"].accuracy
    )
    assert pair.p_value == pytest.approx(binomtest(only_first, only_first + only_second).pvalue)
    assert pair.adjusted >= pair.p_value and pair.differs
    assert pair.interval[0] < pair.difference < pair.interval[1]
    same = comparison.pairs[1]
    assert same.difference == 0 and same.p_value == same.adjusted == 1 and not same.differs


def test_order_of_pictures_and_of_classes_does_not_matter():
    shuffled = judged(BAD, classes=("b", "a"), order=np.random.default_rng(0).permutation(200))
    straight = compare({"good": judged(GOOD), "bad": judged(BAD)}).pairs[0]
    assert compare({"good": judged(GOOD), "bad": shuffled}).pairs[0] == straight


def test_different_pictures_are_refused_by_name():
    ids = [f"test/{index:03}" for index in range(200)]
    with pytest.raises(UsageError, match=r"one and other were judged on different pictures: 1 only by one, test/007"):
        align({"one": judged(GOOD), "other": judged(GOOD, ids=[*ids[:7], "elsewhere", *ids[8:]])})
    with pytest.raises(UsageError, match=r"50 only by one, test/150 among them"):
        align({"one": judged(GOOD), "other": judged(GOOD[:150])})


def test_different_labels_are_refused_by_name():
    relabelled = judged(GOOD)
    relabelled.labels[3] = 0
    with pytest.raises(UsageError, match=r"different labels: test/003 is b for one and a for the other"):
        compare({"one": judged(GOOD), "other": relabelled})


def test_one_id_twice_is_refused():
    with pytest.raises(UsageError, match="twice under one id"):
        compare({"one": judged(GOOD[:2], ids=["x", "x"]), "other": judged(GOOD[:2])})


def test_one_alone_is_no_comparison():
    with pytest.raises(UsageError, match="at least two"):
        compare({"one": judged(GOOD)})


def test_json(comparison):
    plain = json.loads(json.dumps(comparison.to_plain(), allow_nan=False))
    assert [run["run"] for run in plain["runs"]] == list(comparison.evaluations)
    assert len(plain["pairs"]) == 3
    assert set(plain["pairs"][0]) >= {
        "first",
        "second",
        "difference",
        "interval",
        "p_value",
        "adjusted_p_value",
        "differs",
    }


def test_the_figure_is_vector_text_and_deterministic(comparison, tmp_path):
    draw(comparison, tmp_path / "one.svg")
    draw(comparison, tmp_path / "other.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
    root = ElementTree.parse(tmp_path / "one.svg").getroot()
    words = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "good − bad" in words and "p < 0.001" in words
    # Names are shown as they are: no mathematics, no markup, one line.
    assert "$x$ & <b>\\n[red]漢" in words
    assert not list(root.iter("{http://www.w3.org/2000/svg}image"))


@pytest.mark.parametrize("name", ["figure.pdf", "figure.PNG"])
def test_the_other_kinds_of_figure(comparison, tmp_path, name):
    draw(comparison, tmp_path / name)
    if name.endswith("pdf"):
        data = (tmp_path / name).read_bytes()
        assert data.startswith(b"%PDF") and b"CreationDate" not in data
        return
    with Image.open(tmp_path / name) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] == 1260
    # Both colours are there: something was drawn, and the verdicts with it.
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
        assert (pixels == colour).all(axis=2).sum() > 100


def test_no_word_is_cut_off_whatever_the_names(comparison, tmp_path, monkeypatch):
    lost = words_cut_off(monkeypatch)
    long = "inception_v3-fine-tuned-with-a-long-name-"
    for names in (("a", "b"), (f"{long}1", f"{long}2"), ("W" * 40, "M" * 40, "a")):
        draw(compare(dict(zip(names, map(judged, (GOOD, BAD, BAD)), strict=False))), tmp_path / "figure.png")
    assert not lost


def test_another_ending_is_refused(comparison, tmp_path):
    with pytest.raises(UsageError, match=r"\.svg, \.pdf or \.png"):
        draw(comparison, tmp_path / "figure.jpg")
    assert not list(tmp_path.iterdir())


def test_latex_escapes_names():
    assert escaped("50% & $x_1$ #~^{}\\") == (
        r"50\% \& \$x\_1\$ \#\textasciitilde{}\textasciicircum{}\{\}\textbackslash{}"
    )
    assert "\n" not in escaped("a\nb") and escaped("a--[b") == "a{-}{-}{[}b"


def test_latex_is_two_balanced_tabulars(comparison):
    text = latex(comparison)
    assert text.count("\\begin{tabular}") == text.count("\\end{tabular}") == 2
    assert text.count("\\toprule") == text.count("\\midrule") == text.count("\\bottomrule") == 2
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert len(rows) == 2 + 3 + 3
    for row in rows:
        assert row.replace("\\&", "").count("&") == 5
        plain = row.replace("\\{", "").replace("\\}", "")
        assert plain.count("{") == plain.count("}")
