"""Arms of an ablation: of the run's length, in its batches, and interrupted so that the same call goes on."""

from __future__ import annotations

import os
import signal

import pytest

from deeper import bundle, cli
from deeper.runs import Run, ablation, train
from deeper.runs.ablation import arm
from deeper.runs.interrupts import Interrupted, Interrupts
from deeper.runs.work import Work

# One stage with a batch of its own: what stages of a recipe come to where the input is the network's smallest.
OPTIONS = {"batch": 30, "stages": [{"batch": 60}], "precision": "fp32", "validate_every": 1}


@pytest.fixture(scope="module")
def trained(small_dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("ablated") / "run"
    return train(small_dataset, model="nielsen", epochs=1, out=out, quiet=True, options=OPTIONS).run


@pytest.fixture(autouse=True)
def _one_is_enough(monkeypatch):
    monkeypatch.setattr(ablation, "LEAST_SEEDS", 1)


def test_an_arm_takes_as_many_steps_as_the_run(trained, tmp_path):
    assert trained.config.steps == 10 and trained.config.stage_steps == ()
    (one,) = arm(trained, tmp_path, without=None, seeds=1)
    assert one.config.steps == one.steps()[-1] == 10
    assert one.config.options.epochs == trained.config.options.epochs
    written = (one.path / "bundle" / "weights.safetensors").stat().st_mtime_ns
    assert [run.path for run in arm(trained, tmp_path, without=None, seeds=1)] == [one.path], "its own are its own"
    assert (one.path / "bundle" / "weights.safetensors").stat().st_mtime_ns == written


def test_a_continued_arm_takes_the_last_stages_batches(trained, tmp_path):
    (one,) = arm(trained, tmp_path, without=None, seeds=1, steps=3)
    assert one.config.options.stages == () and one.config.options.batch == 60
    assert one.config.steps == one.steps()[-1] == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_exits_as_one_and_the_same_call_goes_on(trained, tmp_path, monkeypatch, capsys, number):
    def asked(self) -> bool:
        Interrupts.received = number
        return True

    with monkeypatch.context() as patch:
        patch.setattr(Interrupts, "asked", asked)
        with pytest.raises(Interrupted, match="the same command goes on") as left:
            arm(trained, tmp_path, without=None, seeds=1, steps=3)
    assert left.value.exit_code == 128 + number
    assert arm(trained, tmp_path, without=None, seeds=1, steps=3)[0].steps()[-1] == 3

    def failing(verb, rest):
        raise left.value

    monkeypatch.setattr(cli, "_run", failing)
    with pytest.raises(SystemExit) as ended:
        cli.main(["inspect"])
    assert ended.value.code == 128 + number and capsys.readouterr().err.count("\n") == 1


def test_an_interrupt_in_the_last_moment_of_a_run_is_heard(trained, tmp_path, monkeypatch):
    finish = Work._finish

    def late(self, event):
        os.kill(os.getpid(), signal.SIGINT)
        return finish(self, event)

    with monkeypatch.context() as patch:
        patch.setattr(Work, "_finish", late)
        with pytest.raises(Interrupted):
            arm(trained, tmp_path, without=None, seeds=2, steps=3)
    first, second = (tmp_path / "with-3" / f"seed-{number}" for number in (1, 2))
    assert bundle.is_bundle(first / "bundle") and Run(first).steps()[-1] == 3 and not second.exists()
    assert len(arm(trained, tmp_path, without=None, seeds=2, steps=3)) == 2


def test_an_arm_that_was_killed_over_its_last_bundle_is_ended(trained, tmp_path, monkeypatch):
    """The bundle of an earlier validation lies there, and the last checkpoint: judged by those it was another run."""

    class Killed(BaseException):
        pass

    def dying(self, event):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Work, "_finish", dying)
        with pytest.raises(Killed):
            arm(trained, tmp_path, without=None, seeds=1)
    place = tmp_path / "with" / "seed-1"
    assert bundle.is_bundle(place / "bundle") and Run(place).steps()[-1] <= 10
    (one,) = arm(trained, tmp_path, without=None, seeds=1)
    assert '"event": "finished"' in (one.path / "metrics.jsonl").read_text()


def test_a_continued_arm_begins_with_the_weights_that_are_inspected(trained, tmp_path, monkeypatch):
    began = {}
    go = Work.go

    def seen(self):
        began.update({name: tensor.clone() for name, tensor in self.state.weights().items()})
        return go(self)

    monkeypatch.setattr(Work, "go", seen)
    monkeypatch.setattr(Run, "load", lambda *_: pytest.fail("a checkpoint is not what is inspected"))
    arm(trained, tmp_path, without=None, seeds=1, steps=2)
    held = bundle.load(trained.path / "bundle").model.state_dict()
    assert held.keys() == began.keys() and all((began[name] == tensor).all() for name, tensor in held.items())
