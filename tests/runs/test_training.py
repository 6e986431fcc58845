"""A run as a whole: what is in its folder, what it learns, what repeats exactly."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import tomllib
from types import SimpleNamespace

import numpy as np
import pytest

from deeper.errors import RunError, SourceError, UsageError
from deeper.models.kernels import switched_off
from deeper.prediction import Classifier
from deeper.runs import Fold, Run, evaluate_run, folds, repeat, resume, seed_names, train
from deeper.runs.pictures import fold_members
from deeper.runs.work import Work
from deeper.training.events import DetailDone, EpochDone, StepDone
from tests.patience import slowness

QUICK = {"batch": 50, "precision": "fp32", "report_every": 4}


@pytest.fixture(scope="module")
def finished(small_dataset, tmp_path_factory):
    return train(
        small_dataset,
        model="nielsen",
        epochs=6,
        out=tmp_path_factory.mktemp("runs") / "first",
        quiet=True,
        options=QUICK,
    )


def test_it_learns(finished):
    assert finished.reason == "done" and finished.step == 72
    assert finished.validation.accuracy > 0.8
    assert evaluate_run(finished.run, split="test").accuracy > 0.75


def test_the_folder_holds_what_the_formats_say(finished):
    names = {path.name for path in finished.run.path.iterdir()}
    assert names == {"config.toml", "metrics.jsonl", "tensorboard", "checkpoints", "bundle"}
    config = tomllib.loads((finished.run.path / "config.toml").read_text())
    assert config["steps"] == 72 and config["options"]["model"] == "nielsen"
    assert config["options"]["distortions"][0] == {"name": "rotation", "degrees": 10.0}
    lines = [json.loads(line) for line in (finished.run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["event"] == "step"] == list(range(4, 73, 4))


def test_evaluation_classifier_and_checkpoint_agree(finished, small_dataset):
    by_bundle = evaluate_run(finished.run, split="test")
    by_checkpoint = evaluate_run(finished.run, split="test", checkpoint="last")
    assert np.array_equal(by_bundle.logits, by_checkpoint.logits)
    classifier = Classifier(finished.run.path)
    split = small_dataset.split("test")
    pictures = np.stack([split.picture(position) for position in range(len(split))])
    assert [prediction.index for prediction in classifier(pictures)] == by_bundle.predicted.tolist()


def test_the_same_seed_gives_the_same_run_whatever_the_workers(small_dataset, tmp_path):
    weights = []
    for workers in (1, 3):
        out = tmp_path / f"workers-{workers}"
        train(small_dataset, epochs=1, out=out, quiet=True, options=QUICK, workers=workers, seed=5)
        weights.append((out / "bundle" / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]
    train(small_dataset, epochs=1, out=tmp_path / "other", quiet=True, options=QUICK, seed=6)
    assert (tmp_path / "other" / "bundle" / "weights.safetensors").read_bytes() != weights[0]


def test_a_golden_loss_curve(small_dataset, tmp_path, monkeypatch):
    """A change of the loop, the draws, the distortions or the network that changes training shows here. By PyTorch's own
    operators: where two results nearly tie, the kernels' other rounding lets another one win a pool, and 24 steps of AdamW
    make 3 % of that."""
    monkeypatch.setenv("DEEPER_KERNELS", "off")
    losses = []

    def note(event):
        if isinstance(event, StepDone):
            losses.append(event.loss)

    options = QUICK | STATED
    with switched_off():
        train(small_dataset, epochs=2, out=tmp_path / "run", quiet=True, options=options, seed=1, handlers=[note])
    np.testing.assert_allclose(losses, GOLDEN, rtol=1e-2)


# What a recipe tunes is stated here, so that a better recipe leaves the curve as it is.
STATED = {
    "label_smoothing": 0.1,
    "optimizer.name": "adamw",
    "optimizer.rate": 0.0045,
    "optimizer.beta2": 0.99,
    "optimizer.weight_decay": 0.01,
    "schedule.name": "one_cycle",
    "schedule.peak_at": 0.2,
}
# Printed by this test on 2026-11-23; fp32 on one thread.
GOLDEN = [2.297395, 2.220505, 2.021027, 1.951152, 1.709094, 1.515639]


def test_minutes_become_a_fixed_number_of_steps(small_dataset, tmp_path):
    slow_by = slowness()
    result = train(small_dataset, minutes=0.08, out=tmp_path / "run", quiet=True, options=QUICK)
    assert result.reason == "done"
    assert Run(tmp_path / "run").config.steps == result.step
    assert result.step > 1 and result.seconds < 15 * max(slow_by, slowness())


def test_minutes_that_leave_little_for_steps_say_so(small_dataset, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(Work, "_seconds_of_checks", lambda *_: 1000.0)
    train(small_dataset, minutes=0.005, out=tmp_path / "run", options=QUICK)
    said = capfd.readouterr()
    assert "give more --minutes" in said.out + said.err


def test_a_machine_that_became_busy_is_told(small_dataset, tmp_path, capfd):
    """The steps stay as they were fixed, so the minutes are overrun: that must not look like a mistake of the user's."""

    def dawdle(event):
        if isinstance(event, StepDone) and event.step <= 8:
            time.sleep(1.0)

    result = train(small_dataset, minutes=0.01, out=tmp_path / "run", options=QUICK, handlers=[dawdle])
    assert result.reason == "done" and "where --minutes 0.01 was asked" in capfd.readouterr().err


def test_interrupted_before_the_first_step_says_what_is_left(small_dataset, tmp_path, capfd, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Work, "begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(small_dataset, epochs=1, out=tmp_path / "run", options=QUICK)
    assert "interrupted before the first step" in capfd.readouterr().err and not (tmp_path / "run").exists()


def test_terminated_before_the_first_step_leaves_as_little(small_dataset, tmp_path, capfd, monkeypatch):
    def terminated(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(Work, "begin", terminated)
    with pytest.raises(SystemExit) as ended:
        train(small_dataset, epochs=1, out=tmp_path / "run", options=QUICK)
    assert ended.value.code == 143
    assert "interrupted before the first step" in capfd.readouterr().err and not (tmp_path / "run").exists()


def test_a_run_is_not_taken_for_pictures(finished, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="is a run, not pictures"):
        train(finished.run.path, epochs=1, out=tmp_path / "run", quiet=True)
    assert not any(tmp_path.iterdir())


def test_a_finished_run_says_so(finished, capfd):
    result = resume(finished.run.path)
    assert result.step == 72 and "finished already, at step 72: nothing is left to train" in capfd.readouterr().err


def test_every_validation_comes_with_a_report(small_dataset, tmp_path):
    """On a small dataset an epoch is shorter than the steps between two reports: its figures must still be its own."""
    events = []
    options = {**QUICK, "report_every": 1000, "validate_every": 0.5}
    train(small_dataset, epochs=2, out=tmp_path / "run", quiet=True, options=options, handlers=[events.append])
    validated = [event.step for event in events if isinstance(event, EpochDone)]
    reports = [event for event in events if isinstance(event, StepDone)]
    assert validated == [6, 12, 18, 24] == [event.step for event in reports]
    assert len({event.loss for event in reports}) == 4


def test_the_timed_steps_leave_no_trace(small_dataset, tmp_path):
    """A run of S steps by --minutes equals a run of S steps by --epochs."""
    timed = train(small_dataset, minutes=0.03, out=tmp_path / "timed", quiet=True, options=QUICK)
    train(small_dataset, epochs=timed.step / 12, out=tmp_path / "counted", quiet=True, options=QUICK)
    name = "bundle/weights.safetensors"
    assert (tmp_path / "timed" / name).read_bytes() == (tmp_path / "counted" / name).read_bytes()


def test_early_stopping_keeps_the_best(small_dataset, tmp_path):
    scores = []

    def note(event):
        if isinstance(event, EpochDone):
            scores.append(event.evaluation.accuracy)

    options = {**QUICK, "early_stopping": 1, "keep_best": True, "validate_every": 0.5}
    result = train(small_dataset, epochs=40, out=tmp_path / "run", quiet=True, options=options, handlers=[note])
    assert result.reason == "early"
    assert scores[-1] <= max(scores[:-1])
    assert evaluate_run(result.run, split="validation").accuracy == max(scores)


def test_a_run_is_paced_by_one_of_its_own_batches_only(finished, small_dataset, tmp_path):
    given = {"minutes": 1, "paced_by": finished.run.path, "out": tmp_path / "run", "quiet": True}
    with pytest.raises(UsageError, match="other picture sizes, batches or minutes"):
        train(small_dataset, options={**QUICK, "batch": 30}, **given)
    assert not (tmp_path / "run").exists()
    paced = train(small_dataset, options=QUICK, **given)
    assert paced.step == finished.step


def test_a_finished_run_resumes_to_itself(finished):
    before = (finished.run.path / "bundle" / "weights.safetensors").read_bytes()
    again = resume(finished.run.path, quiet=True)
    assert again.step == finished.step
    assert (finished.run.path / "bundle" / "weights.safetensors").read_bytes() == before


def test_folds_part_the_pictures(small_dataset):
    split = small_dataset.split("train")
    members = [fold_members([split], fold) for fold in folds(4)]
    assert np.array_equal(np.sum(members, axis=0), np.ones(len(split)))
    per_class = np.array([np.bincount(split.labels[one], minlength=10) for one in members])
    assert (per_class.max(axis=0) - per_class.min(axis=0) <= 1).all(), "of each class an equal part"


def test_folds_keep_groups_whole(small_dataset):
    given = small_dataset.split("train")
    groups = [f"writer {number // 6}" for number in range(len(given))]
    split = SimpleNamespace(ids=given.ids, labels=given.labels, keys=given.keys, groups=groups)
    members = [fold_members([split], fold) for fold in folds(3)]
    assert np.array_equal(np.sum(members, axis=0), np.ones(len(groups)))
    for one in members:
        assert not set(np.array(groups)[one]) & set(np.array(groups)[~one])


def test_a_fold_that_was_begun_before_folds_knew_groups_keeps_its_pictures(small_dataset, tmp_path):
    train(small_dataset, epochs=1, out=tmp_path / "run", quiet=True, options=QUICK, fold=Fold(index=0, count=3))
    config = tmp_path / "run" / "config.toml"
    assert Run(tmp_path / "run").config.fold.drawn == "groups"
    config.write_text(config.read_text().replace('drawn = "groups"\n', ""))
    fold = Run(tmp_path / "run").config.fold
    assert fold.drawn == "pictures"
    chosen = fold_members([small_dataset.split("train")], fold)
    assert chosen.sum() == 200


def test_a_fold_validates_on_what_it_does_not_train_on(small_dataset, tmp_path):
    seen, judged = set(), set()

    def note(event):
        if isinstance(event, DetailDone):
            seen.update(event.ids)
        elif isinstance(event, EpochDone):
            judged.update(event.evaluation.ids)

    options = {**QUICK, "detail_every": 1}
    fold = Fold(index=1, count=3)
    train(small_dataset, epochs=1, out=tmp_path / "run", quiet=True, options=options, fold=fold, handlers=[note])
    assert len(judged) == 250 and len(seen) == 500
    assert not seen & judged


def test_a_series_reports_mean_and_deviation_and_goes_on_where_it_stopped(small_dataset, tmp_path):
    def one(path, number):
        return train(small_dataset, epochs=1, out=path, quiet=True, options=QUICK, seed=number, existing="resume")

    out = tmp_path / "series"
    first = one(out / "seed-0", 0)
    summary = repeat(out, seed_names(0, 3), one)
    assert summary.names == ("seed-0", "seed-1", "seed-2") and summary.complete
    assert summary.accuracies[0] == first.validation.accuracy
    assert summary.mean == pytest.approx(np.mean(summary.accuracies))
    assert summary.deviation == pytest.approx(np.std(summary.accuracies, ddof=1))
    assert json.loads((out / "summary.json").read_text())["mean"] == summary.mean
    with pytest.raises(RunError, match="single run"):
        repeat(out / "seed-0", ["a", "b"], one)
    with pytest.raises(UsageError, match="at least 2"):
        seed_names(0, 1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "summary.json").write_text("my own notes")
    with pytest.raises(RunError, match="summary.json in .*other is not this series'"):
        repeat(tmp_path / "other", seed_names(0, 2), one)
    assert (tmp_path / "other" / "summary.json").read_text() == "my own notes"


def test_a_series_ends_with_the_run_in_whose_last_step_it_was_interrupted(small_dataset, tmp_path):
    """Too late for that run to stop: it is done, and counts."""

    def interrupt(event):
        if isinstance(event, EpochDone):
            os.kill(os.getpid(), signal.SIGINT)

    def one(path, number):
        return train(
            small_dataset, epochs=1, out=path, quiet=True, options={**QUICK, "validate_every": 1}, seed=number,
            handlers=[interrupt], existing="resume",
        )  # fmt: skip

    out, names = tmp_path / "series", seed_names(0, 2)
    summary = repeat(out, names, one)
    assert summary.names == ("seed-0",) and not summary.complete and not (out / "seed-1").exists()
    plain = json.loads((out / "summary.json").read_text())
    assert plain["complete"] is False and len(plain["runs"]) == 1
    # The first is gone on with, and has no step left to be interrupted in; after the last nothing is left out.
    summary = repeat(out, names, one)
    assert summary.names == ("seed-0", "seed-1") and summary.complete


def test_a_fold_and_a_share_are_refused_together(small_dataset, tmp_path):
    with pytest.raises(UsageError, match="fold and share cannot be combined"):
        train(small_dataset, out=tmp_path / "run", quiet=True, fold=Fold(index=0, count=2), share=0.5)
    assert list(tmp_path.iterdir()) == []


def test_a_series_refuses_runs_of_another_training(small_dataset, tmp_path):
    """Else the figures of one training would be reported as those of another."""

    def one(epochs, fold=None):
        return lambda path, number: train(
            small_dataset, epochs=epochs, out=path, quiet=True, options=QUICK, fold=fold, existing="resume"
        )

    out = tmp_path / "series"
    one(1, Fold(index=0, count=2))(out / "fold-0", 0)
    with pytest.raises(RunError, match="fold-0 was trained with another epochs; give the same options as then"):
        repeat(out, ["fold-0"], one(2, Fold(index=0, count=2)))
    with pytest.raises(RunError, match="another fold"):
        repeat(out, ["fold-0"], one(1, Fold(index=0, count=3)))
    assert not (out / "summary.json").exists()


def test_early_stopping_reports_the_weights_that_it_keeps(small_dataset, tmp_path):
    result = train(
        small_dataset, epochs=12, out=tmp_path / "run", quiet=True,
        options={**QUICK, "early_stopping": 1, "keep_best": True, "validate_every": 1, "optimizer.rate": 0.02},
    )  # fmt: skip
    kept = evaluate_run(tmp_path / "run", split="validation")
    assert result.validation.accuracy == kept.accuracy
    again = resume(tmp_path / "run", quiet=True)
    assert again.validation.accuracy == kept.accuracy
    # Also where the checkpoint of those weights is lost: the bundle has them.
    checkpoints = tmp_path / "run" / "checkpoints"
    best, last = Run(tmp_path / "run").step_of("best"), Run(tmp_path / "run").step_of("last")
    assert best < last
    shutil.rmtree(checkpoints / f"step-{best:08}")
    other = evaluate_run(tmp_path / "run", split="validation", checkpoint="last")
    assert not np.allclose(other.logits, kept.logits, atol=1e-3)
    np.testing.assert_allclose(resume(tmp_path / "run", quiet=True).validation.logits, kept.logits, atol=1e-4)


def test_a_training_shorter_than_the_average_keeps_what_it_learned(small_dataset, tmp_path):
    options = {**QUICK, "averaging": {"decay": 0.9, "every": 1000}}
    short = train(small_dataset, epochs=1, out=tmp_path / "run", quiet=True, options=options)
    untrained = train(
        small_dataset, epochs=1, out=tmp_path / "new", quiet=True, options={**options, "optimizer.rate": 1e-9}
    )
    assert short.validation.negative_log_likelihood < untrained.validation.negative_log_likelihood


def test_no_more_is_written_than_was_said(small_dataset, tmp_path, capsys):
    options = {**QUICK, "validate_every": 1, "checkpoint_every": 1}
    train(small_dataset, epochs=4, out=tmp_path / "run", options=options, no_distort=("all",), audit=False)
    said = capsys.readouterr()
    (line,) = [line for line in (said.out + said.err).splitlines() if "on disk" in line]
    most = float(line.split("up to ")[1].split(" MB")[0].replace(",", "")) * 1e6
    written = sum(
        path.stat().st_size for name in ("checkpoints", "bundle") for path in (tmp_path / "run" / name).rglob("*")
    )
    assert most / 2 < written <= 1.05 * most


def test_a_network_of_ones_own_works_like_a_built_in_one(small_dataset, tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text(
        "from torch import nn\n"
        "class Tiny(nn.Module):\n"
        "    def __init__(self, classes, width=16):\n"
        "        super().__init__()\n"
        "        self.body = nn.Sequential(nn.Conv2d(1, width, 5, 2), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.2),\n"
        "                                  nn.Flatten(), nn.Linear(width * 144, classes))\n"
        "    def forward(self, x):\n"
        "        return self.body(x)\n"
    )
    monkeypatch.chdir(tmp_path)
    options = {**QUICK, "arguments.width": 8}
    result = train(small_dataset, model="my_nets:Tiny", epochs=4, out=tmp_path / "run", quiet=True, options=options)
    assert result.validation.accuracy > 0.6
    assert evaluate_run(result.run, split="test").total == 150
    assert (
        Classifier(tmp_path / "run", model="my_nets:Tiny")(np.zeros((28, 28), np.uint8)).label in small_dataset.classes
    )


def test_epochs_and_seed_may_stand_among_the_options(small_dataset, tmp_path) -> None:
    one = train(small_dataset, out=tmp_path / "one", quiet=True, options={**QUICK, "epochs": 1, "seed": 3})
    two = train(small_dataset, out=tmp_path / "two", quiet=True, options={**QUICK, "epochs": 4}, epochs=1, seed=3)
    assert one.step == two.step == 12
    assert one.run.config.options == two.run.config.options and one.run.config.options.seed == 3
