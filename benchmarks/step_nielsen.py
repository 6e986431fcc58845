"""NielsenNet's training step alone (forward, backward, optimizer), without data: pictures per second.

    python benchmarks/step_nielsen.py [--threads 1] [--rounds 20] [--profile]

Steps of the variants are interleaved. With one thread the time is processor time of that thread, which other work on
the machine disturbs little; with more it is wall-clock time, to be believed only on an idle machine.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from deeper.models import Architecture, create, kernels, set_noise

Step = Callable[[], None]


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
        logits: torch.Tensor = self.logits(x)
        return logits


def data(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(batch, 1, 28, 28), torch.randint(0, 10, (batch,))


def plain(batch: int, *, bf16: bool = False) -> Step:
    """SGD; fp32 contiguous, or bf16 autocast in channels-last."""
    model = Plain().train()
    images, labels = data(batch)
    if bf16:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def ours(batch: int, *, keyed: bool = True, compiled: bool = True) -> Step:
    """The catalog's network as the training loop runs it: bf16, channels-last, AdamW. `keyed`: our dropout masks;
    `compiled`: our kernel for its first layers."""
    model = create(Architecture(model="nielsen", classes=10, channels=1, height=28, width=28)).train()
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, labels = data(batch)
    images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002, fused=True)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if keyed:
            set_noise(model, 0, done)
        with contextlib.nullcontext() if compiled else kernels.switched_off():
            with torch.autocast("cpu", torch.bfloat16):
                output = model(images)
            loss = F.cross_entropy(output.logits.float(), labels)
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--profile", action="store_true", help="print where our step at 512 spends its time")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    if (reason := kernels.prepare()) is not None:
        print(f"our kernels are off: {reason}")
    clock = time.thread_time if arguments.threads == 1 else time.perf_counter
    steps: dict[str, tuple[int, Step]] = {
        "plain fp32, batch 128": (128, plain(128)),
        "plain bf16 channels-last, batch 128": (128, plain(128, bf16=True)),
        "ours, batch 128": (128, ours(128)),
        "ours, batch 256": (256, ours(256)),
        "ours, batch 512": (512, ours(512)),
        "ours, batch 512, without compiled kernels": (512, ours(512, compiled=False)),
        "ours, batch 512, torch's dropout masks": (512, ours(512, keyed=False)),
    }
    rates: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(-3, arguments.rounds):
        for name, (batch, step) in steps.items():
            began = clock()
            step()
            if number >= 0:
                rates[name].append(batch / (clock() - began))
    first = rates["plain fp32, batch 128"]
    for name, values in rates.items():
        ratio = statistics.median(a / b for a, b in zip(values, first, strict=True))
        print(f"{name:<42} {statistics.median(values):>8,.0f} img/s, {ratio:.2f}× plain fp32")
    if arguments.profile:
        step = steps["ours, batch 512"][1]
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            for _ in range(10):
                step()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=40))


if __name__ == "__main__":
    main()
