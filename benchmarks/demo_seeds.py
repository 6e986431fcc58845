"""The demo with five seeds: accuracy on the test digits and seconds of training, each reported.

    python benchmarks/demo_seeds.py [--seeds 5] [--recipe fast] [--model nielsen] [--epochs 7] [--last-fit]

Each seed trains the recipe's fixed number of epochs on the 55,000 training digits and judges the 10,000 test digits
once. `--recipe best` gives the figure for that recipe. `--last-fit`: on all 60,000, the 5,000 validation digits
included, as one does once everything is chosen; nothing is validated then, and the last weights are kept.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

from deeper.records import BuildOptions, Dataset, build, open_source
from deeper.runs import dataset_for, evaluate_run, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--model", help="chosen as `deeper train` does where none is given")
    parser.add_argument("--epochs", type=float, help="instead of the recipe's")
    parser.add_argument("--last-fit", action="store_true", help="train on the validation digits too")
    arguments = parser.parse_args()
    accuracies, seconds = [], []
    with tempfile.TemporaryDirectory() as temporary:
        dataset = dataset_for("mnist")
        if arguments.last_fit:
            whole, mnist = Path(temporary) / "mnist", open_source("mnist")
            # The set gives its validation digits itself; here they teach.
            mnist.items = [replace(one, split="test" if one.split == "test" else "train") for one in mnist.items]
            build(mnist, whole, options=BuildOptions(validation=0))
            dataset = Dataset(whole)
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            out = Path(temporary) / f"seed-{seed}"
            result = train(
                dataset,
                model=arguments.model,
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
        f"recipe {arguments.recipe}, {result.run.config.options.model}, {dataset.info.splits['train'].count:,} digits, {len(accuracies)} seeds: median {statistics.median(accuracies):.2%}, "
        f"mean {statistics.fmean(accuracies):.3%}, lowest {min(accuracies):.2%}, "
        f"median {statistics.median(seconds):.0f} s of training, peak memory {memory:.2f} GB"
    )


if __name__ == "__main__":
    main()
