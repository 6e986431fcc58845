"""A network of somebody's own beside a built-in one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request

from deeper.runs import train
from tests.serving.conftest import OPTIONS, serving

CODE = """
from torch import nn
class Tiny(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, classes))
    def forward(self, x):
        return self.body(x)
"""


def test_a_built_in_network_is_served_beside_ones_own(served_run, small_dataset, tmp_path, monkeypatch) -> None:
    (tmp_path / "beside_nets.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = tmp_path / "own"
    train(small_dataset, model="beside_nets:Tiny", out=own, epochs=1, quiet=True, options=OPTIONS, audit=False)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    words = (served_run, own, "--model", "beside_nets:Tiny")
    with (
        serving(*words, log=tmp_path / "log", PYTHONPATH=path) as (address, _),
        urllib.request.urlopen(f"{address}/api/models") as answer,
    ):
        models = json.loads(answer.read())["models"]
    assert [one["model"] for one in models] == ["nielsen", "beside_nets:Tiny"]


def test_a_model_that_no_run_needs_is_one_line(served_run) -> None:
    runs = [f"{name}={served_run}" for name in ("first", "second")]
    command = [sys.executable, "-m", "deeper", "serve", *runs, "--model", "nets:Mine", "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and done.stderr.strip().splitlines() == [
        "deeper serve: --model nets:Mine: none of these runs holds a network of your own; leave it out"
    ]
