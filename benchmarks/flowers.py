"""Twelve kinds of flowers from random weights: `deeper train` against Keras' InceptionV3, the same minutes each.

    python benchmarks/flowers.py [--minutes 15] [--seeds 0,1,2] [--out runs/flowers] [--source DATA/flowers12]
                                 [--model inception_small --size 64 --without-keras]
                                 [--pretrain 15 [--tune-recipe fast]] [--device cuda]

Both get the same training photographs at 299 pixels, the same threads and the same wall-clock minutes. Ours: Inception v3,
recipe `fast` with horizontal flips, everything inside its --minutes (timing, validation). Keras: its usual augmentation,
the configuration that stands at the top of keras_flowers.py, mixed bf16 or fp32, whichever is faster here, the better by
the validation photographs of two learning rates for each seed (so Keras has twice the time), and validation and compilation
outside its minutes. Test photographs are judged once. Printed: both accuracies for each seed, and the difference pooled
over seeds with a paired 95 % interval (over photographs: the seeds' answers on one photograph count as separate pairs);
then the same without the test photographs that stand among those trained or validated on too.

`--pretrain MINUTES` adds the path a user has without downloads: Inception v3 is trained for so many minutes on another
set at hand, MNIST's digits in drawn colours at 108 pixels, once; then on the flowers for the same minutes as above, by
recipe `fast` too: digits are so little like flowers that all layers must learn, at the sizes by which they learn most
(`--tune-recipe fine-tune` is for weights of photographs). Printed: its accuracies, and the paired difference to random
weights.

Each finished run is kept in OUT and not done again; ours also goes on where it was interrupted. On a GPU (`--device
cuda`) not yet measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deeper import files
from deeper.images import Preprocess
from deeper.inspection.duplicates import confirmed, fingerprints, groups, same_pictures
from deeper.monitor import Console
from deeper.records import Dataset, build, open_source
from deeper.runs import Result, dataset_for, evaluate_run, resume, train
from deeper.runs.folder import is_run
from deeper.runs.result import Handler
from deeper.statistics import paired_interval
from deeper.training.precision import choose_device, choose_precision

KERAS_PYTHON = Path(".venv-tensorflow/bin/python")
# Of coloured digits, most that are taken; the side they are shown at.
DIGITS = {"train": 20_000, "validation": 1000, "test": 100}
PRETRAINED_SIZE = 108
RATES = (1e-3, 3e-4)
BATCH = 32


def finished(folder: Path, begin: Callable[[list[Handler]], Result]) -> Result:
    """The run in `folder`, begun or gone on with, its log appended to; ends the program where it is interrupted."""
    with open(folder.with_name(f"{folder.name}.log"), "a", encoding="utf-8") as stream:
        handlers: list[Handler] = [Console(stream=stream, seconds_between_lines=0).handle]
        result = resume(folder, handlers=handlers) if is_run(folder) else begin(handlers)
    if result.reason == "interrupted":
        sys.exit(130)
    return result


def answers(folder: Path, dataset: Dataset, device: str, begin: Callable[[list[Handler]], Result]) -> list[int]:
    """Answers on the test photographs by the run in `folder`, which is made where it is not there."""
    place = folder.with_name(f"{folder.name}.json")
    if not place.exists():
        result = finished(folder, begin)
        precision = choose_precision("auto", device)[0]
        judged = evaluate_run(folder, dataset, split="test", device=device, precision=precision)
        found = {"test": judged.predicted.tolist(), "steps": result.step, "seconds": result.seconds}
        files.write_text(place, json.dumps(found) + "\n")
    kept: list[int] = json.loads(place.read_text())["test"]
    return kept


def ours(
    dataset: Dataset,
    out: Path,
    minutes: float,
    size: int,
    seed: int,
    device: str,
    recipe: str = "fast",
    weights: Path | None = None,
    model: str = "inception_v3",
) -> list[int]:
    """Answers by the run of a seed, from random weights or from `weights`."""
    folder = out / (f"ours-{seed}" if weights is None else f"tuned-{recipe}-{seed}")

    def begin(handlers: list[Handler]) -> Result:
        return train(
            dataset,
            model=model,
            recipe=recipe,
            weights=weights,
            minutes=minutes,
            seed=seed,
            out=folder,
            distort=["horizontal_flip"],
            options={"height": size, "width": size},
            device=device,
            audit=False,
            handlers=handlers,
        )

    return answers(folder, dataset, device, begin)


def coloured_digits(place: Path) -> Dataset:
    """MNIST's digits in colours drawn for each: ink and paper, at least a quarter of the range apart in brightness."""
    if not (place / "dataset.json").exists():
        digits, draw = dataset_for("mnist"), np.random.default_rng(0)
        arrays: dict[str, tuple[Any, list[str]]] = {}
        for name, most in DIGITS.items():
            split = digits.split(name)
            count = min(most, len(split))
            ink, paper = draw.uniform(0, 255, (2, count, 1, 1, 3))
            close = np.abs(ink.mean(-1) - paper.mean(-1)).reshape(-1) < 64
            paper[close] = (ink[close] + 127) % 255
            chosen = draw.permutation(len(split))[:count]
            share = np.stack([split.picture(position) for position in chosen.tolist()]) / 255
            pictures = (share * ink + (1 - share) * paper).round().astype(np.uint8)
            arrays[name] = pictures, [digits.classes[label] for label in split.labels[chosen]]
        build(open_source(arrays), place)
    return Dataset(place)


def pretrained(out: Path, minutes: float, device: str) -> Path:
    """The run on coloured digits, made once."""
    folder = out / f"pretrained-{minutes:g}"
    done = out / f"pretrained-{minutes:g}.json"
    if not done.exists():
        digits = coloured_digits(out / "coloured-digits")

        def begin(handlers: list[Handler]) -> Result:
            return train(
                digits,
                model="inception_v3",
                recipe="fast",
                minutes=minutes,
                out=folder,
                options={"height": PRETRAINED_SIZE, "width": PRETRAINED_SIZE},
                device=device,
                audit=False,
                handlers=handlers,
            )

        result = finished(folder, begin)
        accuracy = float(result.validation.accuracy) if result.validation else None
        files.write_text(done, json.dumps({"steps": result.step, "validation": accuracy}) + "\n")
    found = json.loads(done.read_text())
    print(f"pretrained on coloured digits: {found['steps']} steps, validation {found['validation']:.2%}", flush=True)
    return folder


def keras_mixed(out: Path, size: int, threads: int) -> bool:
    """Whether Keras is faster in mixed bf16 than in fp32 on this machine, measured once."""
    place = out / "keras-mixed.json"
    if not place.exists():
        settings = [{"mixed": mixed, "compiled": False} for mixed in (True, False)]
        asked = {"size": size, "batch": BATCH, "steps": 3, "threads": threads, "settings": settings}
        rates = keras("keras_inception.py", asked)["rates"]
        print(f"keras: {rates[0]:.1f} img/s in mixed bf16, {rates[1]:.1f} in fp32", flush=True)
        files.write_text(place, json.dumps(rates[0] > rates[1]) + "\n")
    return bool(json.loads(place.read_text()))


def keras(script: str, asked: dict[str, Any]) -> dict[str, Any]:
    """What a script of the TensorFlow environment prints."""
    command = [str(KERAS_PYTHON), str(Path(__file__).with_name(script)), json.dumps(asked)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def theirs(out: Path, arrays: Path, validation: NDArray[np.int64], asked: dict[str, Any]) -> list[int]:
    """Answers of Keras on the test photographs, of the rate that validates better."""
    runs = []
    for rate in RATES:
        place = out / f"keras-{asked['seed']}-{rate:g}.json"
        if not place.exists():
            found = keras("keras_flowers.py", {**asked, "arrays": str(arrays), "rate": rate})
            files.write_text(place, json.dumps({**found, "asked": asked}) + "\n")
        runs.append(json.loads(place.read_text()))
    scores = [float(np.mean(np.array(run["val"]) == validation)) for run in runs]
    chosen = int(np.argmax(scores))
    print(
        f"  keras seed {asked['seed']}: rates {RATES} validate at {scores[0]:.1%} and {scores[1]:.1%}, "
        f"{runs[chosen]['steps']} steps of {BATCH}",
        flush=True,
    )
    found_best: list[int] = runs[chosen]["test"]
    return found_best


def by_batches(out: Path, seeds: list[int], labels: NDArray[np.int64]) -> dict[int, NDArray[np.bool_]]:
    """Seed → what Keras gets right by the statistics of batches of test photographs, of the rate that does so better: more
    than a user could have. Only of seeds that were answered so."""
    found: dict[int, NDArray[np.bool_]] = {}
    for seed in seeds:
        runs = [json.loads((out / f"keras-{seed}-{rate:g}.json").read_text()) for rate in RATES]
        if all("test_by_batch" in run for run in runs):
            found[seed] = max(
                (np.array(run["test_by_batch"]) == labels for run in runs), key=lambda one: float(one.mean())
            )
    return found


def write_arrays(dataset: Dataset, size: int, place: Path) -> None:
    """The dataset's photographs at the network's size, for Keras."""
    fit = Preprocess(height=size, width=size, channels=3)
    arrays: dict[str, Any] = {}
    for name, short in (("train", "train"), ("validation", "val"), ("test", "test")):
        split = dataset.split(name)
        pictures = [fit.fit(split.picture(position, at_least=fit.needed)) for position in range(len(split))]
        arrays[f"{short}_images"], arrays[f"{short}_labels"] = np.stack(pictures), split.labels
    np.savez(place, **arrays)


def seen_elsewhere(dataset: Dataset) -> NDArray[np.bool_]:
    """Which test photographs are in another split too, as `deeper labels` finds them by their pixels."""
    splits = [dataset.split(name) for name in ("train", "validation", "test")]
    before = len(splits[0]) + len(splits[1])
    found = np.zeros(len(splits[2]), bool)
    for group in groups(confirmed(same_pictures(fingerprints(splits)), splits)):
        members = np.array(group.members)
        if members.min() < before:
            found[members[members >= before] - before] = True
    return found


def check_settings(out: Path, arguments: argparse.Namespace, device: str) -> None:
    """One setting a folder: what is done already is not done again. Ends the program where another was asked for."""
    settings = {"source": str(arguments.source.resolve()), "threads": arguments.threads, "device": device}
    settings |= {"pretrain": arguments.pretrain, "tune_recipe": arguments.tune_recipe}
    place = out / "settings.json"
    if place.exists() and (kept := json.loads(place.read_text())) != settings:
        sys.exit(f"{out} holds runs with {kept}; give another --out, or the same flags")
    files.write_text(place, json.dumps(settings, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--size", type=int, default=299)
    parser.add_argument("--model", default="inception_v3", help="ours; with --without-keras, and no --pretrain")
    parser.add_argument("--out", type=Path, default=Path("runs/flowers"))
    parser.add_argument("--source", type=Path, default=Path(os.environ.get("DEEPER_DATA", "data")) / "flowers12")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--without-keras", action="store_true")
    parser.add_argument("--pretrain", type=float, metavar="MINUTES", help="fine-tune too, after so long on digits")
    parser.add_argument("--tune-recipe", default="fast", help="of the training after --pretrain")
    parser.add_argument("--device", default="auto", help="cpu or cuda, for ours")
    arguments = parser.parse_args()
    another = arguments.model != "inception_v3"
    if another and (arguments.pretrain or not arguments.without_keras):
        parser.error("--model goes with --without-keras and without --pretrain")
    device = choose_device(arguments.device)
    torch.set_num_threads(arguments.threads)
    out = (
        arguments.out / f"minutes-{arguments.minutes:g}-size-{arguments.size}{f'-{arguments.model}' if another else ''}"
    )
    out.mkdir(parents=True, exist_ok=True)
    check_settings(out, arguments, device)
    dataset = dataset_for(arguments.source)
    counts = {name: split.count for name, split in dataset.info.splits.items()}
    print(f"{dataset.info.name}: {counts}, {arguments.minutes:g} minutes each, {arguments.threads} threads", flush=True)
    arrays = out / "photographs.npz"
    if not arrays.exists():
        write_arrays(dataset, arguments.size, arrays)
    labels, validation = dataset.split("test").labels, dataset.split("validation").labels
    first = pretrained(out, arguments.pretrain, device) if arguments.pretrain else None
    right_ours, right_tuned, right_theirs = [], [], []
    seeds = [int(one) for one in arguments.seeds.split(",")]
    for seed in seeds:
        same = (dataset, out, arguments.minutes, arguments.size, seed, device)
        right_ours.append(np.array(ours(*same, model=arguments.model)) == labels)
        print(f"seed {seed}: deeper {right_ours[-1].mean():.1%}", flush=True)
        if first is not None:
            right_tuned.append(np.array(ours(*same, arguments.tune_recipe, first)) == labels)
            print(f"seed {seed}: deeper, fine-tuned {right_tuned[-1].mean():.1%}", flush=True)
        if arguments.without_keras:
            continue
        asked = {
            "seed": seed,
            "minutes": arguments.minutes,
            "batch": BATCH,
            "threads": arguments.threads,
            "mixed": keras_mixed(out, arguments.size, arguments.threads),
        }
        right_theirs.append(np.array(theirs(out, arrays, validation, asked)) == labels)
        print(f"seed {seed}: keras {right_theirs[-1].mean():.1%}", flush=True)
    elsewhere = seen_elsewhere(dataset)
    print(f"{elsewhere.sum()} of the {len(elsewhere)} test photographs are in another split too")
    for what, kept in (("all test photographs", np.ones_like(elsewhere)), ("those in no other split", ~elsewhere)):
        mine = np.concatenate([one[kept] for one in right_ours])
        print(f"{what}: deeper {mine.mean():.2%}")
        for name, others, sign in (("fine-tuned", right_tuned, -1), ("keras", right_theirs, 1)):
            if others:
                report(name, mine, np.concatenate([one[kept] for one in others]), sign, len(right_ours))
        if right_theirs and (batches := by_batches(out, seeds, labels)):
            mine = np.concatenate([right_ours[seeds.index(seed)][kept] for seed in batches])
            others = np.concatenate([one[kept] for one in batches.values()])
            report("keras by the statistics of batches", mine, others, 1, len(batches))


def report(name: str, ours: NDArray[np.bool_], others: NDArray[np.bool_], sign: int, seeds: int) -> None:
    """Print the mean of `others` and the paired difference: random weights minus them, or (`sign` −1) the reverse."""
    one, other = (ours, others) if sign > 0 else (others, ours)
    pairs = [int(np.sum((one == a) & (other == b))) for a, b in ((1, 1), (1, 0), (0, 1), (0, 0))]
    low, high = paired_interval(*pairs)
    what = f"deeper − {name}" if sign > 0 else f"{name} − from random weights"
    print(f"{name}: mean {others.mean():.2%}")
    print(
        f"{what}: {one.mean() - other.mean():+.2%}, paired 95 % interval {low:+.2%} to {high:+.2%} "
        f"({len(one)} answers of {seeds} seeds)"
    )


if __name__ == "__main__":
    main()
