"""The page in a real Chromium: decided by keys, undone, searched, by touch; nothing lost when the server is killed."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deeper.records.corrections import read_corrections
from tests.patience import patient
from tests.review.conftest import make

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")]
FLAGS = "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"


class Served:
    """`deeper review` as a process."""

    def __init__(self, folder: Path) -> None:
        words = [sys.executable, "-m", "deeper", "review", str(folder), "--port", "0", "--no-browser"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "")
        self.address = next(line.split()[1] for line in lines if line.startswith("open http://127.0.0.1:"))

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        code = self.process.wait(patient(20))
        self.process.stdout.close()  # type: ignore[union-attr]
        return code


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


def opened(browser, served: Served, problems: list[str], **options):
    context = browser.new_context(**options)
    page = context.new_page()
    page.set_default_timeout(patient(20_000))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    origin = served.address.split("/?")[0]
    page.on("request", lambda one: None if one.url.startswith(origin) else problems.append(one.url))
    page.goto(served.address)
    page.wait_for_selector("#main:not([hidden])")
    return page


def wait(page, condition: str) -> None:
    """Playwright's own waiting evaluates text within the page, which the page's policy forbids."""
    for _ in range(int(patient(200))):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never came: {condition}")


def wait_count(page, count: int) -> None:
    wait(page, f"document.getElementById('count').textContent.startsWith('{count} of')")


@pytest.mark.timeout(1920)
def test_by_keyboard_with_undo_search_and_a_killed_server(browser, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    dataset = make(folder)
    ids = dataset.split("train").ids[:6]
    problems: list[str] = []
    served = Served(folder)
    page = opened(browser, served, problems, viewport={"width": 1280, "height": 860})
    assert "?key" not in page.url
    # Names that mean harm are words.
    wait(page, "[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
    assert page.title() == "mine · review · deeper"
    shown = page.inner_text("main")
    assert "<script>" in shown or "<img src=x" in shown
    page.keyboard.press("Enter")
    wait_count(page, 1)
    page.keyboard.press("k")
    wait_count(page, 2)
    page.keyboard.press("x")
    wait_count(page, 3)
    page.keyboard.press("z")
    wait_count(page, 2)
    assert page.inner_text("#identity").startswith(ids[2]), "undo goes back to the picture"
    page.keyboard.press("r")
    page.keyboard.type("PLANT 5")
    page.wait_for_selector("#found [role=option]")
    page.keyboard.press("Enter")
    wait_count(page, 3)
    decisions = read_corrections(folder / "corrections.csv")
    assert {name: one.kind for name, one in decisions.items()} == {ids[0]: "relabel", ids[1]: "keep", ids[2]: "relabel"}
    assert (
        decisions[ids[2]].to == "plant 5"
        and decisions[ids[0]].given == dataset.classes[dataset.split("train").labels[0]]
    )
    assert "plant 5" in page.text_content("#spoken")

    # A key that is held down decides once.
    page.keyboard.down("x")
    for _ in range(5):
        page.wait_for_timeout(50)
        page.keyboard.down("x")
    page.keyboard.up("x")
    wait_count(page, 4)
    page.keyboard.press("z")
    wait_count(page, 3)

    # Killed: the page says so, loses nothing, and goes on where it was with a new server.
    assert problems == []
    served.stop(signal.SIGKILL)
    page.keyboard.press("u")
    page.wait_for_selector("#problem:not([hidden])")
    assert "does not answer" in page.inner_text("#problem")
    assert len(read_corrections(folder / "corrections.csv")) == 3
    page.context.close()
    served, problems = Served(folder), []
    page = opened(browser, served, problems)
    wait_count(page, 3)
    assert page.inner_text("#identity").startswith(ids[3])
    for count in (4, 5, 6):
        page.keyboard.press("u")
        wait_count(page, count)
    page.wait_for_selector("#done:not([hidden])")
    assert "--corrections" in page.inner_text("#command")
    assert page.title() == "mine · review · deeper" and problems == []
    page.context.close()
    assert served.stop() == 0


@pytest.mark.timeout(960)
def test_by_touch_on_a_phone_in_the_dark(browser, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    make(folder, names=("daisy", "rose", "tulip"), count=3)
    served = Served(folder)
    problems: list[str] = []
    page = opened(
        browser, served, problems, viewport={"width": 390, "height": 844}, has_touch=True, color_scheme="dark"
    )
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, dark[4:-1].split(","))) < 120
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out to the side"
    sizes = page.eval_on_selector_all(".actions button", "all => all.map((one) => one.getBoundingClientRect().height)")
    assert min(sizes) >= 44
    page.tap("[data-decision=exclude]")
    wait_count(page, 1)
    page.tap("#accept")
    wait_count(page, 2)
    page.tap("#undo")
    wait_count(page, 1)
    # What a screen reader is told.
    assert page.get_by_role("button", name="Keep").count() == 1
    assert page.get_by_role("heading", level=2).first.is_visible()
    assert all(page.eval_on_selector_all("main img", "all => all.map((one) => one.hasAttribute('alt'))"))
    assert page.evaluate("document.activeElement.id") == "asked"
    assert problems == []
    page.context.close()
    served.stop()
    assert [one.kind for one in read_corrections(folder / "corrections.csv").values()] == ["exclude"]


@pytest.mark.timeout(960)
def test_few_classes_their_keys_and_a_second_pass(browser, tmp_path: Path) -> None:
    folder = tmp_path / "it's mine"
    dataset = make(folder, names=("1", "2", "10", "20", "tails"), count=4)
    ids = dataset.split("train").ids[:4]
    served, problems = Served(folder), []
    page = opened(browser, served, problems)

    def decided(number: int) -> str:
        return read_corrections(folder / "corrections.csv")[ids[number]].to

    # R goes to the class that is suggested, and a class that is named by a digit has that key.
    for number in range(2):
        suggested = page.inner_text("#suggested")
        page.keyboard.press("r")
        wait(page, f"document.activeElement.innerText.trim().endsWith({suggested!r})")
        page.keyboard.press("Enter")
        wait_count(page, number + 1)
        assert decided(number) == suggested
    keys = page.eval_on_selector_all(
        "#quick button",
        "all => all.map((one) => [one.innerText.split(/\\s+/).pop(), one.getAttribute('aria-keyshortcuts')])",
    )
    assert dict(keys) == {"1": "1", "2": "2", "10": "3", "20": "4", "tails": "5"}
    given = page.inner_text("#given")
    page.keyboard.press("1" if given == "2" else "2")
    wait_count(page, 3)
    assert decided(2) == ("1" if given == "2" else "2")
    page.keyboard.press("k")
    page.wait_for_selector("#done:not([hidden])")
    assert shlex.split(page.inner_text("#command"))[-1] == str(folder / "corrections.csv")
    assert page.is_hidden("#earlier")
    # Once more from the first to the last, though all are decided.
    page.click("#again")
    for place in range(1, 5):
        wait(page, f"document.getElementById('place').textContent === '{place} / 4'")
        page.keyboard.press("u")
    page.wait_for_selector("#done:not([hidden])")
    assert page.inner_text("#summary") == "4 unsure" and problems == []
    page.context.close()
    assert served.stop() == 0
