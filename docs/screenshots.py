"""Make the documentation's pictures: `python docs/screenshots.py [NAME …]`; all of them when none is named.

Those of pages and of the console are what Chromium shows of the real thing, started here on the runs that
`docs/commands.py` prepares; the others are what a command draws. All are reduced to a palette, so that none is heavier
than 300 kB.

    python docs/screenshots.py --place /tmp/example board report     the folder is prepared once and used again
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

import commands
import terminal

IMAGES = commands.ROOT / "docs" / "images"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_LARGEST = 300_000
# Pixels across where a picture would be too heavy: twice what a page shows, for screens with small ones.
_WIDEST = 1600
# Of the terminal.
_COLUMNS = 100


@contextmanager
def started(words: list[str], folder: Path) -> Iterator[str]:
    """A server of ours on any free port, for as long as it is looked at: its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deeper", *words, "--port", "0"],
        cwd=folder,
        env=commands.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    try:
        for line in process.stdout:
            if "http://" in line:
                yield "http://" + line.split("http://")[1].split()[0].rstrip("/.,") + "/"
                return
        raise RuntimeError(f"deeper {' '.join(words)} named no address")
    finally:
        process.terminate()
        process.wait(30)


# --- in a browser --------------------------------------------------------------------------------------------------


def board(page: Any, folder: Path) -> None:
    """TensorBoard's scalars of the two runs: what one looks at first."""
    with started(["board", "runs/first", "runs/second"], folder) as address:
        page.goto(address + "#scalars&tagFilter=%5Eaccuracy%7C%5Eloss%2Ftotal%7C%5Elearning_rate")
        page.wait_for_selector("tf-scalar-dashboard", timeout=120_000)
        # Cards fill one after the other.
        page.wait_for_timeout(15_000)
        page.screenshot(path=IMAGES / "board.png")


def report(page: Any, folder: Path) -> None:
    """The inspection's report of a network that was trained with horizontal flips of digits."""
    found = folder / "reports" / "second" / "report.html"
    if not found.exists():
        code, output = commands.run(["deeper", "inspect", "runs/second", "--out", "reports/second"], folder)
        assert not code, output
    page.goto(found.as_uri())
    page.wait_for_timeout(2_000)
    # From the verdict to the first exhibits: what the captions speak of.
    exhibit = page.locator(".strip").nth(1).bounding_box()
    assert exhibit
    clip = {"x": 0, "y": 0, "width": 1200, "height": exhibit["y"] + exhibit["height"] + 24}
    page.screenshot(path=IMAGES / "report.png", full_page=True, clip=clip)


def serve(page: Any, folder: Path) -> None:
    """The server's page with an answer."""
    with started(["serve", "runs/first"], folder) as address:
        page.goto(address)
        page.set_input_files("input[type=file]", str(folder / "photo.jpg"))
        page.get_by_text(re.compile(r"\d ms on the server")).wait_for()
        page.wait_for_timeout(1_000)
        page.screenshot(path=IMAGES / "serve.png")


def console(page: Any, folder: Path) -> None:
    """`deeper train` in a terminal, in the middle of a training."""
    shutil.rmtree(folder / "runs" / "console", ignore_errors=True)
    words = ["deeper", "train", "datasets/mine", "--out", "runs/console"]
    shown = terminal.screen_of(
        [sys.executable, "-m", *words],
        folder=folder,
        columns=_COLUMNS,
        # Beyond its half: of few epochs the fifth, of more the eleventh.
        until=r"epoch +(1[1-5]/|[5-9]/\d\b)",
        environment=commands.environment(),
    )
    # What the reader types: the run's name is ours, so that the runs of the other pictures stay as they are.
    shown = shown.replace("runs/console", "runs/first")
    page.set_content(terminal.page_of("deeper train datasets/mine --out runs/first", shown, _COLUMNS))
    page.locator("#terminal").screenshot(path=IMAGES / "console.png")


# --- drawn by commands ---------------------------------------------------------------------------------------------


def _drawn(words: str, folder: Path, name: str) -> None:
    code, output = commands.run(["deeper", *words.split()], folder)
    if code:
        raise RuntimeError(f"deeper {words}: {output}")
    shutil.copyfile(folder / name, IMAGES / Path(name).name)


def distortions(page: Any, folder: Path) -> None:
    """The sheet of verbs/show-distortions.md and of the front page, with the flip that a reader should look at."""
    _drawn(
        "show-distortions mnist --distort horizontal_flip --pictures 5 --out distortions.png", folder, "distortions.png"
    )


def audit_mnist(page: Any, folder: Path) -> None:
    """Rows of the evidence of the whole audit of MNIST: what flips and half turns make of which digit."""
    _drawn("audit mnist --out audits/mnist", folder, "audits/mnist/evidence.png")
    picture = Image.open(IMAGES / "evidence.png")
    # The worst ten of them.
    picture.crop((0, 0, picture.width, min(picture.height, 1624))).save(IMAGES / "audit-mnist.png")
    (IMAGES / "evidence.png").unlink()


def inception_v3(page: Any, folder: Path) -> None:
    """The annotated architecture, drawn from the network."""
    _drawn("models inception_v3 --out inception_v3.svg", folder, "inception_v3.svg")


SHOTS = {
    "board.png": board,
    "report.png": report,
    "serve.png": serve,
    "console.png": console,
    "distortions.png": distortions,
    "audit-mnist.png": audit_mnist,
    "inception_v3.svg": inception_v3,
}
# Those that need no prepared runs.
DRAWN = (distortions, audit_mnist, inception_v3)


def lighten(path: Path) -> None:
    """Fewer colours, then fewer pixels, until it is light enough."""
    original = Image.open(path).convert("RGB")
    for width in (original.width, _WIDEST):
        picture = original
        if width < original.width:
            picture = original.resize(
                (width, round(original.height * width / original.width)), Image.Resampling.LANCZOS
            )
        for colours in (256, 128, 64):
            picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
            if path.stat().st_size < _LARGEST:
                return
    raise RuntimeError(f"{path} is {path.stat().st_size} bytes: make the window smaller")


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description="Make the documentation's pictures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SHOTS)}; all when not given")
    parser.add_argument("--place", type=Path, help="a folder that commands.prepare_example has filled, or will")
    arguments = parser.parse_args()
    shots = {name: shot for name, shot in SHOTS.items() if not arguments.names or Path(name).stem in arguments.names}
    if len(shots) < len(arguments.names):
        parser.error(f"no such picture; there are {' '.join(Path(name).stem for name in SHOTS)}")
    if not (Path(os.environ.get("DEEPER_DATA", "")) / "mnist").is_dir():
        parser.error("set DEEPER_DATA to a folder that holds mnist/: the pages speak of its digits")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = arguments.place or Path(name)
        if set(shots.values()) - set(DRAWN) and not (folder / "datasets" / "photos").exists():
            commands.prepare_example(folder)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for name, shot in shots.items():
            page = browser.new_page(viewport={"width": 1200, "height": 760})
            page.set_default_timeout(120_000)
            shot(page, folder)
            page.close()
            if name.endswith(".png"):
                lighten(IMAGES / name)
            print(IMAGES / name, flush=True)
        browser.close()


if __name__ == "__main__":
    main()
