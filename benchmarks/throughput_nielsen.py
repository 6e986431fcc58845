"""Pictures per second of `deeper train` on NielsenNet against a plain PyTorch fp32 loop and Keras on TensorFlow.

    python benchmarks/throughput_nielsen.py [--rounds 3]

All three train the same network on MNIST's 55,000 training digits. Rounds are interleaved and the median ratio is
printed. `deeper train` is the whole command's loop: gathering, distortions, logging, histograms, averaging. The plain
loop is what a tutorial shows: fp32, batch 128, SGD, tensors in memory, no distortions. Keras gets the best of its
settings (batch 128 and 256, fp32 and mixed bf16, XLA or not), no distortions either.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from deeper.records import Dataset
from deeper.runs import dataset_for, train
from deeper.training.events import Event, StepDone

KERAS_PYTHON = Path(".venv-tensorflow/bin/python")
KERAS_SETTINGS = [
    {"batch": batch, "mixed": mixed, "compiled": compiled}
    for batch in (128, 256)
    for mixed in (False, True)
    for compiled in (False, True)
]


class Plain(nn.Module):
    """NielsenNet as a tutorial writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5, padding=2)
        self.conv2 = nn.Conv2d(20, 40, 5)
        self.full1 = nn.Linear(1000, 1000)
        self.full2 = nn.Linear(1000, 1000)
        self.logits = nn.Linear(1000, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.dropout(F.relu(self.full1(x.flatten(1))), 0.5, self.training)
        x = F.dropout(F.relu(self.full2(x)), 0.5, self.training)
        return self.logits(x)


def plain_rate(images: torch.Tensor, labels: torch.Tensor, batch: int = 128, steps: int = 150) -> float:
    """Pictures per second of the plain loop."""
    model = Plain().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
    order = torch.randperm(len(images))
    began = 0.0
    for step in range(-10, steps):
        if step == 0:
            began = time.perf_counter()
        rows = order[(step + 10) * batch : (step + 11) * batch]
        loss = F.cross_entropy(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return steps * batch / (time.perf_counter() - began)


def deeper_rate(dataset: Dataset, folder: Path) -> float:
    """Pictures per second of `deeper train` over two epochs of the fast recipe, from its own step reports' clock."""
    marks: list[tuple[int, float]] = []

    def note(event: Event) -> None:
        if isinstance(event, StepDone):
            marks.append((event.step, time.perf_counter()))

    result = train(dataset, model="nielsen", recipe="fast", epochs=2, out=folder, quiet=True, handlers=[note])
    batch = result.run.config.options.batch
    (first, begin), (last, end) = marks[0], marks[-1]
    return (last - first) * batch / (end - begin)


def keras_rates(arrays: Path, settings: list[dict[str, object]]) -> list[float]:
    """Pictures per second of Keras at each setting."""
    command = [str(KERAS_PYTHON), str(Path(__file__).with_name("keras_nielsen.py")), str(arrays), json.dumps(settings)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [result["images_per_second"] for result in json.loads(output.splitlines()[-1])["results"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    dataset = dataset_for("mnist")
    split = dataset.split("train")
    pictures = np.stack([split.picture(position)[..., 0] for position in range(len(split))])
    mean, deviation = dataset.info.mean[0], dataset.info.deviation[0]
    images = ((torch.from_numpy(pictures).float() / 255 - mean) / deviation)[:, None]
    labels = torch.from_numpy(split.labels)
    with tempfile.TemporaryDirectory() as temporary:
        arrays = Path(temporary) / "mnist.npz"
        np.savez(arrays, images=pictures, labels=split.labels, mean=mean, deviation=deviation)
        keras_best = None
        if KERAS_PYTHON.exists():
            first = keras_rates(arrays, KERAS_SETTINGS)
            for setting, rate in zip(KERAS_SETTINGS, first, strict=True):
                print(f"keras {setting}: {rate:,.0f} img/s", flush=True)
            keras_best = KERAS_SETTINGS[int(np.argmax(first))]
        else:
            print("Keras left out: make .venv-tensorflow first")
        plain, ours, keras = [], [], []
        for number in range(rounds):
            plain.append(plain_rate(images, labels))
            ours.append(deeper_rate(dataset, Path(temporary) / f"run-{number}"))
            if keras_best:
                keras += keras_rates(arrays, [keras_best])
            print(
                f"round {number}: plain {plain[-1]:,.0f}, deeper {ours[-1]:,.0f}, keras {keras[-1] if keras else 0:,.0f}",
                flush=True,
            )
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    print(f"deeper / plain PyTorch fp32: {statistics.median(a / b for a, b in zip(ours, plain, strict=True)):.2f}×")
    if keras:
        print(f"deeper / Keras {keras_best}: {statistics.median(a / b for a, b in zip(ours, keras, strict=True)):.2f}×")


if __name__ == "__main__":
    main()
