"""Small photographs in colour: the networks that are there for them, each by recipe `fast`, from random weights.

    python benchmarks/small_pictures.py [--side 32] [--seeds 3] [--models nielsen,inception_small] [--minutes M]

flowers12's photographs, cut to squares and shrunk to SIDE pixels: 720 to train and validate on, 240 to be tested with, once
for each network and seed. Printed: accuracies, seconds of training, and the difference of each network to the first,
paired and pooled over the seeds, with a 95 % interval; then the same without the test photographs that stand among the
others too. `--minutes`: so long for each, instead of what the recipe says.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
from data_folder import data_folder
from flowers import seen_elsewhere
from numpy.typing import NDArray
from PIL import Image

from deeper.records import Dataset, build
from deeper.runs import dataset_for, evaluate_run, train
from deeper.statistics import paired_interval


def shrunk(folder: Path, side: int) -> tuple[NDArray[np.uint8], list[str]]:
    """N × SIDE × SIDE × 3, and the names of their classes."""
    pictures, names = [], []
    for path in sorted(folder.rglob("*.jpg")):
        with Image.open(path) as photograph:
            whole = photograph.convert("RGB")
        square = min(whole.size)
        left, upper = (whole.width - square) // 2, (whole.height - square) // 2
        cut = whole.crop((left, upper, left + square, upper + square))
        pictures.append(np.asarray(cut.resize((side, side), Image.Resampling.LANCZOS)))
        names.append(path.parent.name)
    return np.stack(pictures), names


def seen_before(data: Path) -> NDArray[np.bool_]:
    """Which of the test photographs, in the order of their paths, stand among the others too."""
    whole = dataset_for(data)
    again = set(np.array(whole.split("test").ids)[seen_elsewhere(whole)])
    return np.array([path.relative_to(data).as_posix() in again for path in sorted((data / "test").rglob("*.jpg"))])


def compare(right: dict[str, list[NDArray[np.bool_]]], kept: NDArray[np.bool_]) -> None:
    """Print means and differences over the test photographs that are `kept`."""
    (first, before), *others = ((model, np.concatenate([one[kept] for one in seeds])) for model, seeds in right.items())
    print(f"{kept.sum()} test photographs: {first} {before.mean():.1%}")
    for model, after in others:
        pairs = [int(np.sum((after == a) & (before == b))) for a, b in ((1, 1), (1, 0), (0, 1), (0, 0))]
        low, high = paired_interval(*pairs)
        gained = 100 * (after.mean() - before.mean())
        print(
            f"  {model} {after.mean():.1%}; the difference {gained:+.1f} points ({100 * low:.1f} to {100 * high:.1f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", default="nielsen,inception_small")
    parser.add_argument("--minutes", type=float)
    arguments = parser.parse_args()
    data = data_folder() / "flowers12"
    right: dict[str, list[NDArray[np.bool_]]] = {}
    with tempfile.TemporaryDirectory() as place:
        source = {split: shrunk(data / split, arguments.side) for split in ("train", "test")}
        dataset = Dataset(build(source, Path(place) / "dataset").path)
        truth = dataset.split("test").labels
        for model in arguments.models.split(","):
            right[model], seconds = [], []
            for seed in range(arguments.seeds):
                run = Path(place) / f"{model}-{seed}"
                result = train(
                    dataset,
                    model=model,
                    recipe="fast",
                    minutes=arguments.minutes,
                    seed=seed,
                    out=run,
                    audit=False,
                    quiet=True,
                )
                right[model].append(evaluate_run(run, dataset, split="test").predicted == truth)
                seconds.append(result.seconds)
            shares = [float(np.mean(answers)) for answers in right[model]]
            each = ", ".join(f"{share:.1%}" for share in shares)
            print(
                f"{model} at {arguments.side} pixels: {each} of {len(truth)} test photographs, mean "
                f"{statistics.mean(shares):.1%}, {statistics.median(seconds):.0f} s of training",
                flush=True,
            )
    again = seen_before(data)
    for kept in (np.ones_like(again), ~again):
        compare(right, kept)


if __name__ == "__main__":
    main()
