"""The README's commands, run as they stand there, on a folder of pictures such as it speaks of."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.patience import patient

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def tour() -> list[str]:
    block = re.search(r"<!-- tour -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert block, "the README has lost its tour"
    return [line.split("  #")[0].strip() for line in block.group(1).splitlines() if line.strip()]


@pytest.fixture(scope="module")
def place(small_dataset, tmp_path_factory) -> Path:
    """A working directory with photos/CLASS/*.png, a photo.jpg, and a folder of more."""
    folder = tmp_path_factory.mktemp("tour")
    split = small_dataset.split("train")
    for position in range(400):
        target = folder / "photos" / f"digit {split.labels[position]}" / f"{position}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(split.picture(position)[..., 0]).save(target)
    (folder / "photos" / "digit 3" / "notes.png").write_text("no picture")
    (folder / "more_photos").mkdir()
    Image.fromarray(split.picture(500)[..., 0]).save(folder / "photo.jpg")
    Image.fromarray(split.picture(501)[..., 0]).save(folder / "more_photos" / "another one.jpg")
    return folder


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}


def words_of(line: str) -> list[str]:
    first, *rest = shlex.split(line)
    assert first == "deeper"
    return [sys.executable, "-m", "deeper", *rest]


def test_the_tour_runs_from_its_first_line_to_its_last(place):
    lines = tour()
    assert len(lines) >= 9
    for line in lines:
        if line.startswith(("deeper board", "deeper serve")):
            _until_interrupted(words_of(line), place)
            continue
        done = subprocess.run(
            words_of(line), cwd=place, env=environment(), capture_output=True, text=True, timeout=patient(280)
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert "Traceback" not in done.stderr, line
    assert (place / "comparison.svg").stat().st_size > 1000
    assert "no picture" not in (place / "datasets/photos/dataset.json").read_text()
    assert "notes.png" in (place / "datasets/photos/rejected.csv").read_text()


def _until_interrupted(words: list[str], place: Path) -> None:
    """TensorBoard and the server run until they are interrupted: wait for the address, then press Ctrl-C."""
    process = subprocess.Popen(
        [*words, "--port", "0"],
        cwd=place,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    deadline = time.monotonic() + patient(60)
    seen = ""
    while "http://" not in seen and time.monotonic() < deadline and process.poll() is None:
        seen += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=patient(30))
    assert "http://127.0.0.1" in seen or "http://localhost" in seen, seen + rest
    assert "Traceback" not in seen + rest


def test_every_verb_of_the_readme_exists():
    from deeper.cli import VERBS

    named = set(re.findall(r"`?deeper ([a-z][a-z-]+)", README)) - {"import"}
    assert {verb for verb in named if verb not in VERBS} <= {"descends"}


def test_the_results_name_their_commands():
    table = README.split("<!-- results -->")[1].split("<!-- /results -->")[0]
    scripts = re.findall(r"benchmarks/(\w+\.py)", table)
    assert scripts and all((ROOT / "benchmarks" / script).exists() for script in scripts)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
