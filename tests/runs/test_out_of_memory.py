"""Too little memory is one line that says which batch would fit: forced in processes whose address space is limited."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys

import pytest
import torch

import deeper
from deeper.errors import MemoryShortageError
from deeper.runs import rates, resume
from deeper.training import headroom
from deeper.training.events import CheckpointDue
from deeper.training.stepping import Stepper
from tests.patience import patient

# Each picture keeps about 2 MB for the backward pass, by layers that compute little: 512 do not fit into what is left.
NETWORK = """
from torch import nn

class Wide(nn.Module):
    def __init__(self, classes):
        super().__init__()
        layers = [layer for _ in range(5) for layer in (nn.Conv2d(64, 64, 1, groups=64), nn.BatchNorm2d(64), nn.ReLU())]
        self.body = nn.Sequential(nn.Conv2d(1, 64, 3, padding=1), *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(64, classes)

    def forward(self, images):
        return self.head(self.body(images))
"""
LIMITED = """
import resource, sys
from pathlib import Path
import torch
import deeper.runs.training  # everything is loaded before the limit
from deeper.cli import main
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]), used + int(sys.argv[1])))
main(sys.argv[2:])
"""


@pytest.fixture
def limited(tmp_path):
    (tmp_path / "wide_net.py").write_text(NETWORK)
    script = tmp_path / "limited.py"
    script.write_text(LIMITED)

    def run(megabytes: int, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(script), str(megabytes << 20), *map(str, words)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)},
            timeout=patient(280),
        )

    return run


def train(dataset, out, batch, *more):
    settings = ["--set", "precision=fp32", "--epochs", "8"]
    return ("train", dataset.path, "--model", "wide_net:Wide", "--out", out, "--batch", batch, *settings, *more)


def test_the_line_names_a_batch_that_fits(small_dataset, run_folder, limited):
    done = limited(700, *train(small_dataset, run_folder, 512))
    assert done.returncode == 12, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("deeper train: out of memory: a step on 512 pictures of 28 pixels needs about ")
    named = re.search(r"batches of (\d+) would fit \(--batch \1\)", last)
    assert named and "Traceback" not in done.stderr
    batch = int(named[1])
    assert 16 <= batch < 512
    assert not run_folder.exists()


def test_a_step_that_cannot_fit_is_not_tried(small_dataset, tmp_path, monkeypatch):
    """Linux would grant the memory, and kill the process when it is used."""
    (tmp_path / "roomy_net.py").write_text(NETWORK.replace("64", "8"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(headroom, "room", lambda device: 50 << 20)
    tried = []

    def noted(state, feed, stage, *arguments, **more):
        tried.append(stage.batch)
        return seconds_per_step(state, feed, stage, *arguments, **more)

    seconds_per_step = headroom.seconds_per_step
    monkeypatch.setattr(headroom, "seconds_per_step", noted)
    options = {"batch": 512, "precision": "fp32"}
    with pytest.raises(MemoryShortageError, match=r"a step on 512 pictures .* and 52 MB are free; batches of") as found:
        deeper.train(small_dataset, model="roomy_net:Wide", out=tmp_path / "run", epochs=8, quiet=True, options=options)
    fits = int(re.search(r"--batch (\d+)", str(found.value))[1])
    assert tried == [fits] and 16 <= fits < 512
    tried.clear()
    options["batch"] = fits
    deeper.train(small_dataset, model="roomy_net:Wide", out=tmp_path / "run", epochs=0.1, quiet=True, options=options)


def test_where_not_even_two_pictures_fit_it_says_so(small_dataset, tmp_path, monkeypatch):
    """Memory that another process takes at once: nothing is left when the batch that fits is looked for."""
    (tmp_path / "tiny_net.py").write_text(NETWORK.replace("64", "2"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(headroom, "room", lambda device: 0)

    def fails(*arguments, **more):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(headroom, "seconds_per_step", fails)
    with pytest.raises(MemoryShortageError, match=r"0 MB are free, and not even 2 pictures fit; .*\(--size\)$"):
        deeper.train(small_dataset, model="tiny_net:Wide", out=tmp_path / "run", quiet=True, options={"batch": 30})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("room", [0, 8 << 30])
def test_a_search_for_the_rate_says_so_too(small_dataset, tmp_path, monkeypatch, room):
    """Before its first step, and where that fails."""
    (tmp_path / "tiny_net.py").write_text(NETWORK.replace("64", "2"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(headroom, "room", lambda device: room)

    def fails(*arguments, **more):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(rates, "sweep", fails)
    said = r"batches of 29 would fit \(--batch 29\)$" if room else "not even 2 pictures fit"
    with pytest.raises(MemoryShortageError, match=f"out of memory: a step on 30 pictures of 28 pixels .*{said}"):
        deeper.find_rate(small_dataset, model="tiny_net:Wide", quiet=True, options={"batch": 30, "precision": "fp32"})


def test_memory_that_runs_out_on_the_way_leaves_the_checkpoint(small_dataset, tmp_path, monkeypatch):
    (tmp_path / "tiny_net.py").write_text(NETWORK.replace("64", "2"))
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "run"
    options = {"batch": 30, "checkpoint_every": 0.25, "precision": "fp32", "report_every": 1}

    def exhausted(event):
        if isinstance(event, CheckpointDue) and event.step == 10:
            monkeypatch.setattr(Stepper, "move", lambda self: (_ for _ in ()).throw(MemoryError()))

    with pytest.raises(MemoryShortageError, match="the last checkpoint stays: with more memory free, --resume goes on"):
        deeper.train(
            small_dataset, model="tiny_net:Wide", out=out, quiet=True, epochs=1, options=options, handlers=[exhausted]
        )
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert deeper.Run(out).steps()[-1] == 10
    assert resume(out, quiet=True).step == 20


def test_an_evaluation_goes_on_in_smaller_cuts(tmp_path, limited):
    """250 pictures at once do not fit; the answers come all the same."""
    script = tmp_path / "evaluation.py"
    script.write_text(
        "import resource, numpy as np, torch\n"
        "from pathlib import Path\n"
        "from wide_net import Wide\n"
        "from deeper.images import Preprocess\n"
        "from deeper.inference import predictor\n"
        "from deeper.models.custom import load_custom\n"
        "model = load_custom('wide_net:Wide', {'classes': 3, 'channels': 1, 'height': 64, 'width': 64}, {})\n"
        "predict = predictor(model, Preprocess(height=64, width=64, channels=1))\n"
        "pictures = np.random.default_rng(0).integers(0, 256, (250, 64, 64, 1), np.uint8)\n"
        "predict(pictures[:4])\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), resource.RLIM_INFINITY))\n"
        "small = predict(pictures)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "whole = predictor(model, Preprocess(height=64, width=64, channels=1))(pictures)\n"
        "assert small.logits.shape == (250, 3)\n"
        "assert np.abs(small.logits - whole.logits).max() < 1e-4\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)},
        timeout=patient(280),
    )
    assert done.returncode == 0, done.stderr


def test_a_batch_beyond_the_pictures_needs_no_more_than_they_do(small_dataset, tmp_path) -> None:
    """Its steps have all pictures, which fit; the number that was asked for would need hundreds of gigabytes."""
    result = deeper.train(
        small_dataset, model="nielsen", epochs=10, out=tmp_path / "run", quiet=True, options={"batch": 2_000_000}
    )
    assert result.reason == "done" and result.step == 10


def test_a_training_leaves_no_tensor_behind(small_dataset, tmp_path) -> None:
    """A series trains many networks in one process; what a graph held of itself stayed with each of them."""

    def alive() -> int:
        gc.collect()
        return sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())

    def train(name: str) -> None:
        deeper.train(small_dataset, model="nielsen", epochs=1, out=tmp_path / name, quiet=True)

    train("first")  # what is made once and kept
    before = alive()
    train("second")
    assert alive() <= before
