"""A learning curve of real trainings: subsets, equal steps, going on, and what is refused."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest

from deeper.cli import main
from deeper.errors import RunError, UsageError
from deeper.records import BuildOptions, build, open_source
from deeper.runs import Run, learn_curve, train
from deeper.runs.interrupts import Interrupts
from deeper.runs.learning_curve import _stretched
from deeper.runs.pictures import share_members
from deeper.runs.plan import _override
from deeper.runs.work import Work
from deeper.training.course import Course, sized, steps_of
from deeper.training.options import FineTuning, Options
from deeper.training.stages import Stage
from deeper.values import from_plain, to_plain

NETWORK = """
from torch import nn

class Small(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))

    def forward(self, images):
        return self.body(images)
"""
QUICK = {"batch": 50, "precision": "fp32"}
# The embedded digits are easy: the smallest share has three of each, and fewer than a batch.
SHARES = (5, 20, 100)


@pytest.fixture(scope="module")
def curve(small_dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("curves") / "curve"
    return learn_curve(small_dataset, shares=SHARES, seeds=2, epochs=8, out=out, options=QUICK, quiet=True)


def test_more_pictures_err_less(curve):
    assert curve.complete and curve.judged == 150
    assert [point.pictures for point in curve.points] == [30, 120, 600]
    means = [point.mean for point in curve.points]
    # Three digits of each class are too few; the larger shares may both be near what this set allows.
    assert min(means[1:]) > means[0] + 0.05
    for point in curve.points:
        assert point.interval[0] < point.mean < point.interval[1] and len(point.accuracies) == 2
    assert curve.answer is not None and curve.answer.exponent > 0


def test_all_runs_take_equally_many_steps(curve):
    runs = [Run(curve.path / run) for point in curve.points for run in point.runs]
    assert len({run.config.steps for run in runs}) == 1
    assert [run.config.share for run in runs] == [0.05, 0.05, 0.2, 0.2, 1.0, 1.0]


def test_stages_of_sides_that_differ_are_the_same_for_every_share():
    options = Options(stages=(Stage(scale=0.45), Stage(scale=0.55), Stage()), epochs=4, batch=8)
    size = {"height": 299, "width": 143, "batch": 8}
    whole = sized(options.stages, **size)
    assert [one.size for one in whole] == [(135, 64), (164, 79), (299, 143)]
    changes = _stretched(options, whole, 400, 100, "steps")
    changed = from_plain(Options, _override(to_plain(options), changes), "share")
    assert [one.size for one in sized(changed.stages, **size)] == [one.size for one in whole]


@pytest.mark.parametrize("pictures", [5, 30, 47, 300, 599])
def test_stages_take_equally_many_steps_whatever_the_share(pictures):
    """Also where their batches differ, and an epoch of the share has a single step of one and several of another."""
    stages = [Stage(scale=0.5, share=0.5, batch=64), Stage(scale=0.75, share=0.37, batch=32), Stage(batch=16)]
    options = Options(stages=tuple(stages), epochs=7, batch=32, fine_tuning=FineTuning(freeze_epochs=1.5))
    size = {"height": 40, "width": 30, "batch": 32}
    whole = sized(options.stages, **size)
    changes = _stretched(options, whole, 600, pictures, "steps")
    changed = from_plain(Options, _override(to_plain(options), changes), "share")
    part = sized(changed.stages, **size)
    assert [(one.size, one.batch) for one in part] == [(one.size, one.batch) for one in whole]
    wanted = steps_of(whole, epochs=options.epochs, pictures=600)
    assert steps_of(part, epochs=changed.epochs, pictures=pictures) == wanted
    # So do the steps that train the head alone.
    frozen = [
        Course(stages, wanted, pictures=count).steps_for(one.fine_tuning.freeze_epochs)
        for one, stages, count in ((options, whole, 600), (changed, part, pictures))
    ]
    assert frozen[0] == frozen[1] >= 1


def test_a_staged_curve(small_dataset, tmp_path, monkeypatch):
    (tmp_path / "staged_curve_net.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    stages = [{"scale": 0.5, "share": 0.6, "batch": 60}, {"share": 0.4, "batch": 30}]
    options = {**QUICK, "stages": stages}
    found = learn_curve(
        small_dataset, model="staged_curve_net:Small", shares=(7, 100), seeds=1, epochs=2, out=tmp_path / "curve",
        options=options, quiet=True,
    )  # fmt: skip
    counts = {Run(found.path / run).config.stage_steps for point in found.points for run in point.runs}
    assert counts == {(12, 16)}


def test_the_whole_share_is_the_plain_training(curve, small_dataset, tmp_path):
    train(small_dataset, epochs=8, out=tmp_path / "plain", options=QUICK, seed=1, quiet=True)
    name = "bundle/weights.safetensors"
    assert (tmp_path / "plain" / name).read_bytes() == (curve.path / "100-percent" / "seed-1" / name).read_bytes()


def test_the_folder(curve):
    names = {path.name for path in curve.path.iterdir()}
    figures = {"learning-curve.png", "learning-curve.svg"}
    assert names == {"5-percent", "20-percent", "100-percent", "learning-curve.json", "learning-curve.csv"} | figures
    plain = json.loads((curve.path / "learning-curve.json").read_text())
    assert plain == json.loads(json.dumps(curve.to_plain()))
    assert len((curve.path / "learning-curve.csv").read_text().splitlines()) == 7
    text = (curve.path / "learning-curve.svg").read_text()
    assert "errors on 150 validation pictures" in text and "2 seeds" in text


def test_what_is_done_is_not_trained_again(curve, small_dataset):
    metrics = {path: path.read_bytes() for path in curve.path.rglob("metrics.jsonl")}
    again = learn_curve(small_dataset, shares=SHARES, seeds=2, epochs=8, out=curve.path, options=QUICK, quiet=True)
    assert again == curve
    for path, before in metrics.items():
        lines = [json.loads(line)["event"] for line in path.read_bytes().splitlines()]
        assert lines.count("step") == [json.loads(line)["event"] for line in before.splitlines()].count("step")


def test_other_options_are_refused_and_harm_nothing(curve, small_dataset):
    before = sorted(str(path) for path in curve.path.rglob("*"))
    with pytest.raises(RunError, match=r"seed-0 was trained with another .*label_smoothing; give the same options"):
        learn_curve(
            small_dataset,
            shares=SHARES,
            seeds=2,
            epochs=8,
            out=curve.path,
            options={**QUICK, "label_smoothing": 0.3},
            quiet=True,
        )
    with pytest.raises(RunError, match="single run"):
        learn_curve(small_dataset, out=curve.path / "5-percent" / "seed-0", quiet=True)
    assert sorted(str(path) for path in curve.path.rglob("*")) == before


def test_shares_are_stratified_nested_and_a_function_of_the_ids():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [400, 80, 3])
    keys = generator.integers(0, 2**63, len(labels)).astype(np.uint64)
    sizes = {}
    kept = {share: set(share_members(labels, keys, share).tolist()) for share in (0.1, 0.25, 0.5, 1.0)}
    for share, members in kept.items():
        sizes[share] = np.bincount(labels[list(members)]).tolist()
    assert sizes == {0.1: [40, 8, 1], 0.25: [100, 20, 1], 0.5: [200, 40, 2], 1.0: [400, 80, 3]}
    assert kept[0.1] < kept[0.25] < kept[0.5] < kept[1.0]
    # Stored in another order, the same pictures are kept.
    turned = generator.permutation(len(labels))
    again = share_members(labels[turned], keys[turned], 0.25)
    assert {int(keys[turned][position]) for position in again} == {int(keys[position]) for position in kept[0.25]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shares": (100,)}, "at least two different percentages"),
        ({"shares": (0, 100)}, "at least two different percentages up to 100"),
        ({"shares": (50, 50, 100)}, "at least two different"),
        ({"shares": (0.2, 0.3, 100)}, r"0.2 and 0.3 % keep equally many pictures, \d+ of 600"),
        ({"shares": (50, 101)}, "up to 100, such as 25,50,100; got 50, 101"),
        ({"seeds": 0}, "at least 1, got 0"),
        ({"options": {"seed": 5}}, "options hold a seed; give the first of them as --seed"),
        ({"minutes": 1, "equal": "epochs"}, "leave --equal epochs out, or give --epochs"),
    ],
)
def test_bad_shares(small_dataset, tmp_path, given, message):
    with pytest.raises(UsageError, match=message):
        learn_curve(small_dataset, out=tmp_path / "curve", quiet=True, **given)
    assert list(tmp_path.iterdir()) == []


def test_a_share_of_a_training_must_be_one(small_dataset, tmp_path):
    with pytest.raises(UsageError, match=r"above 0 and at most 1, got 50"):
        train(small_dataset, epochs=1, share=50, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_without_validation_pictures_nothing_is_trained(tmp_path):
    digits = open_source("digits")
    items = [item for item in digits.items if item.split == "train"][:40]
    arrays = {"train": (np.stack([item.array for item in items]), [item.label for item in items])}
    build(open_source(arrays), tmp_path / "small", options=BuildOptions(workers=1, validation=0.0))
    with pytest.raises(RunError, match="--validation 0.1"):
        learn_curve(tmp_path / "small", out=tmp_path / "curve", quiet=True)
    assert not (tmp_path / "curve").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_its_first_run_it_exits_as_interrupts_do(small_dataset, tmp_path, monkeypatch, capsys, number):
    def asked(self) -> bool:
        Interrupts.received = number
        return True

    monkeypatch.setattr(Interrupts, "asked", asked)
    words = ["--epochs", "1", "--batch", "50", "--precision", "fp32", "--shares", "50,100", "--seeds", "1"]
    with pytest.raises(SystemExit) as left:
        main(["learn-curve", str(small_dataset.path), *words, "--out", str(tmp_path / "curve")])
    assert left.value.code == 128 + number
    assert "interrupted and saved; the same command goes on" in capsys.readouterr().out
    assert not (tmp_path / "curve" / "learning-curve.json").exists()


def test_an_interrupt_in_the_last_moment_of_a_run_ends_the_curve(small_dataset, tmp_path, monkeypatch):
    finish = Work._finish

    def late(self, event):
        os.kill(os.getpid(), signal.SIGINT)
        return finish(self, event)

    given = {"shares": (50, 100), "seeds": 1, "epochs": 1, "out": tmp_path / "curve", "options": QUICK, "quiet": True}
    with monkeypatch.context() as patch:
        patch.setattr(Work, "_finish", late)
        found = learn_curve(small_dataset, **given)
    assert [point.percent for point in found.points] == [50] and not found.complete
    assert json.loads((tmp_path / "curve" / "learning-curve.json").read_text()) == found.to_plain()
    assert learn_curve(small_dataset, **given).complete


def test_only_the_first_run_is_fitted_into_the_minutes(small_dataset, tmp_path, monkeypatch):
    fitted = iter(range(7, 100))
    monkeypatch.setattr("deeper.runs.work.steps_within", lambda *_, **__: (next(fitted),))
    given = {"shares": (50, 100), "seeds": 2, "minutes": 0.5, "out": tmp_path / "curve", "quiet": True}
    found = learn_curve(small_dataset, options=QUICK, **given)
    assert [Run(found.path / run).config.steps for point in found.points for run in point.runs] == [7] * 4
    # A smaller share that is added goes by those that are there.
    found = learn_curve(small_dataset, options=QUICK, **{**given, "shares": (20, 50, 100), "seeds": 1})
    assert [Run(found.path / run).config.steps for point in found.points for run in point.runs] == [7] * 3


def test_epochs_among_the_options_count(small_dataset, tmp_path):
    given = {"shares": (50, 100), "seeds": 1, "out": tmp_path / "curve", "quiet": True}
    found = learn_curve(small_dataset, options={**QUICK, "epochs": 1}, **given)
    assert {Run(found.path / run).config.steps for point in found.points for run in point.runs} == {12}
