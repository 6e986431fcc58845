"""Fine-tuning against training from random weights, with equal steps on the same few pictures.

    python benchmarks/fine_tune.py [--source mnist] [--pretraining-steps 1500] [--few 10] [--seeds 2] [--out FOLDER]

An Inception v1 is pretrained on half of the classes of a set at hand (of MNIST the digits 0 to 4), with the recipe
`fast`. Then, for the other classes and `--few` training pictures of each, it is fine-tuned by the recipe `fine-tune`
and, with as many steps of equal batches, trained from random weights by `fast`. Both are judged on all test pictures of
those classes. One thread; about eight minutes of one core with the defaults.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import deeper
from deeper.records import BuildOptions, Dataset, build, open_source
from deeper.runs import dataset_for
from deeper.statistics import wilson_interval


def part(whole: Dataset, classes: list[int], out: Path, few: int | None) -> Dataset:
    """The pictures of some classes as a dataset of its own, at most `few` of each for training."""
    arrays: dict[str, tuple[Any, list[str]]] = {}
    for name in ("train", "validation", "test"):
        split = whole.split(name)
        chosen: list[int] = []
        for label in classes:
            members = np.flatnonzero(split.labels == label).tolist()
            chosen += members[:few] if name == "train" and few else members
        pictures = [split.picture(position) for position in chosen]
        arrays[name] = (np.stack(pictures), [whole.classes[split.labels[position]] for position in chosen])
    build(open_source(arrays), out, options=BuildOptions(workers=1))
    return Dataset(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="mnist", help="small pictures of one size")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--pretraining-steps", type=int, default=1500)
    parser.add_argument("--few", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of the fine-tuning")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    from deeper.cli.assignments import assigned

    changed = assigned(arguments.set)
    with tempfile.TemporaryDirectory() as temporary:
        out = arguments.out or Path(temporary)
        whole = dataset_for(arguments.source)
        half = len(whole.classes) // 2
        known, new = list(range(half)), list(range(half, len(whole.classes)))
        side = {"height": arguments.size, "width": arguments.size}
        first = out / "pretrained"
        if not (first / "bundle").is_dir():
            data = part(whole, known, out / "known", None)
            per_epoch = len(data.split("train")) // 32
            began = time.perf_counter()
            result = deeper.train(
                data, model="inception_v1", recipe="fast", epochs=arguments.pretraining_steps / per_epoch, out=first,
                audit=False, quiet=True, options={**side, "batch": 32, "validate_every": 1000},
            )  # fmt: skip
            assert result.validation is not None
            print(
                f"pretrained on {len(data.split('train')):,} pictures of {half} classes: {result.step:,} steps, "
                f"validation {result.validation.accuracy:.2%}, {time.perf_counter() - began:.0f} s",
                flush=True,
            )
        few = out / f"few-{arguments.few}"
        data = Dataset(few) if few.is_dir() else part(whole, new, few, arguments.few)
        totals: dict[str, tuple[int, int]] = {}
        for seed in range(arguments.seeds):
            began = time.perf_counter()
            tuned = deeper.train(
                data, weights=first, out=out / f"tuned-{seed}", seed=seed, audit=False, quiet=True,
                options={**side, **changed, "validate_every": 1000},
            )  # fmt: skip
            chosen = tuned.run.config.options
            scratch = deeper.train(
                data, model="inception_v1", recipe="fast", epochs=chosen.epochs, out=out / f"scratch-{seed}",
                seed=seed, audit=False, quiet=True,
                options={**side, "batch": chosen.batch, "validate_every": 1000},
            )  # fmt: skip
            assert scratch.step == tuned.step
            for name, run in (("fine-tuned", tuned.run), ("from random weights", scratch.run)):
                judged = deeper.evaluate(run, split="test")
                right, total = totals.get(name, (0, 0))
                totals[name] = right + judged.correct, total + judged.total
                print(
                    f"seed {seed}: {name}: {judged.accuracy:.2%} of {judged.total:,} test pictures, {tuned.step} steps of "
                    f"{chosen.batch}",
                    flush=True,
                )
            print(f"seed {seed}: {time.perf_counter() - began:.0f} s; batch norm: {tuned.batch_norm}", flush=True)
        for name, (right, total) in totals.items():
            low, high = wilson_interval(right, total)
            print(f"{name}: {right / total:.2%} ({low:.2%} to {high:.2%} over all test pictures of all seeds)")


if __name__ == "__main__":
    main()
