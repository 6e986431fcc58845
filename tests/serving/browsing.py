"""Looking at the page in a real Chromium, and what a person does there: dropping, pasting, drawing."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tests.patience import patient

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
)
VIOLATIONS = (
    "window.violations = []; addEventListener('securitypolicyviolation', (one) => violations.push(one.blockedURI))"
)


@contextmanager
def opened(
    browser, address: str, *, path: str = "/", refusals: bool = False, ready: bool = True, **options
) -> Iterator[Any]:
    """The page; at the end, that it asked nobody else, broke no policy and wrote no error. `refusals`: answers of 4xx
    and 5xx, which the browser writes down itself, are meant to happen."""
    context = browser.new_context(permissions=["camera", "clipboard-read"], **options)
    context.add_init_script(VIOLATIONS)
    page = context.new_page()
    page.set_default_timeout(patient(30_000))
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda one: None if one.url.startswith((address, "blob:")) else problems.append(one.url))
    page.goto(address + path)
    if ready:
        page.wait_for_selector("html[data-ready]")
    yield page
    violations = page.evaluate("violations")
    context.close()
    assert violations == []
    assert [one for one in problems if not (refusals and one.startswith("Failed to load resource"))] == []


def wait(page, condition: str) -> None:
    """Playwright's own waiting evaluates text within the page, which the page's policy forbids."""
    until = time.monotonic() + patient(30)
    while time.monotonic() < until:
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came: {condition}")


def wait_text(page, selector: str, text: str) -> None:
    wait(page, f"document.querySelector({json.dumps(selector)})?.textContent.includes({json.dumps(text)})")


def as_file(name: str, data: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


def hand_over(page, kind: str, name: str, data: bytes) -> None:
    """What the browser fires when a file is dropped or pasted."""
    page.evaluate(
        """([kind, name, data]) => {
          const transfer = new DataTransfer();
          const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
          transfer.items.add(new File([bytes], name, { type: "image/png" }));
          document.body.dispatchEvent(kind === "paste"
            ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true })
            : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        [kind, name, base64.b64encode(data).decode()],
    )


def downloaded(page, selector: str) -> str:
    with page.expect_download() as waiting:
        page.click(selector)
    return waiting.value.path().read_text("utf-8")


def stroke(page, points: list[tuple[float, float]]) -> None:
    """By mouse; shares of the canvas's sides."""
    page.evaluate("document.getElementById('canvas').scrollIntoView({ block: 'center' })")
    box = page.locator("#canvas").bounding_box()
    places = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()


def canvas_png(page) -> bytes:
    return base64.b64decode(page.evaluate("document.getElementById('canvas').toDataURL('image/png')").split(",")[1])


def runs(digit: np.ndarray) -> list[list[tuple[float, float]]]:
    """The ink of a digit, run by run along its rows, as strokes of a pen of one pixel. Shares of the sides."""
    strokes = []
    for row, ink in enumerate(digit[..., 0] > 100):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], ink.astype(int), [0]])))
        strokes += [
            [((x + 0.5) / 28, (row + 0.5) / 28) for x in (first, end - 1)] for first, end in edges.reshape(-1, 2)
        ]
    return strokes
