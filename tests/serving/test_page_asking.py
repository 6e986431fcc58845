"""The page where it asks: for no more of a folder than it says, for a token once, for a camera that may take its time."""

from __future__ import annotations

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from deeper.images import encode_png
from tests.patience import patient
from tests.serving.browsing import CHROMIUM, as_file, opened, stroke, wait, wait_text
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


class _Proxy(BaseHTTPRequestHandler):
    """Before a server: whoever got the page has a login, a cookie; all else is for those who bring it."""

    upstream = ""
    refused: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self._passed_on(None)

    def do_POST(self) -> None:
        self._passed_on(self.rfile.read(int(self.headers["Content-Length"])))

    def _passed_on(self, body: bytes | None) -> None:
        if self.path != "/" and "login=yes" not in self.headers.get("Cookie", ""):
            self.refused.append(self.path)
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        connection = http.client.HTTPConnection(self.upstream, timeout=patient(30))
        kept = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "cookie")}
        connection.request(self.command, self.path, body, kept)
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        if self.path == "/":
            self.send_header("Set-Cookie", "login=yes; HttpOnly; SameSite=Strict")
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    def log_message(self, *_: object) -> None:
        """Tests are silent."""


def test_behind_a_proxy_that_asks_for_a_login(browser, address, pictures, wanted) -> None:
    """The page loads with the browser's login, and so must all that it asks for."""
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), type("Proxy", (_Proxy,), {"upstream": address.split("/")[2]}))
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        with opened(browser, f"http://127.0.0.1:{proxy.server_address[1]}") as page:
            page.click("#tab-picture")
            page.set_input_files("#files", [as_file("0.png", encode_png(pictures[0]))])
            wait_text(page, "#verdict .word", wanted[0].label)
        assert _Proxy.refused == []
    finally:
        proxy.shutdown()
        proxy.server_close()


def test_an_answer_to_what_was_cleared_meanwhile_keeps_nothing(browser, address) -> None:
    with opened(browser, address) as page:
        page.route("**/predict*", lambda route: (time.sleep(0.4), route.continue_())[1])
        stroke(page, [(0.5, 0.2), (0.5, 0.5), (0.5, 0.8)])
        page.click("#clear")
        page.wait_for_timeout(1500)
        assert page.is_disabled("#keep-drawing") and page.is_disabled("#clear")


def test_what_is_no_picture_is_told_to_eyes_too(browser, address) -> None:
    with opened(browser, address) as page:
        page.click("#tab-picture")
        page.evaluate(
            "const data = new DataTransfer(); data.setData('text/plain', 'words');"
            "document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: data, bubbles: true}))"
        )
        assert page.inner_text("#left-out") == "There is no picture to paste." and page.is_visible("#left-out")
