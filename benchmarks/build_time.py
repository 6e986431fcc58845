"""Seconds to build MNIST, and a folder of JPEGs against decoding them once on all cores.

    python benchmarks/build_time.py [--copies 6] [--rounds 3]

The JPEGs are flowers12's photographs: all 960 as they are (224 pixels), linked `--copies` times, and 480 of them enlarged
to 1,600 pixels, as a telephone sends them. "Decoding once" is the fastest way there is here: simplejpeg in as many
processes as there are cores, already started, files read, pixels thrown away. The build starts its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import simplejpeg
from data_folder import data_folder
from PIL import Image

from deeper.records import build


def decode_all(paths: list[str]) -> int:
    return sum(simplejpeg.decode_jpeg(Path(path).read_bytes()).shape[0] > 0 for path in paths)


def decoding_seconds(paths: list[str], pool: ProcessPoolExecutor) -> float:
    chunks = [paths[start : start + 64] for start in range(0, len(paths), 64)]
    began = time.perf_counter()
    assert sum(pool.map(decode_all, chunks)) == len(paths)
    return time.perf_counter() - began


def building_seconds(source: str | Path, target: Path) -> float:
    began = time.perf_counter()
    build(source, target)
    elapsed = time.perf_counter() - began
    shutil.rmtree(target)
    return elapsed


def small_folder(data: Path, folder: Path, copies: int) -> Path:
    """Every photograph `copies` times, linked where that is possible."""
    for picture in sorted((data / "flowers12").rglob("*.jpg")):
        for copy in range(copies):
            target = folder / picture.parent.name / f"{copy}-{picture.parent.parent.name}-{picture.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(picture, target)
            except OSError:
                shutil.copy(picture, target)
    return folder


def large_folder(data: Path, folder: Path, count: int = 480, side: int = 1600) -> Path:
    """`count` of the photographs with their shorter side enlarged to `side`, saved at quality 90."""
    for number, picture in enumerate(sorted((data / "flowers12").rglob("*.jpg"))[::2][:count]):
        target = folder / picture.parent.name / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(picture) as image:
            image.resize((side * image.width // image.height, side)).save(target, quality=90)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    data = data_folder()
    with tempfile.TemporaryDirectory() as temporary, ProcessPoolExecutor() as pool:
        place = Path(temporary)
        mnist = [building_seconds("mnist", place / "mnist") for _ in range(arguments.rounds)]
        print(f"deeper build mnist: {statistics.median(mnist):.1f} s for 70,000 pictures")
        for folder in (small_folder(data, place / "small", arguments.copies), large_folder(data, place / "large")):
            paths = [str(path) for path in sorted(folder.rglob("*.jpg"))]
            decoding_seconds(paths, pool)
            ratios = []
            for _ in range(arguments.rounds):
                decoding, building = decoding_seconds(paths, pool), building_seconds(folder, place / "dataset")
                ratios.append(building / decoding)
                print(f"{len(paths):,} {folder.name} JPEGs: decoding {decoding:.2f} s, building {building:.2f} s")
            print(f"{folder.name}: build / decoding once: {statistics.median(ratios):.2f}×", flush=True)


if __name__ == "__main__":
    main()
