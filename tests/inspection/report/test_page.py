"""The report in a real browser: it opens from disk, quickly, complains of nothing, and takes nothing from anywhere."""

from __future__ import annotations

import io
import re
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from deeper.errors import StorageError
from deeper.inspection.report import refuse_stranger, write_report
from deeper.inspection.report.album import Album
from deeper.inspection.report.page import document
from tests.patience import slowness

pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")),
    reason="no Chromium is installed",
)
HOSTILE = ("<script>alert(1)</script>", "</script><b>&amp;", "a\u2028b' onerror=\"x", "日本 語")


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Writes and opens a report; what the page complained of and asked for is kept on it."""
    pages = []

    def open_report(found, **settings):
        path = write_report(found, tmp_path / "report.html")
        page = browser.new_page(**settings)
        pages.append(page)
        page.complaints, page.asked = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_report
    for page in pages:
        page.close()


def test_it_says_what_was_found(opened, make) -> None:
    page = opened(make())
    text = page.inner_text("main")
    for words in ("86.96 %", "30\nerrors", "half of the errors", "Diagnosis only", "accused", "15 of 30", "p = 0.004"):
        assert words in text, words
    for words in (
        "Retrained five times",
        "darkest third",
        "runs/second",
        "Rescue (weak evidence)",
        "It mends 30 errors",
    ):
        assert words in text, words
    assert page.locator(".card code").first.inner_text() == "deeper train … --policy policy.toml"
    assert page.locator("svg.shares").count() == 1 and page.locator("svg.reliability circle").count() > 1
    assert page.complaints == [] and [url[:5] for url in page.asked if not url.startswith("data:")] == ["file:"]
    # Every picture that is in sight was drawn.
    page.wait_for_function(
        "[...document.querySelectorAll('.strip img')].every((one) => one.complete && one.naturalWidth > 0)"
    )


def test_the_gallery_is_filtered_and_opened_by_keyboard(opened, make) -> None:
    page = opened(make())
    tiles = page.locator("#gallery button")
    assert tiles.count() == 30
    page.select_option("#label", label="cat")
    assert tiles.count() == 10 and "10 of 30" in page.inner_text("#count")
    page.select_option("#evidence", label="collides: horizontal flip")
    assert tiles.count() == 5
    page.get_by_role("button", name="All", exact=True).click()
    page.wait_for_function("document.querySelectorAll('#gallery button').length === 30")
    page.fill("#search", "dog/1.")
    assert tiles.count() == 1
    tiles.first.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    assert "dog/1.jpg" in dialog.inner_text() and "mirrored left to right: the judge says" in dialog.inner_text()
    assert dialog.locator("img").count() == 5
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_the_confusion_matrix_chooses(opened, make) -> None:
    page = opened(make())
    page.get_by_role("button", name=re.compile("times cat was called dog")).click()
    assert page.input_value("#label") == "0" and page.input_value("#predicted") == "1"
    count = page.locator("#gallery button").count()
    assert 0 < count < 30
    assert page.locator("#confusion [aria-pressed=true]").inner_text() == str(count)
    page.locator("#confusion [aria-pressed=true]").click()
    assert page.locator("#gallery button").count() == 30


def test_hostile_names_are_text(opened, make) -> None:
    page = opened(make(classes=HOSTILE, name="{label}</script><img src=x onerror=alert(1)>{number}"))
    assert page.complaints == [] and [url for url in page.asked if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.querySelectorAll('main script, main b > b, img[onerror], [src=x]').length") == 0
    assert HOSTILE[0] in page.inner_text("#classes") and HOSTILE[0] in page.inner_text("#gallery")
    page.locator("#gallery button").first.click()
    assert "onerror=alert(1)" in page.inner_text("dialog[open]")


def test_no_name_turns_its_line_around(opened, make) -> None:
    """A right-to-left override would take the arrow and the counts behind it along."""
    page = opened(make(classes=("\u202eabc", "na\u200cme", "c", "d"), name="{label}\u2066{number}"))
    text = page.evaluate("document.documentElement.textContent")
    assert not {"\u202e", "\u2066"} & set(text) and "\\u202eabc" in page.inner_text("#gallery")
    assert "na\u200cme" in page.inner_text("#classes")
    assert page.evaluate("getComputedStyle(document.querySelector('#gallery b')).unicodeBidi") == "isolate"


def test_without_errors_and_with_one_class_it_says_sensible_things(opened, make) -> None:
    page = opened(make(errors=0))
    text = page.inner_text("main")
    assert "100.00 %" in text and "0\nerrors" in text and "None. With so many right answers" in text
    assert "nothing can be accused" in text and page.complaints == []
    page = opened(make(classes=("only",), errors=0))
    assert "1 class, the least recalled first" in page.inner_text("#classes") and page.complaints == []


@pytest.mark.parametrize(
    ("classes", "errors", "side", "channels"), [(1000, 3000, 96, 3), (10, 10_000, 28, 1), (12, 4000, 96, 3)]
)
def test_large_ones_open_fast_and_stay_small(opened, make, tmp_path, classes, errors, side, channels) -> None:
    names = tuple(f"class {number}" for number in range(classes))
    found = make(classes=names, right=30_000, errors=errors, side=side, channels=channels)
    began = time.perf_counter()
    page = opened(found)
    writing_and_opening = time.perf_counter() - began
    size = (tmp_path / "report.html").stat().st_size
    assert size <= 20_000_000
    timing = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    # Two seconds on an idle machine; this one may be shared.
    assert 0 < timing <= 6000 * slowness(), f"{timing:.0f} ms, {writing_and_opening:.1f} s"
    print(f"{errors:,} errors, {classes:,} classes: {size / 1e6:.1f} MB, opened in {timing:.0f} ms (wanted 2,000)")
    bare = page.evaluate("data.errors.filter((one) => one[8] === null).length")
    if side == 28:
        assert bare == 0, "ten thousand digits fit"
    else:
        assert size > 18_000_000, "the budget is used"
        assert f"{bare:,} of {errors:,} errors" in page.inner_text("#notes")
    assert page.locator("#gallery button").count() == 60
    page.locator("#more").click()
    assert page.locator("#gallery button").count() == 120
    assert f"of {errors:,} errors" in page.inner_text("#count")
    assert page.locator("#confusion button").count() >= 20 and page.complaints == []


def test_nothing_runs_over_the_edge_of_a_phone(opened, make) -> None:
    for scheme in ("light", "dark"):
        page = opened(make(), viewport={"width": 390, "height": 844}, color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_pictures_carry_nothing_of_their_files_and_are_stored_once(make) -> None:
    album = Album(100_000)
    picture = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    assert [album.add(picture), album.add(picture.copy()), album.add(None), album.add(picture[::-1])] == [0, 0, None, 1]
    assert len(album.sources) == 2 and album.sources[0].startswith("data:image/jpeg")
    import base64

    image = Image.open(io.BytesIO(base64.b64decode(album.sources[0].partition(",")[2])))
    assert not image.getexif() and image.size == (60, 60)
    small = Album(len(album.sources[0]) + 10)
    assert [small.add(picture), small.add(picture[:, ::-1]), small.add(picture[:2]), small.add(picture)] == [
        0,
        None,
        None,
        0,
    ]


def test_printed_pages_open_their_tables_and_say_what_they_leave_out(opened, make) -> None:
    page = opened(make(classes=tuple(f"class {number}" for number in range(30)), errors=200))
    assert page.locator("details[open]").count() == 0 and not page.locator(".printed").is_visible()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0 and page.locator(".printed").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


def test_names_that_are_no_text_are_shown_as_numbers(opened, make) -> None:
    page = opened(make(classes=("a\udcff", "b"), name="{label}/\udc80{number}"))
    assert page.complaints == [] and "a\\udcff" in page.inner_text("#classes")
    assert page.locator("#gallery button").count() == 30


def test_without_a_judge(opened, make) -> None:
    found = make()
    one = replace(found.evidence[0], method="unjudged", accused=False, collisions=(), verdict="No judge: too few.")
    page = opened(replace(found, judge=None, evidence=(one,)))
    card = page.inner_text(".card")
    assert "not judged" in card and "No judge: too few." in card and "Retrained five times" in card
    assert page.locator("svg.shares").count() == 0 and "None was asked." in page.inner_text("main")


def test_only_a_report_of_ours_is_replaced(make, tmp_path) -> None:
    write_report(make(), tmp_path / "report.html")
    refuse_stranger(tmp_path / "report.html")
    refuse_stranger(tmp_path / "new.html")
    (tmp_path / "mine.html").write_text("<p>mine</p>")
    (tmp_path / "folder.html").mkdir()
    for name in ("mine.html", "folder.html"):
        with pytest.raises(StorageError, match="no report of ours"):
            refuse_stranger(tmp_path / name)


def test_the_same_inspection_gives_the_same_file(make) -> None:
    assert document(make()) == document(make())
    assert "not accused" not in document(make()) and ">a cause<" in document(make(accused=False)), "fresh runs named it"
    plain = make(accused=False)
    bare = replace(plain, evidence=tuple(replace(one, cause=None) for one in plain.evidence))
    assert "not accused" in document(bare) and ">a cause<" not in document(bare)
    assert "A weak judge" in document(replace(make(), judge=replace(make().judge, weak=True)))
