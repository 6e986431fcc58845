"""Doubtful labels: of labels swapped on purpose, how many are among the first suspects?

    python benchmarks/labels.py                 MNIST at 1 %, random and look-alike; flowers12 at 5 %
    python benchmarks/labels.py --only random   one of random, alike, flowers

Swapped are labels of pictures that the source puts in train (of MNIST 55,000). With k swapped, the first k suspects are counted, over all splits. Pictures that were wrong before count as false alarms.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from deeper.audit.options import JudgeOptions
from deeper.inspection.labels import LabelOptions, find_doubts
from deeper.records import Dataset, build, open_source
from deeper.records.sources import Listing
from deeper.statistics import wilson_interval

# Pairs that people confuse too.
ALIKE = {"4": "9", "9": "4", "3": "5", "5": "3", "7": "2", "2": "7", "1": "7", "6": "0", "0": "6", "8": "3"}


def swapped(source: Listing, share: float, alike: bool, seed: int) -> tuple[Listing, set[str]]:
    """The source with a share of its training labels swapped, and the ids of these pictures."""
    generator = np.random.default_rng(seed)
    items = list(source.items)
    training = [number for number, item in enumerate(items) if item.split in (None, "train")]
    chosen = generator.choice(training, round(share * len(training)), replace=False)
    for number in chosen:
        item = items[number]
        others = [name for name in source.classes if name != item.label]
        label = ALIKE[item.label] if alike else str(generator.choice(others))
        items[number] = replace(item, label=label)
    listing = Listing(
        name=source.name,
        description=f"{source.description}, {share:.0%} of the training labels swapped",
        classes=source.classes,
        list_items=lambda: items,
        identify=source.fingerprint,
    )
    return listing, {items[number].id for number in chosen}


def measure(name: str, source: Listing, share: float, alike: bool, options: JudgeOptions, seed: int) -> None:
    """Print one line."""
    listing, wrong = swapped(source, share, alike, seed)
    with tempfile.TemporaryDirectory() as folder:
        build(listing, Path(folder) / "swapped")
        dataset = Dataset(Path(folder) / "swapped")
        began = time.perf_counter()
        doubts = find_doubts(dataset, options=LabelOptions(judge=options))
        seconds = time.perf_counter() - began
    listed = sum(one.id in wrong for one in doubts.suspects)
    first = doubts.suspects[: len(wrong)]
    found = sum(one.id in wrong for one in first)
    low, high = wilson_interval(found, len(wrong))
    parts = ", ".join(f"{part} {value:.0f}" for part, value in doubts.seconds.items())
    print(
        f"{name}: {len(wrong)} swapped; of the first {len(wrong)} suspects {found} truly swapped, "
        f"{found / len(wrong):.1%} ({low:.1%}–{high:.1%}); of all {len(doubts.suspects)} suspects {listed}; "
        f"judge {doubts.judge_accuracy:.2%}; {seconds:.0f} s ({parts}); load {os.getloadavg()[0]:.0f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("random", "alike", "flowers"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="networks per fold of the judge")
    parser.add_argument("--folds", type=int)
    parser.add_argument("--epochs", type=float)
    arguments = parser.parse_args()
    options = JudgeOptions(folds=arguments.folds, seeds=arguments.seeds, epochs=arguments.epochs)
    data = Path(os.environ.get("DEEPER_DATA", "data"))
    if arguments.only in (None, "random"):
        measure("MNIST, 1 % at random", open_source("mnist"), 0.01, False, options, arguments.seed)
    if arguments.only in (None, "alike"):
        measure("MNIST, 1 % look-alike", open_source("mnist"), 0.01, True, options, arguments.seed)
    if arguments.only in (None, "flowers"):
        measure("flowers12, 5 % at random", open_source(data / "flowers12"), 0.05, False, options, arguments.seed)


if __name__ == "__main__":
    main()
