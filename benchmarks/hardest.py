"""What stages that show the hardest pictures alone gain, at the same number of pictures shown.

    python benchmarks/hardest.py [--model inception_v3 --size 75 --batch 64] [--recipe fast] [--epochs 1.2]
                                 [--all 0.67] [--hardest 1,0.4,0.2,0.1] [--swap 0.03] [--seeds 0] [--threads 1]

MNIST's 60,000 training digits, a sixth of them held out for judging; the test digits are left alone. Every arm shows as
many digits; after the share `--all` of them, the rest are the hardest (1: all, as ever). `--swap`: that share of the
training labels is wrong, drawn at random; what is held out keeps its labels. One after the other; give each arm a call of
its own and a core (`--threads 1`) to run two at a time.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from deeper.cli.assignments import assigned
from deeper.records import BuildOptions, Dataset, build, open_source
from deeper.records.sources import Listing
from deeper.runs import train
from deeper.statistics import wilson_interval

# Of handwriting, for recipes that were made for photographs.
PUT_IN = ("rotation=10", "scale=0.85:1.15", "shear=8", "translation=0.06")
TAKEN_OUT = ("crop", "brightness", "contrast")


def held_out(folder: Path, swap: float) -> Dataset:
    """Five sixths to train on, one sixth to judge by."""
    mnist = open_source("mnist")
    mnist.items = [replace(one, split=None) for one in mnist.items if one.split != "test"]
    build(mnist, folder / "digits", options=BuildOptions(validation=1 / 6, test=0))
    dataset = Dataset(folder / "digits")
    if not swap:
        return dataset
    generator = np.random.default_rng(0)
    training = dataset.split("train").ids
    wrong = set(generator.choice(training, round(swap * len(training)), replace=False).tolist())
    splits = {name: part for part in ("train", "validation") for name in dataset.split(part).ids}

    def item(one):  # type: ignore[no-untyped-def]
        label = one.label
        if one.id in wrong:
            label = str(generator.choice([name for name in mnist.classes if name != label]))
        return replace(one, label=label, split=splits[one.id])

    items = [item(one) for one in mnist.items]
    listing = Listing(
        name="mnist",
        description=f"{mnist.description}, {swap:.1%} of the training labels swapped",
        classes=mnist.classes,
        list_items=lambda: items,
        identify=mnist.fingerprint,
    )
    build(listing, folder / "swapped", options=BuildOptions(validation=0, test=0))
    return Dataset(folder / "swapped")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="inception_v3")
    parser.add_argument("--recipe", default="fast")
    parser.add_argument("--size", type=int, default=75)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--epochs", type=float, default=1.2)
    parser.add_argument("--all", type=float, default=2 / 3, help="share of the digits shown before any are chosen")
    parser.add_argument("--hardest", default="1,0.4,0.2,0.1", help="arms")
    parser.add_argument("--swap", type=float, default=0.0)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="other options")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    inception = arguments.model.startswith("inception")
    with tempfile.TemporaryDirectory() as temporary:
        dataset = held_out(Path(temporary), arguments.swap)
        for share in map(float, arguments.hardest.split(",")):
            rest = {} if share == 1 else {"hardest": share}
            for seed in map(int, arguments.seeds.split(",")):
                result = train(
                    dataset,
                    model=arguments.model,
                    recipe=arguments.recipe,
                    epochs=arguments.epochs,
                    seed=seed,
                    out=Path(temporary) / f"{share}-{seed}",
                    distort=PUT_IN if inception else (),
                    no_distort=TAKEN_OUT if inception else (),
                    options={
                        **({"batch": batch} if (batch := arguments.batch or (64 if inception else None)) else {}),
                        **({"height": arguments.size, "width": arguments.size, "fill": "zeros"} if inception else {}),
                        "stages": [{"share": arguments.all}, rest] if rest else [],
                        "validate_every": 1000,
                        **assigned(arguments.set),
                    },
                    audit=False,
                    quiet=True,
                )
                assert result.validation is not None
                right, total = int(result.validation.right.sum()), result.validation.total
                low, high = (100 * bound for bound in wilson_interval(right, total))
                whom = "all digits" if share == 1 else f"the hardest {share:.0%}"
                print(
                    f"{arguments.model}, {whom}, seed {seed}: {total - right} errors of {total:,} "
                    f"({100 * right / total:.2f} %, {low:.2f} to {high:.2f}), log loss "
                    f"{result.validation.negative_log_likelihood:.4f}, {result.seconds:.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
