"""Pictures per second of `deeper train` on Inception v3 against a plain PyTorch loop and Keras on TensorFlow.

    python benchmarks/throughput_inception.py [--size 299] [--batch 32] [--threads 2] [--rounds 3] [--steps 6] [--xla]
        [--without-keras] [--device cuda]

`deeper train` is the whole command's loop: gathering, distortions, logging, averaging, as its fast recipe has them, every
step at the size that is asked for (the recipe's smaller sizes are left out). The plain loop is bf16 autocast in
channels-last with AdamW on the same network, every layer by PyTorch's own operators, no distortions, pictures in memory.
Keras gets its own InceptionV3 and the best of its settings (fp32 and mixed bf16, with `--xla` compiled too, which takes
minutes), no distortions either. Pictures are noise: only time is measured.

On a GPU ours is compiled (CUDA graphs) with the pictures on the device; the same plain loop is run on the networks of
torchvision and timm too, where they can be imported, Keras is not, and time is wall-clock time. Not yet measured there.

Rounds are interleaved and median ratios printed. With one thread the time is processor time of the whole process, which
other work on the machine disturbs little; with more it is wall-clock time, to be believed only on an idle machine.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from deeper.models import Architecture, create, kernels
from deeper.records import Dataset
from deeper.runs import dataset_for, train
from deeper.training.events import Event, StepDone

KERAS_PYTHON = Path(".venv-tensorflow/bin/python")
CLASSES = 10
# Steps before the clock starts: primitives are built and memory grows.
WARM = 2

NAMES = {
    "deeper": "plain PyTorch bf16",
    "torchvision": "plain PyTorch bf16, torchvision's network",
    "timm": "plain PyTorch bf16, timm's network",
}

Clock = Callable[[], float]


def network(source: str, size: int) -> nn.Module | None:
    """Inception v3 from deeper, torchvision or timm; None where that cannot be imported."""
    if source == "deeper":
        return create(Architecture(model="inception_v3", classes=CLASSES, channels=3, height=size, width=size))
    try:
        library = importlib.import_module(source)
        if source == "timm":
            made = library.create_model("inception_v3", num_classes=CLASSES, aux_logits=True)
        else:
            made = library.models.inception_v3(num_classes=CLASSES, init_weights=False)
    except Exception as error:  # torchvision fails in many ways where torch is another than its own
        print(f"{source} left out: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        return None
    assert isinstance(made, nn.Module)
    return made


def heads(output: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the last and of the auxiliary head, whosever network it is."""
    if hasattr(output, "aux"):
        return output.logits, output.aux[0]
    main, auxiliary = output
    return main, auxiliary


def plain_rate(
    source: str, images: torch.Tensor, labels: torch.Tensor, batch: int, clock: Clock, device: str
) -> float | None:
    """Pictures per second of the plain loop; None where there is no such network."""
    model = network(source, images.shape[2])
    if model is None:
        return None
    model = model.train().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    steps = len(images) // batch
    began = 0.0
    with kernels.switched_off():
        for step in range(steps):
            if step == WARM:
                finish(device)
                began = clock()
            rows = slice(step * batch, (step + 1) * batch)
            shown, wanted = images[rows].to(device, non_blocking=True), labels[rows].to(device, non_blocking=True)
            taken = shown.to(memory_format=torch.channels_last, dtype=torch.float32) / 127.5 - 1
            with torch.autocast(device.partition(":")[0], torch.bfloat16):
                logits, auxiliary = heads(model(taken))
            loss = F.cross_entropy(logits.float(), wanted) + 0.4 * F.cross_entropy(auxiliary.float(), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    finish(device)
    return (steps - WARM) * batch / (clock() - began)


def finish(device: str) -> None:
    """Wait for what a GPU has been given to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def deeper_rate(dataset: Dataset, folder: Path, size: int, batch: int, clock: Clock, device: str) -> float:
    """Pictures per second of `deeper train`, between its own step reports, all of steps at this size."""
    marks: list[tuple[int, float]] = []

    def note(event: Event) -> None:
        if isinstance(event, StepDone):
            assert event.size == (size, size), event.size
            marks.append((event.step, clock()))

    train(
        dataset,
        model="inception_v3",
        recipe="fast",
        epochs=1,
        out=folder,
        options={
            "height": size,
            "width": size,
            "batch": batch,
            "stages": [],
            "report_every": WARM,
            "compile": device.startswith("cuda"),
        },
        device=device,
        audit=False,
        quiet=True,
        handlers=[note],
    )
    (first, begin), (last, end) = marks[0], marks[-1]
    return (last - first) * batch / (end - begin)


def keras_rates(size: int, batch: int, steps: int, threads: int, settings: list[dict[str, bool]]) -> list[float]:
    """Pictures per second of Keras at each setting."""
    asked = {"size": size, "batch": batch, "steps": steps, "threads": threads, "settings": settings}
    command = [str(KERAS_PYTHON), str(Path(__file__).with_name("keras_inception.py")), json.dumps(asked)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(rate) for rate in json.loads(output.splitlines()[-1])["rates"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=299)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="timed steps of a round; 6, on a GPU 60")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--xla", action="store_true", help="Keras compiled by XLA as well")
    parser.add_argument("--without-keras", action="store_true")
    arguments = parser.parse_args()
    size, batch, device = arguments.size, arguments.batch, arguments.device
    on_gpu = device.startswith("cuda")
    steps = arguments.steps or (60 if on_gpu else 6)
    torch.set_num_threads(arguments.threads)
    clock = time.process_time if arguments.threads == 1 and not on_gpu else time.perf_counter
    reason = kernels.prepare()
    if reason is not None:
        print(f"our kernels are off: {reason}")
    generator = np.random.default_rng(0)
    count = (steps + WARM) * batch
    pictures = generator.integers(0, 256, (count, size, size, 3), np.uint8)
    labels = np.arange(count) % CLASSES
    settings = [
        {"mixed": mixed, "compiled": xla} for xla in (False, True)[: 1 + arguments.xla] for mixed in (True, False)
    ]
    with tempfile.TemporaryDirectory() as temporary:
        arrays = Path(temporary) / "noise.npz"
        few = slice(0, CLASSES)
        np.savez(
            arrays,
            train_images=pictures,
            train_labels=labels,
            val_images=pictures[few],
            val_labels=labels[few],
            test_images=pictures[few],
            test_labels=labels[few],
        )
        dataset = dataset_for(arrays, folder=Path(temporary))
        images, targets = torch.from_numpy(pictures.transpose(0, 3, 1, 2)), torch.from_numpy(labels)
        best: dict[str, bool] | None = None
        if arguments.without_keras or on_gpu:
            print("Keras left out")
        elif KERAS_PYTHON.exists():
            first = keras_rates(size, batch, steps, arguments.threads, settings)
            for setting, rate in zip(settings, first, strict=True):
                print(f"keras {setting}: {rate:.1f} img/s", flush=True)
            best = settings[int(np.argmax(first))]
        else:
            print("Keras left out: make .venv-tensorflow first")
        rates: dict[str, list[float]] = {}
        sources = ("deeper", "torchvision", "timm") if on_gpu else ("deeper",)
        for number in range(arguments.rounds):
            once: dict[str, float | None] = {
                NAMES[source]: plain_rate(source, images, targets, batch, clock, device) for source in sources
            }
            if best is not None:
                once[f"Keras {best}"] = keras_rates(size, batch, steps, arguments.threads, [best])[0]
            once["deeper"] = deeper_rate(dataset, Path(temporary) / f"run-{number}", size, batch, clock, device)
            for name, rate in once.items():
                if rate is not None:
                    rates.setdefault(name, []).append(rate)
            words = (f"{name} {rate:.1f}" for name, rate in once.items() if rate is not None)
            print(f"round {number}: {', '.join(words)} img/s", flush=True)
    where = torch.cuda.get_device_name(device) if on_gpu else f"{arguments.threads} threads"
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    print(f"{size} pixels, batch {batch}, {where}: deeper {statistics.median(rates['deeper']):.1f} img/s")
    for name, others in rates.items():
        if name != "deeper":
            ratio = statistics.median(a / b for a, b in zip(rates["deeper"], others, strict=True))
            print(f"deeper / {name}: {ratio:.2f}×")


if __name__ == "__main__":
    main()
