"""The audit's figures: verdicts on MNIST's flips, flowers12, seconds; and what the policy is worth in training.

    python benchmarks/audit.py [--fresh]
    python benchmarks/audit.py --policy-seeds 5 [--pictures 1000] [--epochs …]

Without `--policy-seeds`: the whole audit of MNIST (processor seconds besides wall-clock, for busy machines), the verdicts
on horizontal flip, and flowers12 pooled. `--fresh` trains the judges anew. With it: NielsenNet with the fast recipe on
all 55,000 training digits and on `--pictures` of them, flips for all classes, for none, and by the policy of an audit of
the same training digits; paired differences of the test accuracy over seeds, with 95 % intervals by Student's t.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import deeper
from deeper.records import BuildOptions, Dataset, build, open_source
from deeper.runs import dataset_for

# The 97.5 % points of Student's t for 1 to 9 degrees of freedom.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
ARMS = ("flip all", "flip none", "by policy")


def audited(dataset: Dataset, fresh: bool) -> None:
    if fresh:
        shutil.rmtree(dataset.path / "judge", ignore_errors=True)
    began, used = time.perf_counter(), time.process_time()
    found = deeper.audit(dataset)
    wall, processor = time.perf_counter() - began, time.process_time() - used
    print(f"\n{dataset.info.name}: {found.judge.description}")
    print(
        f"{wall:.1f} s in all ({found.seconds['judge']:.1f} s for the judge), {processor:.1f} s of processor time, "
        f"{torch.get_num_threads()} threads, {found.intervals} simultaneous intervals"
    )
    for note in found.notes:
        print(f"note: {note}")
    for name in (*dataset.classes, None):
        try:
            one = found.finding_on("horizontal flip", name)
        except KeyError:
            continue
        shares = [
            f"{what} {excess.share:7.2%} ({excess.interval[0]:.2%} to {excess.interval[1]:.2%})"
            for what, excess in (("entering", one.entering), ("leaving", one.leaving))
        ]
        print(f"  horizontal flip  {name or 'small classes together':24} {one.verdict:10} {', '.join(shares)}")
    print(f"policy: {found.policy().to_plain()}")


def part_of_mnist(pictures: int, target: Path) -> Dataset:
    """The first `pictures` training digits, in the order of the file; validation and test whole."""
    source = open_source("mnist")
    arrays = {}
    for split in ("train", "validation", "test"):
        items = [item for item in source.items if item.split == split]
        items = items[:pictures] if split == "train" else items
        arrays[split] = (np.stack([item.array for item in items]), [item.label for item in items])
    build(open_source(arrays), target, options=BuildOptions())
    return Dataset(target)


def compared(dataset: Dataset, seeds: int, epochs: float | None, folder: Path) -> None:
    pictures = dataset.info.splits["train"].count
    found = deeper.audit(dataset, distort=["horizontal_flip"], out=folder / "audit")
    print(f"\n{pictures:,} training digits; policy: {found.policy().to_plain()}", flush=True)
    accuracies: dict[str, list[float]] = {arm: [] for arm in ARMS}
    for seed in range(seeds):
        for arm in ARMS:
            out = folder / f"{arm}-{seed}"
            result = deeper.train(
                dataset,
                model="nielsen",
                recipe="fast",
                out=out,
                seed=seed,
                epochs=epochs,
                distort=() if arm == "flip none" else ["horizontal_flip"],
                policy=folder / "audit" / "policy.toml" if arm == "by policy" else None,
                audit=False,
                quiet=True,
            )
            accuracies[arm].append(deeper.evaluate(result.run, split="test").accuracy)
            shutil.rmtree(out)
        print(f"seed {seed}: " + ", ".join(f"{arm} {accuracies[arm][-1]:.2%}" for arm in ARMS), flush=True)
    for other in ARMS[:2]:
        differences = [one - two for one, two in zip(accuracies["by policy"], accuracies[other], strict=True)]
        mean = statistics.fmean(differences)
        half = _T[seeds - 2] * statistics.stdev(differences) / math.sqrt(seeds)
        print(
            f"{pictures:,} digits, {seeds} seeds: by policy − {other}: {mean * 100:+.3f} points "
            f"({(mean - half) * 100:+.3f} to {(mean + half) * 100:+.3f})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--policy-seeds", type=int, choices=range(2, 11), metavar="2…10")
    parser.add_argument("--pictures", type=int, default=1000, help="the smaller set; 0: only all")
    parser.add_argument("--epochs", type=float, help="instead of the recipe's, for the smaller set")
    parser.add_argument("--only-small", action="store_true", help="leave out all 55,000")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if arguments.policy_seeds is None:
            audited(dataset_for("mnist", folder=folder / "datasets"), arguments.fresh)
            flowers = Path(os.environ.get("DEEPER_DATA", "")) / "flowers12"
            if flowers.is_dir():
                audited(dataset_for(flowers, folder=folder / "datasets"), arguments.fresh)
            return
        if arguments.pictures:
            small = part_of_mnist(arguments.pictures, folder / "small")
            compared(small, arguments.policy_seeds, arguments.epochs, folder / "small-runs")
        if not arguments.only_small:
            compared(dataset_for("mnist", folder=folder), arguments.policy_seeds, None, folder / "all-runs")


if __name__ == "__main__":
    main()
