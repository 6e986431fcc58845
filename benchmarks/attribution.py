"""Planted truth: does `deeper inspect` name the distortion that was planted, and leave harmless ones alone?

    python benchmarks/attribution.py                           ten seeds, 10,000 training pictures: under an hour
    python benchmarks/attribution.py --seeds 1 --pictures 3000 the quick form
    python benchmarks/attribution.py --only hflip-digits       one row of the table
    python benchmarks/attribution.py --keep FOLDER             can be interrupted; the same command goes on

NielsenNet is trained with a planted distortion among three harmless ones (moved by 1 pixel, turned by 3°, slightly
brighter or darker) and inspected on pictures that are in no training. Planted: on MNIST and on rendered letters that
truly collide (b d p q n u and others), a horizontal flip, a vertical flip, rotation by up to 180°, and two flips at once.
Harmless: the three alone, and a horizontal flip on flowers12, where left and right mean the same.

Prints one JSON object per run to standard error, a table at the end, and below it what is wanted: the planted distortions
lead in at least 95 % of runs, harmless ones are accused in at most 5 %. `--keep` holds what is done in FOLDER/runs.jsonl,
and the datasets with their judges. Data: DEEPER_DATA, as for the tests.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from data_folder import data_folder
from PIL import Image, ImageDraw, ImageFont

import deeper
from deeper.audit.judge import judge_for
from deeper.audit.options import JudgeOptions
from deeper.inspection import Inspection
from deeper.records import Dataset, build, open_source
from deeper.records.options import BuildOptions
from deeper.statistics import wilson_interval

# A quicker judge than the usual one: there is one for each seed and source.
JUDGE = JudgeOptions(folds=2, epochs=8)
HARMLESS = ("translation=0.036", "rotation=3", "brightness=0.05")
LETTERS = "bdpqnuaekmstwz"
SIDE = 28


@dataclass(frozen=True)
class Case:
    """What is planted in the pictures of `source`; `wanted`: names that must lead the ranking, none: nothing may be
    accused."""

    name: str
    source: str
    planted: tuple[str, ...]
    wanted: tuple[str, ...]


CASES = (
    Case("hflip-digits", "digits", ("horizontal_flip",), ("horizontal_flip",)),
    Case("vflip-digits", "digits", ("vertical_flip",), ("vertical_flip",)),
    Case("turn-digits", "digits", ("rotation=180",), ("rotation",)),
    Case("two-digits", "digits", ("horizontal_flip", "vertical_flip"), ("horizontal_flip", "vertical_flip")),
    Case("hflip-letters", "letters", ("horizontal_flip",), ("horizontal_flip",)),
    Case("vflip-letters", "letters", ("vertical_flip",), ("vertical_flip",)),
    Case("turn-letters", "letters", ("rotation=180",), ("rotation",)),
    Case("harmless-digits", "digits", (), ()),
    Case("harmless-letters", "letters", (), ()),
    Case("hflip-flowers", "flowers", ("horizontal_flip",), ()),
)


def digits(count: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """`count` training digits, drawn anew for each seed, and the 10,000 test digits to inspect."""
    folder = data_folder() / "mnist"
    source = open_source(folder)
    by_split: dict[str, list] = {"train": [], "test": []}
    for item in source.items:
        by_split["test" if item.split == "test" else "train"].append(item)
    chosen = np.random.default_rng(seed).permutation(len(by_split["train"]))[:count]
    picked = {"train": [by_split["train"][row] for row in chosen], "validation": by_split["test"]}
    return {
        split: (np.stack([item.array for item in items]), np.array([int(item.label) for item in items]))
        for split, items in picked.items()
    }


def letters(count: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Letters drawn in several fonts, sizes, slants and places, blurred and noisy enough for some errors."""
    generator = np.random.default_rng(seed)
    fonts = _fonts()

    def drawn(number: int) -> tuple[np.ndarray, np.ndarray]:
        labels = generator.integers(0, len(LETTERS), number)
        pictures = np.stack([_letter(LETTERS[label], fonts, generator) for label in labels])
        return pictures, labels

    return {"train": drawn(count), "validation": drawn(5_000)}


def _fonts() -> list[Path]:
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    names = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSansMono", "STIXGeneral")
    return [folder / f"{name}.ttf" for name in names]


def _letter(letter: str, fonts: list[Path], generator: np.random.Generator) -> np.ndarray:
    font = ImageFont.truetype(str(fonts[generator.integers(len(fonts))]), int(generator.integers(34, 46)))
    image = Image.new("L", (56, 56), 0)
    ImageDraw.Draw(image).text((28, 28), letter, fill=255, font=font, anchor="mm")
    slant = generator.normal(0, 0.15)
    grow_x, grow_y = np.exp(generator.normal(0, 0.12, 2))
    moved_x, moved_y = generator.normal(0, 2.5, 2)
    matrix = (grow_x, slant, 28 - 28 * (grow_x + slant) + moved_x, 0.0, grow_y, 28 - 28 * grow_y + moved_y)
    image = image.transform((56, 56), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    # Handwriting's share of the trouble: a stroke is missing here, another is there.
    draw = ImageDraw.Draw(image)
    for shade in (0, 200):
        if generator.random() < 0.35:
            x, y = generator.integers(8, 48, 2)
            draw.line((x, y, x + generator.integers(-10, 11), y + generator.integers(-10, 11)), fill=shade, width=5)
    small = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
    noisy = small * generator.uniform(0.5, 1) + generator.normal(0, 22, small.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def dataset(case: Case, count: int, seed: int, folder: Path) -> Dataset:
    """The case's pictures as a dataset, built once for all cases that share it."""
    target = folder / (f"{case.source}-{seed}" if case.source == "flowers" else f"{case.source}-{count}-{seed}")
    if target.exists():
        return Dataset(target)
    if case.source == "flowers":
        flowers = data_folder() / "flowers12"
        build(open_source(flowers), target, options=BuildOptions(validation=0.3, seed=seed))
        return Dataset(target)
    arrays = (digits if case.source == "digits" else letters)(count, seed)
    names = list("0123456789") if case.source == "digits" else list(LETTERS)
    named = {split: (pictures, [names[label] for label in labels]) for split, (pictures, labels) in arrays.items()}
    build(open_source(named), target, options=BuildOptions())
    return Dataset(target)


def one_run(case: Case, count: int, seed: int, epochs: float, folder: Path) -> Inspection:
    """Train and inspect; the run folder goes away afterwards."""
    out = folder / f"run-{case.name}-{seed}"
    data = dataset(case, count, seed, folder)
    size = {"height": 32, "width": 32} if case.source == "flowers" else {}
    # Of a run that was interrupted.
    shutil.rmtree(out, ignore_errors=True)
    deeper.train(
        data,
        model="nielsen",
        recipe="fast",
        out=out,
        epochs=epochs,
        seed=seed,
        no_distort=("all",),
        distort=(
            *case.planted,
            *(text for text in HARMLESS if text.partition("=")[0] not in {p.partition("=")[0] for p in case.planted}),
        ),
        options={"detail_every": 10**6, "validate_every": epochs, "checkpoint_every": epochs, **size},
        quiet=True,
    )
    try:
        return deeper.inspect(out, split="validation", judge=judge_for(data, options=JUDGE))
    finally:
        shutil.rmtree(out)


def judged(case: Case, found: Inspection) -> dict[str, object]:
    """One run as a line: what led, what was accused, whether that is right."""
    ranked = [one.distortion for one in found.evidence]
    accused = [one.distortion for one in found.evidence if one.accused]
    first = found.evidence[0]
    return {
        "case": case.name,
        "accuracy": round(found.evaluation.accuracy, 4),
        "errors": len(found.wrong),
        "first": ranked[0],
        "collided": first.collided,
        "placebo": first.placebo_collided,
        "p_value": first.adjusted_p_value,
        "accused": accused,
        "right": set(ranked[: len(case.wanted)]) == set(case.wanted),
        "wrongly_accused": [name for name in accused if name not in case.wanted],
        "harmless": len(ranked) - len(case.wanted),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--epochs", type=float, default=6.0)
    parser.add_argument("--only", nargs="*", choices=[case.name for case in CASES])
    parser.add_argument("--keep", type=Path, help="folder for what is done, to go on from")
    given = parser.parse_args()
    began, used = time.perf_counter(), time.process_time()
    lines = []
    if given.keep:
        given.keep.mkdir(parents=True, exist_ok=True)
    with nullcontext(str(given.keep)) if given.keep else tempfile.TemporaryDirectory() as place:
        log = Path(place) / "runs.jsonl"
        known = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        for seed in range(given.seeds):
            for case in CASES:
                if given.only and case.name not in given.only:
                    continue
                asked = {"case": case.name, "seed": seed, "pictures": given.pictures, "epochs": given.epochs}
                line = next((old for old in known if asked.items() <= old.items()), None)
                if line is None:
                    started = time.process_time()
                    found = judged(case, one_run(case, given.pictures, seed, given.epochs, Path(place)))
                    line = {**asked, **found, "processor_seconds": round(time.process_time() - started, 1)}
                    with log.open("a") as stream:
                        stream.write(json.dumps(line) + "\n")
                    print(json.dumps(line), file=sys.stderr, flush=True)
                lines.append(line)
    print(
        f"{'case':<18}{'runs':>5}{'planted first':>15}{'accused':>9}{'wrongly accused':>17}{'errors':>8}{'collide':>9}{'placebo':>9}"
    )
    for case in CASES:
        mine = [line for line in lines if line["case"] == case.name]
        if not mine:
            continue
        led = f"{sum(bool(line['right']) for line in mine)}/{len(mine)}" if case.wanted else "–"
        hit = sum(set(case.wanted) <= set(line["accused"]) for line in mine) if case.wanted else 0
        false = sum(len(line["wrongly_accused"]) for line in mine)
        tried = sum(int(line["harmless"]) for line in mine)
        mean = {key: sum(float(line[key]) for line in mine) / len(mine) for key in ("errors", "collided", "placebo")}
        print(
            f"{case.name:<18}{len(mine):>5}{led:>15}{(f'{hit}/{len(mine)}' if case.wanted else '–'):>9}{f'{false}/{tried}':>17}"
            f"{mean['errors']:>8.0f}{mean['collided']:>9.1f}{mean['placebo']:>9.1f}"
        )
    print(
        f"{given.pictures:,} training pictures, {given.epochs:g} epochs, {given.seeds} seeds, {time.perf_counter() - began:,.0f} s, "
        f"{time.process_time() - used:,.0f} s of processor time now, {sum(float(line['processor_seconds']) for line in lines):,.0f} s in all"
    )
    wanted = {case.name: case.wanted for case in CASES}
    planted = [line for line in lines if wanted[line["case"]]]
    clean = [line for line in lines if not wanted[line["case"]]]
    hits = sum(set(wanted[line["case"]]) <= set(line["accused"]) for line in planted)
    acceptance("planted accused, all of them", hits, len(planted), "as it comes")
    acceptance("planted lead", sum(bool(line["right"]) for line in planted), len(planted), "at least 95 %")
    accused = sum(len(line["wrongly_accused"]) for line in lines)
    acceptance("harmless distortions accused", accused, sum(line["harmless"] for line in lines), "at most 5 %")
    runs = sum(bool(line["wrongly_accused"]) for line in clean)
    acceptance("runs without a plant that accuse anything", runs, len(clean), "at most 5 %")


def acceptance(what: str, count: int, total: int, aim: str) -> None:
    """One line: a share with its interval beside what is wanted of it."""
    low, high = wilson_interval(count, total)
    print(f"{what}: {count} of {total} ({count / max(1, total):.0%}; {low:.0%}–{high:.0%}), wanted {aim}")


if __name__ == "__main__":
    main()
