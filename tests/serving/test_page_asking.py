"""The page where it asks: for no more of a folder than it says, for a token once, for a camera that may take its time."""

from __future__ import annotations

import pytest

from deeper.images import encode_png
from tests.serving.browsing import CHROMIUM, as_file, opened, wait, wait_text
from tests.serving.conftest import serving

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")]

# Drops a folder of so many pictures, and a text among them.
DROP = """(count) => {
  const file = (name) => ({ isFile: true, isDirectory: false, name, file: (give) => give(new File(["x"], name)) });
  const files = [file("notes.txt"), ...Array.from({ length: count }, (_, place) => file(`${place}.png`))];
  const createReader = () => {
    const rest = [...files];
    return { readEntries: (give) => give(rest.splice(0, 100)) };
  };
  DataTransferItem.prototype.webkitGetAsEntry = () => ({ isFile: false, isDirectory: true, name: "many", createReader });
  const transfer = new DataTransfer();
  transfer.items.add(new File([""], "many"));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


def test_of_a_large_folder_the_first_are_taken_and_that_is_said(browser, address) -> None:
    with opened(browser, address, refusals=True) as page:
        page.route("**/predict*", lambda route: route.fulfill(status=400, body='{"error": "no picture"}'))
        page.evaluate(
            "async () => { window.told = 0; (await import('/page/state.js')).on('entries', () => { told += 1; }); }"
        )
        page.evaluate(DROP, 2345)
        wait_text(page, "#left-out", "the first 2,000 of 2,345 pictures")
        wait_text(page, "#spoken", "the first 2,000 of 2,345 pictures")
        assert page.is_visible("#left-out") and page.inner_text("#count") == "2000"
        assert page.evaluate("told") == 1, "the gallery is gone through once, not for each picture"
        page.click("#forget")
        assert page.is_hidden("#left-out") and page.locator("#gallery button").count() == 0
        page.evaluate(DROP, 3)
        wait(page, "document.querySelectorAll('#gallery button').length === 3")
        assert page.is_hidden("#left-out")


def test_after_not_now_the_queue_fails_without_asking_again(browser, served_run, pictures) -> None:
    with (
        serving(served_run, DEEPER_TOKEN="s3cret") as (address, _),
        opened(browser, address, refusals=True, ready=False) as page,
    ):
        page.wait_for_selector("#token-dialog[open]")
        page.keyboard.type("s3cret")
        page.keyboard.press("Enter")
        page.wait_for_selector("html[data-ready]")
        page.evaluate(
            """() => {
              sessionStorage.setItem("deeper-token", "old");
              window.shown = 0;
              const show = HTMLDialogElement.prototype.showModal;
              HTMLDialogElement.prototype.showModal = function () { shown += 1; show.call(this); };
            }"""
        )
        files = [as_file(f"{number}.png", encode_png(pictures[number])) for number in range(12)]
        page.set_input_files("#files", files)
        page.wait_for_selector("#token-dialog[open]")
        page.click("#token-cancel")
        wait(page, "document.querySelectorAll('#gallery button.is-failed').length === 12")
        assert page.evaluate("shown") == 1 and page.is_hidden("#token-dialog")
        # Whoever does something new is asked anew.
        page.set_input_files("#files", files[:1])
        page.wait_for_selector("#token-dialog[open]")
        page.keyboard.type("s3cret")
        page.keyboard.press("Enter")
        wait(page, "document.querySelectorAll('#gallery .how:not(:empty)').length === 1")


def test_the_focus_stays_while_the_camera_is_asked_for(browser, address) -> None:
    with opened(browser, address) as page:
        page.click("#tab-camera")
        page.evaluate(
            """() => {
              const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
              window.asked = 0;
              navigator.mediaDevices.getUserMedia = (wanted) => new Promise((resolve) => {
                asked += 1;
                window.allow = () => resolve(real(wanted));
              });
            }"""
        )
        page.focus("#camera")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")  # nothing comes of it
        assert page.evaluate("[document.activeElement.id, asked]") == ["camera", 1]
        assert page.get_attribute("#camera", "aria-disabled") == "true"
        page.evaluate("allow()")
        wait_text(page, "#camera", "Stop the camera")
        assert page.get_attribute("#camera", "aria-disabled") is None
        assert page.evaluate("document.activeElement.id") == "camera"
        page.keyboard.press("Enter")
        wait_text(page, "#camera", "Start the camera")
