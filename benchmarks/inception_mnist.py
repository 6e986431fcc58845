"""Inception v3 on MNIST from random weights, judged at 299 pixels on all 10,000 test digits, within a time budget.

    python benchmarks/inception_mnist.py [--minutes 45] [--seeds 0,1] [--out runs/inception-mnist] [--for 20]
                                         [--set optimizer.rate=0.003 …] [--recipe-stages] [--device cuda]

Each seed is a run of its own, OUT/minutes-M/seed-N, with config, log, metrics and curve. Recipe `fast` with the
distortions of handwriting instead of those of photographs, and with stages that show the hardest digits. The clock runs from the call that begins the run until its
bundle is written: opening the pictures, timing the first steps, training, validation at 299, batch norm's checks. The
test digits are judged after it, once, and decide nothing. `--for`: stop cleanly after so many minutes of this call; the
same command goes on where it stopped, and what is finished is not done again. A folder holds runs of one setting:
another one is refused. A budget is only met by a run made in one piece on idle cores: pieces and seconds are printed
with the result. On a GPU not yet measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from deeper import figures, files
from deeper.cli.assignments import assigned
from deeper.monitor import Console
from deeper.monitor.metrics_file import read
from deeper.records import Dataset
from deeper.runs import Result, Run, dataset_for, evaluate_run, resume, train
from deeper.runs.folder import is_run
from deeper.statistics import wilson_interval
from deeper.training.events import EpochDone, Event, StepDone
from deeper.training.precision import choose_device, choose_precision

# Of handwriting: a crop would cut strokes off, and ink has no colour.
TAKEN_OUT = ("crop", "brightness", "contrast")
PUT_IN = ("rotation=10", "scale=0.85:1.15", "shear=8", "translation=0.06")
# After an epoch or two at a quarter of the side nine digits of ten are answered without doubt: from there on the hardest are
# shown (docs/log.md). Each larger size needs some thousand digits to relearn how wide strokes are.
STAGES = (
    {"scale": 0.25, "share": 0.41, "batch": 64},
    {"scale": 0.25, "share": 0.24, "batch": 64, "hardest": 0.15},
    {"scale": 0.5, "share": 0.23, "batch": 32, "hardest": 0.15},
    {"share": 0.12, "batch": 16, "hardest": 0.15},
)
# Schedules go with the pixels shown: the recipe's 0.08 would be more than all of the first stage.
PEAK_AT = 0.02

# Accuracies on the validation digits, at the network's size, whose time is noted.
LEVELS = (0.9905, 0.996)


class Clock:
    """Wall-clock seconds of each call that worked on a run, and after how many a level was first reached.

    Kept in RUN-clock.json, written while the run goes on, so that a call that was killed counts as well.
    """

    def __init__(self, place: Path, size: int) -> None:
        self.place, self.size = place, size
        kept: dict[str, Any] = json.loads(place.read_text()) if place.exists() else {"pieces": [], "reached": {}}
        self.before: list[float] = kept["pieces"]
        self.reached: dict[str, float] = kept["reached"]
        self.finished: dict[str, Any] | None = kept.get("finished")
        self.began = time.perf_counter()

    @property
    def pieces(self) -> list[float]:
        return [*self.before, round(time.perf_counter() - self.began, 1)]

    def handle(self, event: Event) -> None:
        if isinstance(event, EpochDone) and event.evaluation is not None and event.size == (self.size, self.size):
            for level in LEVELS:
                if event.evaluation.accuracy >= level:
                    self.reached.setdefault(f"{level:.2%}", sum(self.pieces))
        if isinstance(event, (StepDone, EpochDone)):
            self.write()

    def write(self) -> None:
        kept = {"pieces": self.pieces, "reached": self.reached, "finished": self.finished}
        files.write_text(self.place, json.dumps(kept) + "\n")

    def finish(self, result: Result) -> None:
        """Note what the run came to, unless it was interrupted; from then on it is not begun again."""
        if result.reason != "interrupted":
            accuracy = float(result.validation.accuracy) if result.validation else None
            self.finished = {"step": result.step, "reason": result.reason, "validation": accuracy}
        self.write()
        self.before = self.pieces


def check_settings(folder: Path, arguments: argparse.Namespace) -> None:
    """One setting a folder. Ends the program where it holds runs of another."""
    settings = {
        "minutes": arguments.minutes,
        "size": arguments.size,
        "rate": arguments.rate,
        "set": assigned(arguments.set),
        "stages": None if arguments.recipe_stages else list(STAGES),
        "device": arguments.device,
        "threads": torch.get_num_threads(),
    }
    place = folder / "settings.json"
    if not place.exists():
        if any(is_run(path) for path in folder.glob("seed-*")):
            sys.exit(f"{folder} holds runs whose settings are not known: give another --out")
        folder.mkdir(parents=True, exist_ok=True)
        files.write_text(place, json.dumps(settings, indent=2) + "\n")
        return
    kept = json.loads(place.read_text())
    different = [f"{name}={kept.get(name)}" for name, value in settings.items() if kept.get(name) != value]
    if different:
        sys.exit(f"{folder} holds runs with {', '.join(different)}: give another --out, or the same flags")


def one_run(dataset: Dataset, out: Path, arguments: argparse.Namespace, seed: int, clock: Clock) -> Result:
    """Begin or go on with the run of a seed, its log appended to."""
    # Beside the run until it is begun: its folder is made by the training.
    with open(out.parent / f"{out.name}.log", "a", encoding="utf-8") as stream:
        log = Console(stream=stream, seconds_between_lines=0)
        if is_run(out):
            return resume(out, handlers=[log.handle, clock.handle])
        return train(
            dataset,
            model="inception_v3",
            recipe="fast",
            minutes=arguments.minutes,
            seed=seed,
            out=out,
            distort=PUT_IN,
            no_distort=TAKEN_OUT,
            options={
                "height": arguments.size,
                "width": arguments.size,
                "fill": "zeros",
                **({} if arguments.recipe_stages else {"stages": list(STAGES), "schedule.peak_at": PEAK_AT}),
                "optimizer.rate": arguments.rate,
                # 5,000 digits at 150 or 299 pixels take minutes: once, at the end.
                "validate_every": 1000,
                **assigned(arguments.set),
            },
            device=arguments.device,
            audit=False,
            handlers=[log.handle, clock.handle],
        )


def judge(out: Path, dataset: Dataset, device: str) -> dict[str, Any]:
    """The test digits at the network's size, once; kept in the run's test.json."""
    place = out / "test.json"
    if not place.exists():
        began = time.perf_counter()
        precision = choose_precision("auto", device)[0]
        evaluation = evaluate_run(out, dataset, split="test", device=device, precision=precision)
        right = int(evaluation.right.sum())
        found = {
            "accuracy": evaluation.accuracy,
            "interval": list(wilson_interval(right, evaluation.total)),
            "errors": evaluation.total - right,
            "total": evaluation.total,
            "seconds": round(time.perf_counter() - began, 1),
        }
        files.write_text(place, json.dumps(found, indent=2) + "\n")
    kept: dict[str, Any] = json.loads(place.read_text())
    return kept


def draw_curve(out: Path) -> None:
    """Loss and validation accuracy against steps, with the picture sizes, as curve.svg in the run."""
    from matplotlib.figure import Figure

    lines = read(out / "metrics.jsonl")
    steps = [line for line in lines if line["event"] == "step"]
    epochs = [line for line in lines if line["event"] == "epoch" and line["validation"]]
    with figures.style():
        figure = Figure(figsize=(figures.WIDTH, 2.8), layout="constrained")
        axes = figure.subplots()
        axes.plot([line["step"] for line in steps], [line["cross_entropy"] for line in steps], color=figures.BLUE)
        axes.set_xlabel("steps")
        axes.set_ylabel("training loss (smoothed labels)", color=figures.BLUE)
        right = axes.twinx()
        errors = [100 * (1 - line["validation"]["accuracy"]) for line in epochs]
        right.plot([line["step"] for line in epochs], errors, "o-", color=figures.ORANGE)
        right.set_yscale("log")
        right.set_ylabel("validation errors, %", color=figures.ORANGE)
        for before, after in pairwise(steps):
            if before["size"] != after["size"]:
                axes.axvline(before["step"], color=figures.GREY, linestyle=":")
                axes.annotate(f" {after['size'][0]} px", (before["step"], axes.get_ylim()[1]), va="top")
        config = Run(out).config
        for number, stage in enumerate(config.options.stages):
            if stage.hardest is not None and len(config.stage_steps) == len(config.options.stages):
                first = sum(config.stage_steps[:number])
                axes.axvline(first, color=figures.GREY, linestyle=":")
                axes.annotate(f" hardest {stage.hardest:.0%}", (first, 0.93 * axes.get_ylim()[1]), va="top")
                break
        figures.save(figure, out / "curve.svg", title="Inception v3 on MNIST")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--out", type=Path, default=Path("runs/inception-mnist"))
    parser.add_argument("--size", type=int, default=299)
    parser.add_argument("--rate", type=float, help="another peak rate than the recipe's")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="other options")
    parser.add_argument(
        "--recipe-stages", action="store_true", help="show all digits at every size, as recipe fast does"
    )
    parser.add_argument("--device", default="auto", help="cpu or cuda; a GPU where there is one")
    parser.add_argument("--for", dest="limit", type=float, help="minutes after which this call stops cleanly")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--no-test", action="store_true", help="leave the test digits alone, to choose by validation")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    arguments.device = choose_device(arguments.device)
    folder = arguments.out / f"minutes-{arguments.minutes:g}"
    check_settings(folder, arguments)
    if arguments.limit is not None:
        timer = threading.Timer(arguments.limit * 60, os.kill, (os.getpid(), signal.SIGINT))
        timer.daemon = True
        timer.start()
    dataset = dataset_for("mnist")
    accuracies = []
    for seed in map(int, arguments.seeds.split(",")):
        out = folder / f"seed-{seed}"
        clock = Clock(folder / f"seed-{seed}-clock.json", arguments.size)
        if clock.finished is None:
            clock.write()
            clock.finish(result := one_run(dataset, out, arguments, seed, clock))
            if result.reason == "interrupted":
                print(f"seed {seed}: stopped at step {result.step:,}; the same command goes on")
                sys.exit(130)
            draw_curve(out)
        assert clock.finished is not None
        validation = f"{clock.finished['validation']:.2%}" if clock.finished["validation"] else "-"
        took = f"{sum(clock.before) / 60:.1f} minutes in {len(clock.before)} pieces"
        took += "".join(f", {level} of validation after {after:.0f} s" for level, after in clock.reached.items())
        if arguments.no_test:
            print(f"seed {seed}: validation {validation}, {took}", flush=True)
            continue
        test = judge(out, dataset, arguments.device)
        accuracies.append(test["accuracy"])
        low, high = test["interval"]
        print(
            f"seed {seed}: test {test['accuracy']:.2%} ({low:.2%} to {high:.2%}, {test['errors']} errors of "
            f"{test['total']:,}), validation {validation}, {took}, {test['seconds']:.0f} s of judging",
            flush=True,
        )
    where = torch.cuda.get_device_name(arguments.device) if arguments.device.startswith("cuda") else "processor"
    cores = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"machine: {cores}, on the {where}, torch {torch.__version__}")
    if accuracies:
        print(
            f"Inception v3 at {arguments.size}, budget {arguments.minutes:g} minutes, {torch.get_num_threads()} threads: "
            f"lowest {min(accuracies):.2%}, mean {statistics.fmean(accuracies):.2%} of {len(accuracies)} seeds"
        )


if __name__ == "__main__":
    main()
