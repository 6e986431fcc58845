"""The page in a real Chromium, over a real server: pictures, drawing, camera; by keyboard, on a phone, read by axe."""

from __future__ import annotations

import csv
import io
import json
import time

import numpy as np
import pytest

from deeper.images import Appearance, decode, encode_png
from deeper.prediction import Classifier
from tests.patience import patient, slowness
from tests.sample_network import digits, write
from tests.serving.browsing import (
    CHROMIUM,
    as_file,
    canvas_png,
    downloaded,
    hand_over,
    opened,
    runs,
    stroke,
    wait,
    wait_text,
)
from tests.serving.conftest import serving
from tests.serving.test_protocols import ask

# Nothing moves any more.
STILL = "document.getAnimations().every((one) => one.playState !== 'running')"
# When the questions that were answered began, in milliseconds.
STARTS = "performance.getEntriesByType('resource').filter((one) => one.name.includes('/predict')).map((one) => one.startTime)"
pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")]
HOSTILE = ("<script>document.title='owned'</script>", "=1+1", *(f"plant {number}" for number in range(8)))


def test_pictures_chosen_dropped_and_pasted_get_the_classifiers_answers(browser, address, pictures, wanted) -> None:
    with opened(browser, address, refusals=True) as page:
        page.click("#tab-picture")
        files = [as_file(f"{number}.png", encode_png(pictures[number])) for number in range(4)]
        page.set_input_files("#files", [*files, as_file("notes.png", b"no picture")])
        wait_text(page, "#verdict .word", wanted[0].label)
        assert page.get_attribute("#picture", "alt") == "0.png" and page.is_visible("#picture")
        wait(page, "document.querySelectorAll('#gallery button.is-failed').length === 1")
        hand_over(page, "drop", "4.png", encode_png(pictures[4]))
        wait_text(page, "#asked", "4.png")
        hand_over(page, "paste", "image.png", encode_png(pictures[5]))
        wait_text(page, "#asked", "pasted")
        wait(page, "document.querySelectorAll('#gallery .how:not(:empty)').length === 6")
        assert page.inner_text("#count") == "7"

        # The same answers as from Python, to the last digit that a file shows.
        plain = json.loads(downloaded(page, "#json"))
        assert [one["class"] for one in plain["predictions"]] == [one.label for one in wanted[:6]]
        given = [one["probability"] for one in plain["predictions"]]
        np.testing.assert_allclose(given, [one.probability for one in wanted[:6]], atol=1e-5)
        assert [one["path"] for one in plain["failed"]] == ["notes.png"] and "not a picture" in plain["failed"][0][
            "reason"
        ].lower()
        rows = list(csv.DictReader(io.StringIO(downloaded(page, "#csv"))))
        assert [row["class_1"] for row in rows] == [one["class"] for one in plain["predictions"][:4]] + [""] + [
            one["class"] for one in plain["predictions"][4:]
        ]
        assert rows[4]["error"] and float(rows[0]["milliseconds"]) >= float(rows[0]["server_milliseconds"]) > 0

        # One is seen again; what failed says why; bars and percentages are those of the answer.
        page.click("#gallery button[title='3.png']")
        assert page.inner_text("#asked") == "3.png" and page.inner_text("#verdict .word") == wanted[3].label
        assert page.locator("#bars li").count() == 5 and "%" in page.inner_text("#bars li:first-child .value")
        track, fill = (
            page.locator(f"#bars li:first-child .{one}").bounding_box()["width"] for one in ("track", "fill")
        )
        wait(page, STILL)  # the bar is on its way
        fill = page.locator("#bars li:first-child .fill").bounding_box()["width"]
        assert fill / track == pytest.approx(wanted[3].probability, abs=0.02)
        page.click("#gallery button[title^='notes.png']")
        assert page.is_visible("#problem") and "picture" in page.inner_text("#problem") and page.is_hidden("#result")
        page.click("#forget")
        assert page.locator("#gallery button").count() == 0 and page.is_visible("#invite") and page.is_disabled("#csv")


def test_a_drawn_digit_is_asked_about_as_it_is_drawn(browser, address, served_run, pictures, wanted) -> None:
    best = max((one for one in range(60) if wanted[one].label == "1"), key=lambda one: wanted[one].probability)
    classifier = Classifier(served_run, engine="torch")
    # Low: the canvas must stay the shape of the model's input, or places on it are none in the picture.
    with opened(browser, address, viewport={"width": 1100, "height": 560}) as page:
        asked: list[str] = []
        page.on("request", lambda one: asked.append(one.url) if "/predict" in one.url else None)
        page.fill("#pen", "1")
        for points in runs(pictures[best]):
            stroke(page, points)
        assert len(asked) >= 2, "answers come while one draws"
        assert page.evaluate("document.getElementById('finder-draw').style.getPropertyValue('--aspect')") == "1"
        wait_text(page, "#verdict", "1")
        page.click("#keep-drawing")
        wait(page, "document.querySelector('#gallery .how')?.textContent")
        kept = json.loads(downloaded(page, "#json"))["predictions"][0]
        png = canvas_png(page)
        status, plain = ask(f"{address}/predict?model=digits&top=5", png)
        assert status == 200 and plain["class"] == kept["class"] == "1" and kept["unsure"] == plain["unsure"]
        assert kept["source"] == "drawing"
        # The answers while one drew may have been gathered in one batch, this one was alone: the last digits differ.
        # Past the first, classes as improbable as one another may change places.
        for one, other in zip(kept["top"], plain["top"], strict=True):
            assert one["probability"] == pytest.approx(other["probability"], rel=1e-3, abs=1e-7)
        answer = classifier(png)
        assert answer.label == "1" and answer.probability == pytest.approx(kept["probability"], abs=1e-5)
        # It lies where the test digit lies.
        drawn, digit = classifier.fit(png).astype(float), pictures[best].astype(float)
        assert (drawn * digit).sum() / np.sqrt((drawn**2).sum() * (digit**2).sum()) > 0.85

        page.click("#clear")
        wait(page, "!document.getElementById('empty').hidden")
        assert page.is_disabled("#clear") and page.is_disabled("#keep-drawing")
        page.click("#undo")
        wait_text(page, "#verdict", "1")
        assert canvas_png(page) == png
        # In a corner it is unsure, and says why; centred, it is in the middle and as large as the training digits.
        page.click("#clear")
        page.fill("#pen", "1.6")
        stroke(page, [(0.05, 0.05), (0.05, 0.1), (0.05, 0.2)])
        wait_text(page, "#verdict", "Unsure")
        assert len(page.inner_text("#unsure")) > 10 and page.is_visible("#result.is-unsure")
        aside = canvas_png(page)
        page.click("#centre")
        ink = decode(canvas_png(page))[..., 0] / 255
        rows, columns = ink.sum(1), ink.sum(0)
        middle = [(sums @ (np.arange(len(sums)) + 0.5)) / sums.sum() / len(sums) for sums in (rows, columns)]
        np.testing.assert_allclose(middle, 0.5, atol=0.02)
        assert (rows > 0.5).sum() / len(rows) == pytest.approx(20 / 28, abs=0.03)
        page.click("#undo")
        assert canvas_png(page) == aside
        # What is undone while the pen is down stays undone, whatever the hand does until it is lifted.
        box = page.locator("#canvas").bounding_box()
        page.mouse.move(box["x"] + 150, box["y"] + 150)
        page.mouse.down()
        page.mouse.move(box["x"] + 180, box["y"] + 150)
        page.focus("#canvas")
        page.keyboard.press("Control+z")
        page.mouse.move(box["x"] + 200, box["y"] + 220, steps=5)
        page.mouse.up()
        assert canvas_png(page) == aside
        page.fill("#pen", "5")
        stroke(page, [(0.3, 0.9), (0.7, 0.9)])
        assert (decode(canvas_png(page))[-70:, 120:200, 0] > 128).mean(1).sum() / 12 == pytest.approx(5, abs=0.3)


def test_the_camera_is_asked_steadily_and_let_go(browser, address) -> None:
    with opened(browser, address) as page:
        under_way = most = done = 0

        def began(request) -> None:
            nonlocal under_way, most
            if "/predict" in request.url:
                under_way += 1
                most = max(most, under_way)

        def ended(request) -> None:
            nonlocal under_way, done
            if "/predict" in request.url:
                under_way -= 1
                done += 1

        page.on("request", began)
        page.on("requestfinished", ended)
        page.on("requestfailed", ended)
        page.click("#tab-camera")
        assert page.is_visible("#camera-invite") and page.is_hidden("#cameras")
        page.evaluate(
            """() => {
              const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
              window.streams = [];
              navigator.mediaDevices.getUserMedia = async (wanted) => {
                const stream = await real(wanted);
                streams.push(stream);
                return stream;
              };
            }"""
        )
        page.click("#camera")
        wait_text(page, "#rate", "a second")
        assert done >= 3 and most == 1
        assert float(page.inner_text("#rate").split()[0]) > 0.5 / slowness()
        # However late answers come, questions begin at least a fifth of a second apart.
        wait(page, f"{STARTS}.length >= 10")
        starts = page.evaluate(STARTS)
        assert (len(starts) - 1) / (starts[-1] - starts[0]) * 1000 <= 5.5
        page.click("#keep-frame")
        wait(page, "document.querySelectorAll('#gallery img').length === 1")
        assert page.inner_text("#camera") == "Stop the camera"
        page.click("#camera")
        released = "streams.every((one) => one.getTracks().every((track) => track.readyState === 'ended'))"
        assert page.evaluate(released) and page.evaluate("document.getElementById('video').srcObject === null")
        deadline = time.monotonic() + patient(5)
        while under_way and time.monotonic() < deadline:
            page.wait_for_timeout(50)  # the last one is reported as ended
        count = done
        page.wait_for_timeout(500)
        assert done == count and under_way == 0
        # Looking elsewhere lets go of it too.
        page.click("#camera")
        wait_text(page, "#rate", "a second")
        page.click("#tab-picture")
        assert page.evaluate("streams.length") == 2 and page.evaluate(released)
        page.click("#tab-camera")
        page.evaluate(
            "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError')); }"
        )
        page.click("#camera")
        wait_text(page, "#problem", "allow it")


def test_by_keyboard_alone(browser, address, pictures, wanted) -> None:
    with opened(browser, address) as page:
        page.on("filechooser", lambda chooser: None)  # from now on, not only once one is expected
        focused = "document.activeElement.id"

        def tab_to(wanted_id: str) -> None:
            for _ in range(25):
                page.keyboard.press("Tab")
                if page.evaluate(focused) == wanted_id:
                    return
            raise AssertionError(f"{wanted_id} is not reached by Tab")

        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        tab_to("tab-draw")
        tab_to("canvas")
        page.keyboard.press("ArrowUp")
        for _ in range(7):
            page.keyboard.press("ArrowUp")
        page.keyboard.press(" ")
        for _ in range(16):
            page.keyboard.press("ArrowDown")
        page.keyboard.press(" ")
        wait_text(page, "#verdict", "1")
        wait_text(page, "#spoken", "1")
        page.keyboard.press("Control+z")
        wait(page, "!document.getElementById('empty').hidden")
        page.keyboard.press("Shift+Tab")
        assert page.evaluate(focused) == "tab-draw"
        page.keyboard.press("ArrowLeft")
        assert page.evaluate(focused) == "tab-picture" and page.is_visible("#panel-picture")
        tab_to("choose")
        with page.expect_file_chooser() as waiting:
            page.keyboard.press("Enter")
        waiting.value.set_files([as_file(f"{number}.png", encode_png(pictures[number])) for number in (0, 1)])
        wait(page, "document.querySelectorAll('#gallery .how:not(:empty)').length === 2")
        wait_text(page, "#spoken", f"0.png: {wanted[0].label}")
        tab_to("forget")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.title") == "0.png"
        page.keyboard.press("ArrowLeft")
        assert page.evaluate("document.activeElement.title") == "1.png"
        page.keyboard.press("Enter")
        wait_text(page, "#asked", "1.png")
        assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_and_read_by_axe(browser, address, pictures, scheme) -> None:
    from axe_playwright_python.sync_playwright import Axe

    def looked_at(page, what: str) -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, f"{what}: it sticks out to the side"
        wait(page, STILL)  # bars move, and axe takes them for low contrast
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        assert [(one["id"], [node["html"][:120] for node in one["nodes"]]) for one in found] == [], what

    small = {"width": 360, "height": 740}
    with opened(browser, address, refusals=True, viewport=small, has_touch=True, color_scheme=scheme) as page:
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, background[4:-1].split(","))) < 200) == (scheme == "dark")
        heights = page.eval_on_selector_all(
            "button", "all => all.filter((one) => one.offsetParent).map((one) => one.offsetHeight)"
        )
        assert min(heights) >= 40
        looked_at(page, "at first")
        box = page.locator("#canvas").bounding_box()
        page.touchscreen.tap(box["x"] + 20, box["y"] + 20)
        wait_text(page, "#verdict", "Unsure")
        page.click("#keep-drawing")
        looked_at(page, "unsure")
        page.click("#tab-picture")
        name = "a very long name of a picture " * 8 + ".png"
        page.set_input_files("#files", [as_file(name, encode_png(pictures[0]))])
        wait_text(page, "#asked", "a very long")
        wait(page, "document.getElementById('bars').children.length > 0")
        page.click("summary")
        looked_at(page, "answered")
        page.set_input_files("#files", [as_file("x.png", b"x")])
        wait(page, "!document.getElementById('problem').hidden")
        looked_at(page, "failed")
        page.click("#tab-camera")
        page.click("#camera")
        wait_text(page, "#rate", "a second")
        page.evaluate("document.getElementById('video').pause()")
        looked_at(page, "camera")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A bundle that learned dark on light, is never sure, and whose class names mean harm."""
    light = 255 - digits("train", 200)[0]
    path = tmp_path_factory.mktemp("hostile") / "bundle"
    return write(path, classes=HOSTILE, temperature=40.0, threshold=0.9, appearance=Appearance.of(light))


def test_a_token_two_models_and_what_goes_wrong(browser, served_run, hostile, pictures, wanted) -> None:
    words = (served_run, f"<b>other<b>={hostile}", "--largest-body", "0.02")
    with serving(*words, DEEPER_TOKEN="s3cret") as (address, process):
        # What the Host header says must not open a door.
        assert ask(f"{address}/api/models", headers={"Host": f"{address.split('/')[2]}/page/?"})[0] in (400, 401, 421)
        assert ask(f"{address}/api/models", headers={"Host": f"{address.split('/')[2]}/livez?"})[0] in (400, 401, 421)
        with opened(browser, address, refusals=True, ready=False) as page:
            page.wait_for_selector("#token-dialog[open]")
            assert page.evaluate("document.activeElement.id") == "token"
            page.keyboard.type("wrong")
            page.keyboard.press("Enter")
            page.wait_for_selector("#token-refused:not([hidden])")
            page.keyboard.type("s3cret")
            page.keyboard.press("Enter")
            page.wait_for_selector("html[data-ready]")
            assert page.evaluate("localStorage.length") == 0 and page.context.cookies() == []
            page.reload()
            page.wait_for_selector("html[data-ready]")
            assert page.is_hidden("#token-dialog") and page.is_visible("#model")

            page.click("#tab-picture")
            page.set_input_files("#files", [as_file("digit.png", encode_png(pictures[0]))])
            wait_text(page, "#verdict", wanted[0].label)
            # The other model is asked about the same picture; its names are words, and it is not sure.
            page.select_option("#model", "<b>other<b>")
            wait_text(page, "#verdict", "Unsure")
            wait(page, "document.querySelectorAll('#gallery .how:not(:empty)').length === 2")
            assert "Inverted" in page.inner_text("#unsure") and page.title() == "<b>other<b> · deeper"
            assert page.locator("#answer script, #answer b, header b").count() == 0
            assert any(one in page.inner_text("#bars") for one in HOSTILE)
            rows = list(csv.reader(io.StringIO(downloaded(page, "#csv"))))
            assert all("=1+1" not in row for row in rows) and [row[12] for row in rows[1:]] == [
                "digits",
                "<b>other<b>",
            ]
            page.click("#tab-draw")
            corner = "[...document.getElementById('canvas').getContext('2d').getImageData(0, 0, 1, 1).data]"
            assert page.evaluate(corner) == [255, 255, 255, 255], "it is drawn as the model learned: dark on light"
            # Chosen while another tab is shown: the picture's answer is of the model that is chosen now.
            page.select_option("#model", "digits")
            page.click("#tab-picture")
            wait_text(page, "#verdict", wanted[0].label)
            page.click("#tab-draw")
            page.select_option("#model", "<b>other<b>")
            page.click("#tab-picture")
            wait_text(page, "#verdict", "Unsure")

            page.set_input_files("#files", [as_file("large.png", bytes(30_000))])
            wait_text(page, "#problem", "Too large for this server: the body has 30,000 bytes")
            answers = iter(
                [
                    {"status": 503, "headers": {"retry-after": "3"}, "body": '{"error": "256 pictures wait already"}'},
                    {"status": 415, "body": '{"error": "content encoding"}'},
                    {"status": 500, "body": "<h1>Bad gateway</h1>"},
                ]
            )
            page.route(
                "**/predict*",
                lambda route: route.fulfill(**answer) if (answer := next(answers, None)) else route.continue_(),
            )
            page.set_input_files("#files", [as_file("busy.png", encode_png(pictures[1]))])
            wait_text(page, "#problem", "busy. Asking again in 3 s")
            wait_text(page, "#problem", "does not take this kind of file")
            page.set_input_files("#files", [as_file("broken.png", encode_png(pictures[1]))])
            wait_text(page, "#problem", "Something went wrong on the server.")
            page.set_input_files("#files", [as_file("good.png", encode_png(pictures[1]))])
            wait_text(page, "#asked", "good.png")
            wait(
                page,
                "!document.getElementById('result').hidden && document.getElementById('bars').children.length === 5",
            )
            process.terminate()
            process.wait(patient(30))
            page.set_input_files("#files", [as_file("late.png", encode_png(pictures[2]))])
            wait_text(page, "#problem", "does not answer")
