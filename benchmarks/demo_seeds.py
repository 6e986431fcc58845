"""The demo with five seeds: accuracy on the test digits and seconds of training, each reported.

    python benchmarks/demo_seeds.py [--seeds 5] [--recipe fast] [--epochs 7]

Each seed trains the recipe's fixed number of epochs on the 55,000 training digits and judges the 10,000 test digits
once. `--recipe best` gives the figure for that recipe.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
from pathlib import Path

from deeper.runs import dataset_for, evaluate_run, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--epochs", type=float, help="instead of the recipe's")
    arguments = parser.parse_args()
    dataset = dataset_for("mnist")
    accuracies, seconds = [], []
    with tempfile.TemporaryDirectory() as temporary:
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            out = Path(temporary) / f"seed-{seed}"
            result = train(
                dataset,
                model="nielsen",
                recipe=arguments.recipe,
                epochs=arguments.epochs,
                seed=seed,
                out=out,
                quiet=True,
            )
            if result.reason == "interrupted":
                raise SystemExit("interrupted: what was trained so far is no result")
            evaluation = evaluate_run(result.run, split="test")
            accuracies.append(evaluation.accuracy)
            seconds.append(result.seconds)
            validation = f"{result.validation.accuracy:.2%}" if result.validation else "-"
            print(
                f"seed {seed}: test {evaluation.accuracy:.2%}, validation {validation}, {result.seconds:.0f} s",
                flush=True,
            )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"recipe {arguments.recipe}, {len(accuracies)} seeds: median {statistics.median(accuracies):.2%}, "
        f"mean {statistics.fmean(accuracies):.3%}, lowest {min(accuracies):.2%}, "
        f"median {statistics.median(seconds):.0f} s of training, peak memory {memory:.2f} GB"
    )


if __name__ == "__main__":
    main()
