"""An Inception's training step alone (forward, backward, AdamW), without data: ours against plain PyTorch.

    python benchmarks/step_inception.py [--size 299] [--batch 32] [--threads 1] [--rounds 5] [--model inception_v3]
                                       [--precision fp32]

Both are bf16 autocast (or fp32) in channels-last with the same network; plain is PyTorch's own operators, layer after layer, as
torchvision and timm compute. Steps are interleaved. With one thread the time is processor time of that thread, which
other work on the machine disturbs little; with more it is wall-clock time, to be believed only on an idle machine.
`--memory` adds the peak memory of each, from a process of its own. `--profile` prints where our step spends its time.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from deeper.models import MODELS, Architecture, create, kernels, set_noise
from deeper.training.memory import keep_memory

Step = Callable[[], None]


def step_of(model_name: str, size: int, batch: int, *, plain: bool, compiled: bool = False, bf16: bool = True) -> Step:
    """One training step, on pictures and labels that stay."""
    torch.manual_seed(0)
    model = create(Architecture(model=model_name, classes=10, channels=3, height=size, width=size)).train()
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    run = torch.compile(model) if compiled else model
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        set_noise(model, 0, done)
        with kernels.switched_off() if plain else contextlib.nullcontext():
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                output = run(images)
            loss = F.cross_entropy(output.logits.float(), labels)
            for logits in output.aux:
                loss = loss + 0.4 * F.cross_entropy(logits.float(), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return step


def peak_memory(arguments: list[str]) -> int:
    """MiB at most resident in a process that does three steps."""
    command = [sys.executable, __file__, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="inception_v3", choices=[name for name in MODELS if name != "nielsen"])
    parser.add_argument("--size", type=int, default=299)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--compile", action="store_true", help="torch.compile's step as well (minutes to compile)")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--alone", choices=["plain", "ours"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    reason = kernels.prepare()
    if reason is not None:
        print(f"our kernels are off: {reason}")
    what = (arguments.model, arguments.size, arguments.batch)
    bf16 = arguments.precision == "bf16"
    if arguments.alone:
        # Memory as it is used, not as it is kept for the next step.
        step = step_of(*what, plain=arguments.alone == "plain", bf16=bf16)
        for _ in range(3):
            step()
        # `getrusage` would give the parent's peak where that was higher.
        status = Path("/proc/self/status").read_text()
        print(next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM")))
        return
    keep_memory()
    steps = {"plain": step_of(*what, plain=True, bf16=bf16), "ours": step_of(*what, plain=False, bf16=bf16)}
    if arguments.compile:
        steps["torch.compile"] = step_of(*what, plain=True, compiled=True, bf16=bf16)
    clock = time.thread_time if arguments.threads == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(-2, arguments.rounds):
        for name, step in steps.items():
            began = clock()
            step()
            if number >= 0:
                seconds[name].append(clock() - began)
    print(
        f"{arguments.model}, {arguments.size} pixels, batch {arguments.batch}, {arguments.precision}, {arguments.threads} threads"
    )
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds["plain"], values, strict=True))
        middle = statistics.median(values)
        print(
            f"{name:<14} {middle * 1000:>7,.0f} ms (least {min(values) * 1000:,.0f}), "
            f"{arguments.batch / middle:>6.1f} img/s, {ratio:.2f}× plain"
        )
    if arguments.memory:
        same = ["--model", what[0], "--size", str(what[1]), "--batch", str(what[2])]
        same += ["--threads", str(arguments.threads), "--precision", arguments.precision]
        for name in ("plain", "ours"):
            print(f"{name:<14} {peak_memory([*same, '--alone', name]):>7,} MiB at most resident")
    if arguments.profile:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            for _ in range(3):
                steps["ours"]()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=40))


if __name__ == "__main__":
    main()
