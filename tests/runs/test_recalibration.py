"""The trap of slow batch norm: running statistics that have not arrived when a short training ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import deeper
from deeper import checkpoint, draws
from deeper.errors import UsageError
from deeper.monitor import WALL_CLOCK_FIELDS
from deeper.records import BuildOptions, build, open_source
from deeper.runs import Run, evaluate_run, resume, train
from deeper.runs.recalibration import CHECKED, MEASURED, _drawn, pictures_forward
from deeper.training.events import EpochDone, StepDone
from deeper.training.options import Options

OPTIONS = {"batch": 25, "precision": "fp32", "report_every": 4, "distortions": []}
MODEL = "slow_nets:Slow"
SOURCE = """
from torch import nn


class Slow(nn.Module):
    def __init__(self, classes, momentum=0.0003):
        super().__init__()
        self.first = nn.Conv2d(1, 8, 5, 3, bias=False)
        self.norm = nn.BatchNorm2d(8, momentum=momentum)
        self.second = nn.Conv2d(8, 16, 3, 2, bias=False)
        self.norm_2 = nn.BatchNorm2d(16, momentum=momentum)
        self.drop = nn.Dropout(0.1)
        self.last = nn.Linear(144, classes)

    def forward(self, x):
        x = self.norm(9 * self.first(x) + 9).relu()
        x = self.norm_2(9 * self.second(x) - 9).relu()
        return self.last(self.drop(x.flatten(1)))
"""


@pytest.fixture
def slow(tmp_path, monkeypatch) -> Path:
    (tmp_path / "slow_nets.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def line(run: Run) -> dict:
    lines = [json.loads(text) for text in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [one["event"] for one in lines][-2:] == ["batch_norm", "finished"]
    return lines[-2]


def test_the_slim_preset_on_a_short_training(small_dataset, tmp_path, capsys) -> None:
    """Momentum 0.0003: a network that has learned, and evaluates no better than guessing."""
    options = {**OPTIONS, "arguments.preset": "slim", "height": 32, "width": 32}
    result = train(small_dataset, model="inception_v1", epochs=2.5, out=tmp_path / "run", audit=False, options=options)
    found = line(result.run)
    assert found["running_accuracy"] < 0.25 and found["accuracy_before"] < 0.25
    assert found["batch_accuracy"] > 0.4 and found["differs"] and found["recalibrated"]
    assert result.validation.accuracy == found["accuracy_after"] > found["batch_accuracy"] - 0.1
    assert evaluate_run(result.run, split="validation").accuracy == pytest.approx(found["accuracy_after"], abs=0.02)
    # Checkpoints hold what the training had.
    assert evaluate_run(result.run, split="validation", checkpoint="last").accuracy < 0.25
    described = json.loads((result.run.bundle_path / "bundle.json").read_text())
    assert described["training"]["batch_norm"]["recalibrated"] is True
    assert described["metrics"]["validation"]["accuracy"] == found["accuracy_after"]
    shown = capsys.readouterr().err
    assert shown.count("evaluation differs from training") == 1
    assert "running statistics measured anew on 600 training pictures: of 150 validation pictures" in shown


def test_as_asked_they_are_left_alone(small_dataset, slow, run_deeper) -> None:
    settings = [word for name in ("precision=fp32", "averaging.decay=0.5") for word in ("--set", name)]
    words = ["train", small_dataset.path, "--model", MODEL, "--epochs", 6, "--batch", 25, "--no-distort", "all"]
    done = run_deeper(*words, "--out", "left", "--no-recalibrate", "--json", *settings, cwd=slow)
    left = json.loads(done.stdout)
    assert left["batch_norm"]["differs"] and not left["batch_norm"]["recalibrated"]
    assert left["validation_accuracy"] < 0.6
    done = run_deeper(*words, "--out", "mended", "--json", *settings, cwd=slow)
    mended = json.loads(done.stdout)
    assert mended["batch_norm"]["recalibrated"]
    assert mended["validation_accuracy"] > left["validation_accuracy"] + 0.1
    # Looking and measuring is no part of the training: the checkpoints are the same.
    last = "checkpoints/step-00000144/tensors.safetensors"
    assert (slow / "left" / last).read_bytes() == (slow / "mended" / last).read_bytes()


def test_nothing_to_find_nothing_done(small_dataset, slow) -> None:
    fast = train(
        small_dataset,
        model=MODEL,
        epochs=6,
        out=slow / "fast",
        quiet=True,
        options={**OPTIONS, "arguments.momentum": 0.1},
    )
    found = line(fast.run)
    assert not found["differs"] and not found["recalibrated"] and found["accuracy_before"] is None
    without = train(small_dataset, model="nielsen", epochs=1, out=slow / "without", quiet=True, options=OPTIONS)
    assert without.batch_norm is None
    assert "batch_norm" not in (without.run.path / "metrics.jsonl").read_text()
    # Statistics that do not move in training are evaluated with as they were trained with.
    frozen = {**OPTIONS, "fine_tuning.batch_norm": "frozen_statistics"}
    assert (
        train(small_dataset, model=MODEL, epochs=1, out=slow / "frozen", quiet=True, options=frozen).batch_norm is None
    )


def test_a_run_that_ended_gives_its_bundle_again(small_dataset, slow, monkeypatch) -> None:
    """Killed between the last checkpoint and the last bundle, or resumed when all was done."""
    options = {**OPTIONS, "averaging.decay": 0.9, "averaging.every": 2}
    whole = train(small_dataset, model=MODEL, epochs=4, out=slow / "whole", quiet=True, options=options)
    assert whole.batch_norm is not None and whole.batch_norm["recalibrated"]

    def files(run: Path) -> list[bytes]:
        return [(run / "bundle" / name).read_bytes() for name in ("weights.safetensors", "golden.safetensors")]

    before, lines = files(slow / "whole"), (slow / "whole" / "metrics.jsonl").read_text().count("batch_norm")
    again = resume(slow / "whole", quiet=True)
    assert files(slow / "whole") == before and again.batch_norm == whole.batch_norm
    assert again.validation.accuracy == whole.validation.accuracy
    assert (slow / "whole" / "metrics.jsonl").read_text().count("batch_norm") == lines

    def killed(*arguments: object, **named: object) -> None:
        raise SystemExit(9)

    with monkeypatch.context() as patched:
        patched.setattr("deeper.runs.work.settle", killed)
        with pytest.raises(SystemExit):
            train(small_dataset, model=MODEL, epochs=4, out=slow / "cut", quiet=True, options=options)
    assert files(slow / "cut") != before
    resume(slow / "cut", quiet=True)
    assert files(slow / "cut") == before
    assert line(Run(slow / "cut")) == line(Run(slow / "whole"))


def test_the_best_weights_are_recalibrated_where_they_are_kept(small_dataset, slow) -> None:
    scores: dict[int, float] = {}

    def note(event: object) -> None:
        if isinstance(event, EpochDone):
            scores[event.step] = event.evaluation.accuracy

    options = {**OPTIONS, "keep_best": True, "validate_every": 0.5}
    result = train(small_dataset, model=MODEL, epochs=5, out=slow / "run", quiet=True, options=options, handlers=[note])
    best = max(scores, key=lambda step: scores[step])
    found = line(result.run)
    assert found["recalibrated"] and found["accuracy_before"] == max(scores.values())
    kept = deeper.bundle.load(result.run.bundle_path, model=MODEL).model.state_dict()
    _, tensors = checkpoint.read(result.run.checkpoints, best)
    for name, tensor in kept.items():
        if "running" not in name:
            assert np.array_equal(tensor, tensors[f"averaged/{name}"]), name
    before = (result.run.bundle_path / "weights.safetensors").read_bytes()
    resume(result.run.path, quiet=True)
    assert (result.run.bundle_path / "weights.safetensors").read_bytes() == before


def test_where_nothing_can_be_checked_the_best_weights_keep_their_own_evaluation(
    small_dataset, slow, monkeypatch
) -> None:
    scores: dict[int, float] = {}

    def note(event: object) -> None:
        if isinstance(event, EpochDone):
            scores[event.step] = event.evaluation.accuracy

    # As of an Inception whose head alone was trained: batch norm that trained, and none that evaluates.
    monkeypatch.setattr("deeper.runs.work.settle", lambda *_, **__: None)
    options = {
        **OPTIONS,
        "arguments.momentum": 0.3,
        "early_stopping": 3,
        "optimizer.rate": 0.05,
        "schedule": "constant",
    }
    result = train(
        small_dataset, model=MODEL, epochs=40, out=slow / "run", quiet=True, options=options, handlers=[note]
    )
    best = max(scores, key=lambda step: scores[step])
    assert result.reason == "early" and scores[best] > scores[result.step]
    assert result.validation.accuracy == scores[best]
    described = json.loads((result.run.bundle_path / "bundle.json").read_text())
    assert described["metrics"]["validation"]["accuracy"] == scores[best]
    assert resume(result.run.path, quiet=True).validation.accuracy == scores[best]


def test_without_validation_it_goes_by_training_pictures(small_dataset, slow) -> None:
    split = small_dataset.split("train")
    arrays = np.stack([split.picture(position) for position in range(300)])
    build(
        open_source({"train": (arrays, split.labels[:300])}), slow / "alone", options=BuildOptions(validation=0, test=0)
    )
    result = train(slow / "alone", model=MODEL, epochs=12, out=slow / "run", quiet=True, options=OPTIONS)
    assert result.validation is None
    assert result.batch_norm is not None and result.batch_norm["judged_on"] == "train"
    assert result.batch_norm["recalibrated"]


FINE_TUNED = {
    "batch": 25,
    "precision": "fp32",
    "report_every": 1,
    "checkpoint_every": 0.3,
    "fine_tuning.freeze_epochs": 2,
    "fine_tuning.freeze_until": "norm",
    "fine_tuning.layer_decay": 0.7,
    "recalibrate": "always",
}


@pytest.mark.parametrize("at", [11, 47, 48, 49, 61])
def test_cut_off_while_frozen_and_after(small_dataset, slow, fine_tuned, at) -> None:
    """Ended within a step, before, at and after the one that thaws (48): the same end to the bit."""

    def cut(event: object) -> None:
        if isinstance(event, StepDone) and event.step == at:
            raise SystemExit(9)

    first, reference = fine_tuned
    given = {"model": MODEL, "weights": first, "epochs": 4, "seed": 7, "quiet": True, "options": FINE_TUNED}
    with pytest.raises(SystemExit):
        train(small_dataset, out=slow / "run", handlers=[cut], **given)
    resume(slow / "run", quiet=True)
    last = checkpoint.steps(reference / "checkpoints")[-1]
    for name in (f"checkpoints/step-{last:08d}/tensors.safetensors", "bundle/weights.safetensors"):
        assert (slow / "run" / name).read_bytes() == (reference / name).read_bytes(), name
    assert lines(slow / "run") == lines(reference)


@pytest.fixture(scope="module")
def fine_tuned(small_dataset, tmp_path_factory) -> tuple[Path, Path]:
    """A run, and one that goes on from its weights without being cut off."""
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "slow_nets.py").write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        first = train(small_dataset, model=MODEL, epochs=1, out=folder / "first", quiet=True, options=OPTIONS).run.path
        second = train(
            small_dataset,
            model=MODEL,
            weights=first,
            epochs=4,
            seed=7,
            out=folder / "second",
            quiet=True,
            options=FINE_TUNED,
        )
    assert second.run.config.options.recipe == "fine-tune"
    return first, second.run.path


def lines(run: Path) -> list[dict]:
    read = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in one.items() if key not in WALL_CLOCK_FIELDS} for one in read]


def test_sizes_that_changed_are_reason_enough(small_dataset, tmp_path) -> None:
    options = {
        **OPTIONS,
        "height": 40,
        "width": 40,
        "stages": [{"scale": 0.8, "share": 0.5}, {}],
        "arguments.auxiliary": False,
    }
    result = train(small_dataset, model="inception_v1", epochs=0.5, out=tmp_path / "run", quiet=True, options=options)
    found = line(result.run)
    assert found["recalibration_pictures"] == 600
    assert found["recalibrated"] is (found["accuracy_after"] >= found["accuracy_before"])


def test_where_it_is_sure_all_validation_pictures_are_judged_once(small_dataset, slow, monkeypatch) -> None:
    """At the network's size a validation may cost minutes: the last one is of the statistics that are kept."""
    from deeper.runs import work

    judged: list[int] = []

    def counted(predict: object, batches: object, classes: object) -> object:
        found = evaluate(predict, batches, classes)
        judged.append(found.total)
        return found

    evaluate = work.evaluate
    monkeypatch.setattr(work, "evaluate", counted)
    options = {**OPTIONS, "recalibrate": "always", "validate_every": 10}
    result = train(small_dataset, model=MODEL, epochs=4, out=slow / "run", quiet=True, options=options)
    assert judged == [150]
    found, last = line(result.run), [one for one in lines(result.run.path) if one["event"] == "epoch"][-1]
    assert found["recalibrated"] and last["validation"]["accuracy"] == result.validation.accuracy
    assert evaluate_run(result.run, split="validation").accuracy == result.validation.accuracy


def test_checks_are_counted_before_they_are_paid() -> None:
    options = Options(recalibrate="auto")
    assert pictures_forward(options, staged=False, judged=5000, training=55_000) == 2 * CHECKED
    assert pictures_forward(options, staged=True, judged=5000, training=55_000) == 3 * CHECKED + MEASURED
    assert pictures_forward(replace(options, recalibrate="never"), staged=True, judged=0, training=80) == 160
    assert pictures_forward(replace(options, recalibrate="always"), staged=False, judged=40, training=80) == 200


def test_a_wrong_layer_is_answered_before_anything_is_written(small_dataset, slow) -> None:
    options = {**OPTIONS, "fine_tuning.freeze_until": "nrom"}
    with pytest.raises(UsageError, match="no layer 'nrom'; did you mean 'norm'"):
        train(small_dataset, model=MODEL, epochs=1, out=slow / "run", quiet=True, options=options)
    assert not (slow / "run").exists()


def test_what_was_frozen_is_what_was_loaded(fine_tuned) -> None:
    first, second = (checkpoint.read(run / "checkpoints", Run(run).step_of("last"))[1] for run in fine_tuned)
    loaded = deeper.bundle.load(fine_tuned[0] / "bundle", model=MODEL).model.state_dict()
    assert torch.equal(second["model/module.first.weight"], loaded["module.first.weight"])
    assert not torch.equal(second["model/module.second.weight"], loaded["module.second.weight"])
    assert not torch.equal(second["model/module.norm.running_mean"], loaded["module.norm.running_mean"])
    assert first.keys() >= {name for name in second if name.startswith("model/")}
    assert not [name for name in second if name.startswith("optimizer") and name.endswith("module.first.weight")]
    head = int(second["optimizer/step/module.last.weight"].item())
    assert (head, int(second["optimizer/step/module.second.weight"].item())) == (96, 48)


@pytest.mark.parametrize("frozen", [{"fine_tuning.freeze_epochs": 9}, {"fine_tuning.freeze_until": "Logits"}])
def test_a_head_alone_is_trained_and_its_run_ends_well(frozen, small_dataset, tmp_path) -> None:
    """Batch norm of the body computed as it does in evaluation, from the first step to the last; the auxiliary heads'
    never runs in evaluation."""
    options = {**OPTIONS, "height": 32, "width": 32, "recalibrate": "always", **frozen}
    out = tmp_path / "run"
    result = train(small_dataset, model="inception_v1", epochs=0.2, out=out, audit=False, quiet=True, options=options)
    assert result.reason == "done" and result.batch_norm is None and result.validation is not None
    bundled = load_file(out / "bundle" / "weights.safetensors")
    trained = checkpoint.weights(out / "checkpoints", result.step)
    body = [name for name in bundled if name.endswith("running_mean") and not name.startswith("AuxLogits")]
    assert body and all(not bundled[name].any() and torch.equal(bundled[name], trained[name]) for name in body)


def test_batches_are_those_that_the_weights_were_trained_with() -> None:
    class Pictures:
        keys = draws.keys([f"picture {number}" for number in range(700)])

    for batch, most, sizes in ((16, 500, 32), (256, 500, 2), (260, 500, 2), (1, 10, 5), (4, 3, 1)):
        drawn = _drawn(Pictures(), 0, batch, "test", most)
        assert len(drawn) == sizes and max(map(len, drawn)) <= max(batch, 3) and min(map(len, drawn)) >= 2
        assert len(np.unique(np.concatenate(drawn))) == most
