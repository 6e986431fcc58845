"""A resume on something else than what the run was begun on says so; an ordinary one says nothing."""

from __future__ import annotations

import os
import signal
import tomllib
from types import SimpleNamespace

import pytest
import tomli_w
import torch

from deeper.runs import Run, resume, train
from deeper.runs.machine import Machine, changes, versions
from deeper.training.events import StepDone

QUICK = {"batch": 50, "precision": "fp32", "report_every": 1}
HERE = Machine(processor="this one", threads=2, kernels=True)


@pytest.mark.parametrize(
    ("then", "device", "found"),
    [
        (HERE, "cpu", []),
        (None, "cpu", []),
        (Machine(processor="this one", threads=8, kernels=True), "cpu", ["2 instead of 8 threads"]),
        (Machine(processor="another", threads=2, kernels=True), "cpu", ["this one instead of another"]),
        (Machine(processor="this one", threads=2, kernels=False), "cpu", ["compiled kernels"]),
        (Machine(processor="another", threads=8), "cuda", ["cpu instead of cuda"]),
    ],
)
def test_what_differs(then, device, found):
    config = SimpleNamespace(machine=then, device=device, versions=versions())
    assert changes(config, HERE, "cpu") == found
    config.versions = {"torch": "1.0"}
    assert changes(config, HERE, "cpu") == [f"torch {torch.__version__} instead of 1.0", *found]
    config.versions = {}
    assert changes(config, HERE, "cpu") == found, "a run that did not note it"


def test_kernels_that_are_missing_are_named():
    config = SimpleNamespace(machine=HERE, device="cpu", versions=versions())
    without = Machine(processor="this one", threads=2, kernels=False)
    assert changes(config, without, "cpu") == ["PyTorch's operators instead of compiled kernels"]


def test_a_resume_says_what_is_other(small_dataset, tmp_path, capfd):
    out, stops = tmp_path / "run", [3, 6, 9]

    def interrupt(event):
        if isinstance(event, StepDone) and event.step in stops:
            stops.remove(event.step)
            os.kill(os.getpid(), signal.SIGINT)

    def said() -> str:
        return " ".join(capfd.readouterr().err.split())

    def changed(**facts):
        plain = tomllib.loads((out / "config.toml").read_text())
        (out / "config.toml").write_text(tomli_w.dumps({**plain, **facts}))

    given = {
        "model": "nielsen",
        "epochs": 1,
        "device": "cpu",
        "out": out,
        "options": QUICK,
        "audit": False,
        "handlers": [interrupt],
    }
    train(small_dataset, **given)
    machine = Run(out).config.machine
    assert machine.threads == torch.get_num_threads() and machine.processor
    said()
    assert resume(out, handlers=[interrupt]).step == 6
    assert "not bit-identical" not in said(), "the same machine"

    threads = machine.threads + 7
    changed(machine={"processor": machine.processor, "threads": threads}, versions={"torch": "1.0"})
    # The same training as before, whatever it was begun on.
    assert train(small_dataset, **given, existing="resume").step == 9
    assert f"{machine.threads} instead of {threads} threads" in (line := said())
    assert f"torch {torch.__version__} instead of 1.0" in line and line.count("not bit-identical") == 1

    changed(machine={"processor": "another"})
    resume(out)
    assert "instead of another" in said()
    resume(out)
    assert "not bit-identical" not in said(), "nothing is left to train"
    plain = tomllib.loads((out / "config.toml").read_text())
    del plain["machine"]
    (out / "config.toml").write_text(tomli_w.dumps(plain))
    assert Run(out).config.machine is None
