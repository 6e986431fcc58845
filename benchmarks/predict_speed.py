"""`deeper predict` over JPEG files: against the engine without decoding, and against the loop that one writes oneself.

    python benchmarks/predict_speed.py RUN [--files 5000] [--seconds 15] [--rounds 3] [--precision int8]

RUN has an Inception v3 at 299 pixels and its OpenVINO exports (`benchmarks/parity.py` makes one). The files have 500
pixels, on a disk. Rounds are interleaved in this process, `--seconds` for each way; pictures a second by the clock, and by
processor time, which stays true on a machine that others use:

- engine: OpenVINO's own asynchronous loop over pictures that are decoded already: no way to predict can be faster;
- predict: `Classifier.predict_many` over the files, which is what `deeper predict` runs;
- plain loop: Pillow, one picture after the other, the same compiled model;
- latency: one picture alone, median and 99th percentile, decoded already.

Then `deeper predict --csv` itself over all files, from its start to its end.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deeper import Classifier
from deeper.engines.openvino_engine import import_openvino


def write_files(folder: Path, count: int) -> list[Path]:
    """JPEG files of 500 pixels: smooth noise, which compresses like photographs; 64 different ones, linked."""
    generator, paths = np.random.default_rng(0), []
    for number in range(count):
        paths.append(folder / f"{number:05}.jpg")
        if number >= 64:
            os.link(paths[number % 64], paths[-1])
            continue
        small = Image.fromarray(generator.integers(0, 256, (40, 40, 3), np.uint8))
        small.resize((500, 500), Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    return paths


def engine_way(model: Path, precision: str, images: NDArray[np.uint8]) -> Callable[[float], int]:
    """OpenVINO alone."""
    openvino = import_openvino()
    core = openvino.Core()
    network = core.read_model(model)
    network.reshape({"images": [1, *images.shape[1:]]})
    hint = {"int8": "f32", "fp32": "f32", "bf16": "bf16"}[precision]
    compiled = core.compile_model(network, "CPU", {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": hint})

    def side_by_side(seconds: float) -> int:
        queue, done, began = openvino.AsyncInferQueue(compiled), 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            queue.start_async({"images": images[done % len(images)][None]})
            done += 1
        queue.wait_all()
        return done

    return side_by_side


def predict_way(classifier: Classifier, paths: list[Path]) -> Callable[[float], int]:
    """What the verb runs."""

    def predict(seconds: float) -> int:
        began = time.perf_counter()

        def endless() -> Iterator[Path]:
            for path in itertools.cycle(paths):
                if time.perf_counter() - began > seconds:
                    return
                yield path

        return sum(1 for _ in classifier.predict_many(endless()))

    return predict


def plain_way(classifier: Classifier, paths: list[Path]) -> Callable[[float], int]:
    """What one writes first: open, resize, ask, next."""
    fit = classifier.preprocess

    def loop(seconds: float) -> int:
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            picture = Image.open(paths[done % len(paths)]).convert("RGB").resize((fit.width, fit.height))
            classifier.logits(np.asarray(picture)[None]).argmax()
            done += 1
        return done

    return loop


def measured(way: Callable[[float], int], seconds: float) -> tuple[float, float]:
    """Pictures a second by the clock and by processor time."""
    began, used = time.perf_counter(), time.process_time()
    done = way(seconds)
    return done / (time.perf_counter() - began), done / (time.process_time() - used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="int8", choices=("int8", "bf16", "fp32"))
    arguments = parser.parse_args()
    classifier = Classifier(arguments.run, engine="openvino", precision=arguments.precision)
    with tempfile.TemporaryDirectory() as temporary:
        paths = write_files(Path(temporary), arguments.files)
        images = np.stack([classifier.fit(path) for path in paths[:64]])
        ways = {
            "engine": engine_way(classifier.path / "model.xml", arguments.precision, images),
            "predict": predict_way(classifier, paths),
            "plain loop": plain_way(classifier, paths),
        }
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        single: list[float] = []
        for way in ways.values():
            way(1)
        for number in range(arguments.rounds):
            for name, way in ways.items():
                rates[name].append(measured(way, arguments.seconds))
            for one in images[:32]:
                began = time.perf_counter()
                classifier.logits(one[None])
                single.append(1000 * (time.perf_counter() - began))
            shown = ", ".join(f"{name} {values[-1][0]:.1f} ({values[-1][1]:.1f})" for name, values in rates.items())
            print(f"round {number + 1}, images a second (of processor time): {shown}", flush=True)
        print(
            f"{arguments.precision}, one picture alone: median {statistics.median(single):.1f} ms, "
            f"99th percentile {np.quantile(single, 0.99):.1f} ms"
        )
        # Round by round, so that what else the machine does falls on both.
        for other in ("engine", "plain loop"):
            pairs = list(zip(rates["predict"], rates[other], strict=True))
            clock, processor = (statistics.median(mine[kind] / its[kind] for mine, its in pairs) for kind in (0, 1))
            print(f"predict / {other}: {clock:.2f} by the clock, {processor:.2f} by processor time")
        command = [sys.executable, "-m", "deeper", "predict", str(arguments.run), temporary, "--csv"]
        began = time.perf_counter()
        ran = subprocess.run(
            [*command, "--engine", "openvino", "--precision", arguments.precision],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        seconds = time.perf_counter() - began
        rows = len(ran.stdout.splitlines()) - 1
        print(f"deeper predict, {rows:,} files, start and loading included: {rows / seconds:.1f} images/s")


if __name__ == "__main__":
    main()
