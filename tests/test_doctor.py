"""The doctor looks at this very machine, and tells when something is broken."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import torch

from deeper import doctor
from deeper.errors import SourceError


def test_what_it_sees(run_deeper) -> None:
    ran = run_deeper("doctor", "--json")
    assert ran.returncode == 0, ran.stderr
    plain = json.loads(ran.stdout)
    assert plain["sound"] is True and len(plain["checks"]) == 5
    assert all(not check["problem"] and check["seconds"] >= 0 for check in plain["checks"])
    assert plain["versions"]["torch"] == torch.__version__ and plain["versions"]["numpy"] == np.__version__
    assert set(plain["extras"]) == set(doctor.EXTRAS) and plain["extras"]["openvino"] is True
    named = {*plain["processor"]["instructions"], *plain["processor"]["lacking"]}
    assert not named or (any("AMX" in one for one in named) and any("AVX-512" in one for one in named))
    assert set(plain["processor"]["instructions"]).isdisjoint(plain["processor"]["lacking"])
    assert plain["processor"]["processors"] >= 1 and plain["processor"]["precision"] in ("bf16", "fp32")


def test_a_missing_extra_is_told_with_how_to_get_it(run_deeper, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "EXTRAS", {"none": ("no_such_module", "nothing")})
    assert doctor.examine(self_test=False).extras == {"none": False}
    ran = run_deeper("doctor", "--skip-test")
    assert ran.returncode == 0 and "'.[tensorflow]' in the checkout" in ran.stdout and "self-test" not in ran.stderr


def test_hardware_that_is_not_there_is_told(run_deeper, tmp_path) -> None:
    text = run_deeper("doctor", "--skip-test").stdout
    assert "AMX" in text and "AVX-512" in text and "GPU" in text
    (tmp_path / "empty").mkdir()
    code = "import os; os.environ.update(PATH='empty', CXX='none'); from deeper.cli import main; main(['doctor', '--skip-test'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (
        done.returncode == 0
        and "no C++ compiler: NielsenNet and the Inceptions train slower; install g++" in done.stdout
    )


def test_a_broken_step_is_told_and_ends_the_walk(monkeypatch) -> None:
    import deeper.records

    def broken(*arguments, **options):
        raise SourceError("no pictures today")

    monkeypatch.setattr(deeper.records, "build", broken)
    health = doctor.examine()
    assert not health.sound and [check.problem for check in health.checks] == ["no pictures today"]


def test_the_walk_can_fail_by_its_results(monkeypatch) -> None:
    """Pictures that nobody can tell apart are not learnt, and that is a failure."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 28, 28), dtype=np.uint8)
    monkeypatch.setattr(doctor, "_stripes", lambda: (noise, ["a", "b"] * 100))
    health = doctor.examine()
    assert [check.problem for check in health.checks][-1] == "the result is not what it should be"
