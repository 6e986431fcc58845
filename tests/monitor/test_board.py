"""`deeper board`: finding runs, serving them, ending; and the page itself in Chromium."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deeper.errors import RunError, UsageError
from deeper.monitor import TensorBoard
from deeper.monitor import board as module
from tests.monitor.sample_training import SmallNet, squares, train
from tests.patience import patient

CLASSES = ("dark", "grey", "bright")


def make_run(path: Path, first_step: int = 0) -> None:
    board = TensorBoard(path / "tensorboard", CLASSES, first_step=first_step)
    events = train(
        model=SmallNet(),
        training=squares(200),
        validation=squares(120),
        classes=CLASSES,
        steps=20,
        first_step=first_step,
    )
    for event in events:
        board.handle(event)
    board.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs; one has a name that TensorBoard's own way of naming runs cannot hold."""
    folder = tmp_path_factory.mktemp("runs")
    make_run(folder / "first")
    make_run(folder / "series" / "seed 0, with: commas")
    make_run(folder / "first", first_step=10)  # as if killed after step 20, resumed from the checkpoint of step 10
    return folder


class Served:
    """`deeper board` as a process of its own."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deeper", "board", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = [self.process.stdout.readline()]
        self.said.append(self.process.stdout.readline())
        self.url = self.said[1].split()[3] if self.said[1] else ""

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=patient(30)) as answer:
            return json.loads(answer.read())

    def end(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=patient(20))
        return self.process.returncode, errors


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    served = Served(folder / "first", folder / "series", "--port", "0")
    try:
        until = time.monotonic() + patient(40)  # the server reads the files after it has begun to answer
        while len(served.get("data/runs")) < 2 and time.monotonic() < until:
            time.sleep(0.3)
        yield served
    finally:
        code, errors = served.end()
    assert (code, errors) == (0, ""), "Ctrl-C ends it cleanly and silently"


def test_runs_are_found_and_named(folder: Path) -> None:
    found = module.find_runs([folder / "first", folder / "series"])
    assert list(found) == ["first", "seed 0, with: commas"]
    assert found["first"] == (folder / "first" / "tensorboard").resolve()
    assert list(module.find_runs([folder / "first", folder / "first"])) == ["first"]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        (tmp_path / parent / "run" / "tensorboard").mkdir(parents=True)
    assert list(module.find_runs([tmp_path / "a/run", tmp_path / "b/run"])) == ["a/run", "b/run"]


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.mkdir(), "no run there"),
        (lambda path: path.write_text(""), "no such folder"),
        (lambda path: (path.mkdir(), (path / "config.toml").write_text("")), "wait until its training has begun"),
    ],
)
def test_what_is_no_run_is_one_clear_line(tmp_path: Path, make: Any, wanted: str) -> None:
    path = tmp_path / "missing\x1b"
    make(path)
    with pytest.raises(RunError, match=wanted) as error:
        module.find_runs([path])
    assert "\x1b" not in str(error.value)


def test_it_says_runs_and_address_on_loopback(served: Served) -> None:
    assert served.said[0] == "2 runs: first, seed 0, with: commas\n"
    assert served.url.startswith("http://127.0.0.1:")


def test_it_serves_what_was_written(served: Served) -> None:
    assert served.get("data/runs") == ["first", "seed 0, with: commas"]
    scalars = served.get("data/plugin/scalars/tags")
    assert {"loss/total", "accuracy/validation"} <= set(scalars["first"])
    assert "loss/total" in scalars["seed 0, with: commas"]
    for plugin in ("histograms", "images", "pr_curves"):
        assert served.get(f"data/plugin/{plugin}/tags")["first"], plugin
    assert served.get("data/plugin/graphs/info")["first"]["run_graph"] is True
    assert served.get("data/plugin/projector/runs")


def test_a_resumed_run_shows_every_step_once(served: Served) -> None:
    for tag, steps in (("loss/total", [5, 10, 15, 20]), ("accuracy/validation", [10, 20])):
        query = urllib.parse.urlencode({"run": "first", "tag": tag})
        assert [point[1] for point in served.get(f"data/plugin/scalars/scalars?{query}")] == steps


def test_a_port_that_is_taken_is_one_clear_line(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "deeper", "board", str(folder / "first"), "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=patient(60),
            check=False,
        )
    assert done.returncode == UsageError.exit_code
    assert done.stderr.startswith(f"deeper board: port {port} is taken") and done.stderr.count("\n") == 1


def test_a_missing_run_is_one_clear_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deeper", "board", str(tmp_path / "nothing")],
        capture_output=True,
        text=True,
        timeout=patient(60),
        check=False,
    )
    assert done.returncode == RunError.exit_code
    assert "no such folder" in done.stderr and done.stderr.count("\n") == 1


def test_a_host_that_is_not_ours_is_one_clear_line(folder: Path) -> None:
    with (
        pytest.raises(UsageError, match="try --host 127.0.0.1"),
        module.server(module.find_runs([folder / "first"]), host="203.0.113.7", port=0),
    ):
        pass


def test_termination_ends_it_cleanly_too(folder: Path) -> None:
    served = Served(folder / "first", "--port", "0")
    assert served.end(signal.SIGTERM) == (0, "")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(served.url, timeout=patient(5))


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def is_shown(page: Any, selector: str, text: str) -> bool:
    """Whether `text` comes into sight within half a minute, also in a frame (the projector is one)."""
    until = time.monotonic() + patient(30)
    while time.monotonic() < until:
        if any(frame.locator(selector, has_text=text).count() for frame in page.frames):
            return True
        page.wait_for_timeout(200)
    return False


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
@pytest.mark.timeout(1440)
def test_the_page_shows_the_tags_without_errors(served: Served, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    wrong: list[str] = []
    foreign: list[str] = []
    flags = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*flags.split(), "--disable-component-update", "--disable-sync"]
        )
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None if request.url.startswith((served.url, "data:", "blob:")) else foreign.append(request.url)
            ),
        )
        for tab, wanted in (
            ("timeseries", ["accuracy/validation", "accuracy/train"]),
            ("images", ["pictures/misclassified", "pictures/training", "confusion"]),
            ("histograms", ["activations/hidden/relu"]),
            ("graphs", ["SmallNet"]),
            ("pr_curves", ["precision_recall/bright"]),
            ("text", ["config/text_summary"]),
            ("hparams", ["optimizer.rate"]),
            ("projector", ["Points: 120"]),
        ):
            # Another query makes the browser load the page anew instead of only turning the tab.
            page.goto(f"{served.url}?{tab}#{tab}")
            for text in wanted:
                inside = "svg text" if tab == "graphs" else "*"
                assert is_shown(page, f"{inside}:visible", text), f"{text} is not to be seen under {tab}"
            if "DEEPER_SCREENSHOTS" in os.environ:
                page.wait_for_timeout(2000)
                page.screenshot(path=Path(os.environ["DEEPER_SCREENSHOTS"]) / f"board-{tab}.png")
        browser.close()
    assert wrong == []
    assert foreign == [], "the page must ask nobody but this machine"


@pytest.mark.parametrize("order", [("c/a", "a/first", "b/first"), ("a/first", "b/first", "c/a")])
def test_no_name_is_a_folder_of_anothers(tmp_path: Path, order: tuple[str, ...]) -> None:
    """The link under the shorter name would be followed, and the other run linked into the run's own folder."""
    for name in order:
        (tmp_path / name / "tensorboard").mkdir(parents=True)
    found = module.find_runs([tmp_path / name for name in order])
    assert set(found) == {"c/a", "a/first", "b/first"}
    with module.linked(found) as folder:
        assert all((folder / name).resolve() == events for name, events in found.items())
    assert all(list((tmp_path / name / "tensorboard").iterdir()) == [] for name in order)


def test_a_run_within_a_run(tmp_path: Path) -> None:
    for name in ("outer", "outer/inner"):
        (tmp_path / name / "tensorboard").mkdir(parents=True)
    found = module.find_runs([tmp_path / "outer", tmp_path / "outer" / "inner"])
    assert len(found) == 2
    with module.linked(found) as folder:
        assert all((folder / name).resolve() == events for name, events in found.items())
