"""The guide's finding as a command: errors on MNIST that the horizontal flip taught.

    python benchmarks/guide_finding.py                        NielsenNet: the inspection, then five runs with and five without
    python benchmarks/guide_finding.py --inception 25         Inception v3 with the guide's distortions, 25 minutes of training
    python benchmarks/guide_finding.py --keep FOLDER          can be interrupted; the same command goes on

NielsenNet trains by recipe `fast` plus horizontal flip. Inception v3 trains by recipe `fast` with the distortions of
recipe `guide` (random box, horizontal flip, the guide's colours) at `--size` pixels for so many minutes; with `--steps`
it goes on from its weights for so many steps with and without the flip, five times each (a removal effect).

Prints for each inspected split what collided by each distortion and by its placebos, whether the flip leads as wanted
(first, 1.5 times the strongest placebo, significantly), the pairs 2→6 and 5→2, seconds without the judge's training,
and of an ablation the errors of both arms. Reports lie in FOLDER. Data: DEEPER_DATA, as for the tests.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

import deeper
from deeper.bundle import is_bundle
from deeper.inspection import Evidence, Inspection
from deeper.inspection.report import write_report
from deeper.records import Dataset
from deeper.runs import Run, dataset_for, resume
from deeper.runs.folder import is_run

FLIP, RATIO, LEVEL, WANTED_SECONDS = "horizontal_flip", 1.5, 0.05, 60
PAIRS = (("2", "6"), ("5", "2"))


def trained(out: Path, dataset: Dataset, **how: Any) -> Path:
    """The run in `out`: finished earlier, gone on with, or begun."""
    if is_run(out) and is_bundle(out / "bundle"):
        return out
    began = time.perf_counter()
    if is_run(out) and Run(out).steps():
        result = resume(out, quiet=True)
    else:
        result = deeper.train(dataset, out=out, audit=False, quiet=True, **how)
    if result.reason == "interrupted":
        raise SystemExit(f"stopped at step {result.step:,}; the same command goes on")
    print(f"{out.name}: {result.step:,} steps in {time.perf_counter() - began:.0f} s", flush=True)
    return out


def inspected(run: Path, split: str, place: Path, **how: Any) -> Inspection:
    """Inspect, write the report, print what was found."""
    began = time.perf_counter()
    found = deeper.inspect(run, split=split, **how)
    apart = found.seconds["judge"] + found.seconds.get("ablation", 0.0)
    seconds = time.perf_counter() - began - apart
    report = write_report(found, place / f"{run.name}-{split}{'-ablation' if how else ''}.html")
    low, high = found.evaluation.interval
    print(
        f"\n{found.model} on {split}: {found.evaluation.accuracy:.2%} ({low:.2%}–{high:.2%}), {len(found.wrong)} errors; "
        f"{seconds:.0f} s, wanted {WANTED_SECONDS} for NielsenNet (judge {found.seconds['judge']:.0f} s, "
        f"ablation {found.seconds.get('ablation', 0):.0f} s besides); {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    )
    print(*found.notes[:1], *map(distortion, found.evidence), sep="\n")
    print(f"flip leads: {'yes' if leads(found) else 'NO'}", *(pair(found, *one) for one in PAIRS), sep="\n")
    print(f"{found.verdict}\nreport: {report}", flush=True)
    return found


def distortion(one: Evidence) -> str:
    """One line: what collided, placebos, controls."""
    placebos = ", ".join(f"{each.name} {each.collided}" for each in one.placebos) or "none"
    return (
        f"  {one.distortion:<16} {one.collided:>4} of {one.errors} ({one.collided_interval[0]:.0%}–{one.collided_interval[1]:.0%}), "
        f"p = {one.adjusted_p_value:.2g}{', accused' if one.accused else ''}; {one.correct_collided} of {one.correct} correct; "
        f"placebos: {placebos}"
    )


def leads(found: Inspection) -> bool:
    """Whether the flip stands first, well above its strongest placebo and significantly."""
    first = next(iter(found.evidence), None)
    if first is None or first.distortion != FLIP:
        return False
    return first.collided >= RATIO * max(1, first.placebo_collided) and first.adjusted_p_value < LEVEL


def pair(found: Inspection, label: str, predicted: str) -> str:
    """One line: how often the flip collides within a pair of digits."""
    wrong = [one for one in found.wrong if (one.label, one.predicted) == (label, predicted)]
    hit = sum(FLIP in one.collided_by for one in wrong)
    known = [one for evidence in found.evidence if evidence.distortion == FLIP for one in evidence.pairs]
    named = next((one for one in known if (one.label, one.predicted) == (label, predicted)), None)
    beside = f"; strongest placebo {named.placebo_collided}, p = {named.adjusted_p_value:.2g}" if named else ""
    return f"  {label}→{predicted}: {len(wrong)} errors, {hit} collide by the flip{beside}"


def ablated(run: Path, split: str, place: Path, seeds: int, steps: int | None) -> None:
    """Inspect with an ablation of the flip, print what its arms made."""
    found = inspected(run, split, place, ablate=(FLIP,), seeds=seeds, steps=steps, notice=print)
    one = next(one.cause for one in found.evidence if one.cause is not None)
    arms = (("with", one.errors_with), ("without", one.errors_without))
    counts = "; ".join(f"{name} {list(errors)}, mean {statistics.fmean(errors):.1f}" for name, errors in arms)
    print(
        f"{one.kind}, {one.seeds} runs per arm: errors {counts}; permutation p = {one.p_value:.3g}; "
        f"{one.fewer:.1f} of this run's errors fewer ({one.fewer_interval[0]:.1f}–{one.fewer_interval[1]:.1f}), "
        f"elsewhere {one.elsewhere:+.1f}; confirmed: {'yes' if one.significant else 'NO'}\n{one.verdict}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inception", type=float, metavar="MINUTES", help="of training; then NielsenNet is left out")
    parser.add_argument("--size", type=int, default=75, help="of its pictures, 75 to 299")
    parser.add_argument("--steps", type=int, help="of the Inception's removal effect; none when not given")
    parser.add_argument("--no-ablation", action="store_true", help="NielsenNet: the inspection alone")
    parser.add_argument("--seeds", type=int, default=5, help="runs per arm of an ablation")
    parser.add_argument("--epochs", type=float, help="NielsenNet: instead of the recipe's, for a quick look")
    parser.add_argument("--keep", type=Path, help="folder for runs and reports, to go on from")
    given = parser.parse_args()
    with nullcontext(str(given.keep)) if given.keep else tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        dataset = dataset_for("mnist", folder=place / "datasets")
        how: dict[str, Any] = {"recipe": "fast", "seed": 0}
        if given.inception is None:
            run = trained(place / "nielsen", dataset, model="nielsen", distort=(FLIP,), epochs=given.epochs, **how)
            inspected(run, "test", place)
            if not given.no_ablation:
                ablated(run, "test", place, given.seeds, None)
            return
        how |= {"model": "inception_v3", "minutes": given.inception, "no_distort": ("all",)}
        how |= {"distort": ("random_box", FLIP, "guide_colour"), "options": {"height": given.size, "width": given.size}}
        run = trained(place / f"inception-{given.size}-{given.inception:g}", dataset, **how)
        for split in ("validation", "test"):
            inspected(run, split, place)
        if given.steps:
            ablated(run, "test", place, given.seeds, given.steps)


if __name__ == "__main__":
    main()
