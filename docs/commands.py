"""The commands of the documentation: found in its Markdown, run in a folder that has what they name.

    python docs/commands.py                     run all of them, and say how long each took
    python docs/commands.py docs/verbs          only those of some pages

A block of commands is fenced as `sh`, `console` (then commands begin with `$ `, the rest is output) or without a
language, or is indented. `<!-- not run: REASON -->` above it says that it is not run, and why; its `deeper` commands
must parse all the same.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

# One thread: on a shared machine two that wait for each other are slower, and a fork must not meet a pool of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]
_SKIPPED = re.compile(r"<!-- not run: (.+?) -->\s*$", re.DOTALL)
# What begins a line that a person would paste into a shell.
_PROGRAMS = ("deeper", "pip", "python", "python3", "make", "curl", "source", "ssh", "git", "docker", ".venv/bin/pip")
# As wide as a page shows without scrolling.
COLUMNS = 92
# Seconds that one command may take: `deeper demo` by one thread of a slow machine, beside other work.
PATIENCE = 1_800
# Verbs that go on until they are interrupted.
SERVERS = ("board", "review", "serve")


@dataclass(frozen=True)
class Command:
    """One line of a page. `skipped`: why it is not run; empty when it is."""

    page: Path
    line: int
    text: str
    skipped: str = ""

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}: {self.text}"


def pages() -> list[Path]:
    """The README and every page of the documentation."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[Command]:
    """All commands of one page, in order."""
    found = []
    for start, language, lines, skipped in _blocks(page.read_text("utf-8")):
        for offset, line in enumerate(lines):
            if language == "console":
                if not line.startswith("$ "):
                    continue
                line = line[2:]
            text = re.split(r"\s{2,}(?![-\w]*=)", line.strip())[0] if "#" not in line else line.split("  #")[0].strip()
            if text.split(" ")[0] in _PROGRAMS:
                found.append(Command(page, start + offset, text, skipped))
    return found


def _blocks(text: str) -> Iterator[tuple[int, str, list[str], str]]:
    """Line number of the first line, language, lines, reason of not running: of each block that may hold commands."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        fence = re.match(r"^( *)```(.*)$", lines[at])
        start = at
        if fence:
            at += 1
            while at < len(lines) and not lines[at].strip().startswith("```"):
                at += 1
            block, language = lines[start + 1 : at], fence.group(2).strip()
            if language in ("", "sh", "console"):
                yield start + 2, language, [line.removeprefix(fence.group(1)) for line in block], _reason(lines[:start])
        elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            while at + 1 < len(lines) and lines[at + 1].startswith("    "):
                at += 1
            yield start + 1, "", lines[start : at + 1], _reason(lines[:start])
        at += 1


def _reason(above: list[str]) -> str:
    found = _SKIPPED.search("\n".join(above[-4:]))
    return found.group(1) if found else ""


def prepare(folder: Path, *, pictures: int = 400, source: str = "digits", epochs: int | None = 3) -> None:
    """Fill a folder with what the pages speak of: my_photos/, more_photos/, photo.jpg, flower_nets.py, petals.toml, datasets/mine,
    runs/first and runs/second. `pictures`: how many of the source's training digits lie in my_photos/, one folder for each class.
    `epochs`: of the first run; None: as many as the recipe says. The second one trains for two, on flipped pictures."""
    import numpy as np
    from PIL import Image

    from deeper.records import open_source

    counts: dict[int, int] = {}
    items = [item for item in open_source(source).items if item.split == "train"][: pictures + 20]
    for position, item in enumerate(items):
        counts[item.label] = counts.get(item.label, 0) + 1
        picture = Image.fromarray(np.asarray(item.array).squeeze())
        target = folder / "my_photos" / f"digit {item.label}" / f"{counts[item.label]:04d}.png"
        if position >= pictures:
            target = folder / "more_photos" / f"{position}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target)
    picture.save(folder / "photo.jpg", quality=95)
    (folder / "my_photos" / "digit 3" / "notes.png").write_text("no picture")
    shutil.copytree(folder / "my_photos", folder / "photos")
    for page, kind, file in (("own-network", "python", "flower_nets.py"), ("own-recipe", "toml", "petals.toml")):
        text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text("utf-8")
        shown = re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)
        assert shown is not None
        (folder / file).write_text(shown.group(1), "utf-8")
    # The same as on the pages, so that a page that is run by itself shows what the others show.
    for words in (
        "build my_photos --out datasets/mine",
        "train datasets/mine --out runs/first",
        "train datasets/mine --no-audit --out runs/second --seed 1 --epochs 2 --distort horizontal_flip",
    ):
        code, output = run(["deeper", *words.split()], folder, epochs=epochs)
        if code:
            raise RuntimeError(f"deeper {words}: {output}")
    shutil.copytree(folder / "datasets" / "mine", folder / "datasets" / "photos")


def prepare_example(folder: Path) -> None:
    """The same with as many digits as make a good network, of MNIST where $DEEPER_DATA has it: what the pages show."""
    has_mnist = (Path(os.environ.get("DEEPER_DATA", "")) / "mnist").is_dir()
    prepare(folder, pictures=24_000 if has_mnist else 12_000, source="mnist" if has_mnist else "digits", epochs=None)


def run(words: list[str], folder: Path, timeout: float = PATIENCE, *, epochs: int | None = None) -> tuple[int, str]:
    """Run `deeper …` there: its exit code and what it printed. A server is interrupted once it has named its address.

    A target that an earlier command has made is removed first: every page begins as if it were the first. `epochs`: a
    training that says nothing of its length is cut to so many; that it runs is all that a test asks.
    """
    if words[0] != "deeper":
        return 1, "only `deeper` is run here: mark it with <!-- not run: REASON -->"
    if "--out" in words and words[1] not in ("models", "show-distortions") and "--add" not in words:
        shutil.rmtree(folder / words[words.index("--out") + 1], ignore_errors=True)
    if words[1:2] == ["train"] and epochs and not {"--epochs", "--minutes", "--resume"} & set(words):
        words = [*words, "--epochs", str(epochs)]
    if words[1:] and words[1] in SERVERS:
        return _serve(words, folder)
    return _fork(words[1:], folder, timeout)


def _fork(words: list[str], folder: Path, timeout: float) -> tuple[int, str]:
    """The command in a copy of this process, which has imported torch: the seconds that importing takes are saved."""
    import torch

    import deeper.runs  # noqa: F401

    torch.set_num_threads(1)
    with tempfile.TemporaryFile("w+") as printed:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if not child:
            _become(words, folder, printed.fileno(), timeout)
        _, status = os.waitpid(child, 0)
        printed.seek(0)
        return os.waitstatus_to_exitcode(status), printed.read()


def _become(words: list[str], folder: Path, printed: int, timeout: float) -> NoReturn:
    """What the copy does: it is the command, and ends."""
    import traceback

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    # Whatever the test runner has put in their place.
    # Line by line: what comes first shall stand first, whichever of the two it came by.
    sys.stdin, sys.stdout, sys.stderr = open(0), *(open(one, "w", buffering=1, closefd=False) for one in (1, 2))
    os.environ.update(environment())
    os.chdir(folder)
    sys.argv = ["deeper", *words]
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(timeout))
    code = 1
    try:
        from deeper.cli import main as command

        command()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": str(COLUMNS), "PYTHONPATH": str(ROOT), "BROWSER": "true"}


def _serve(words: list[str], folder: Path) -> tuple[int, str]:
    process = subprocess.Popen(
        [sys.executable, "-m", *words, "--port", "0"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    seen = ""
    while "http://" not in seen:
        line = process.stdout.readline()
        if not line:
            break
        seen += line
    process.terminate()
    rest, _ = process.communicate(timeout=120)
    return (0 if "http://" in seen else process.returncode or 1), seen + rest


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the commands of the documentation.")
    parser.add_argument("pages", nargs="*", type=Path, help="pages or folders of them; all when not given")
    chosen = [page.resolve() for page in parser.parse_args().pages]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        prepare(folder)
        print(f"{time.perf_counter() - began:6.1f} s  preparing", flush=True)
        for page in pages():
            if chosen and not any(page == one or one in page.parents for one in chosen):
                continue
            for command in commands(page):
                if command.skipped:
                    print(f"     not  {command}  ({command.skipped})")
                    continue
                began = time.perf_counter()
                code, output = run(command.words, folder, epochs=3)
                print(
                    f"{time.perf_counter() - began:6.1f} s  {command}{f' → {code}: {output}' if code else ''}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
