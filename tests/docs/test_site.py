"""The documentation's site: it builds without a warning, leads nowhere wrong, asks no other host, and can be read."""

from __future__ import annotations

import html
import inspect
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.test_commands import DOCS, load
from tests.patience import patient

ROOT = DOCS.parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# One page of each kind: start, guide's index, notebook, how-to, verb, reference, picture, and those with wide tables.
KINDS = (
    "index.html",
    "guide/index.html",
    "guide/04_why_is_it_wrong.html",
    "how-to/class-missing-from-one-split.html",
    "verbs/train.html",
    "verbs/inspect.html",
    "api.html",
    "types.html",
    "options.html",
    "architecture.html",
    "attribution.html",
    "results.html",
    "log.html",
    "weights.html",
    "serving.html",
    "coming-from.html",
)

site = load("site")
layers = load("layers")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """`make docs`, without make: it fails on any warning."""
    place = tmp_path_factory.mktemp("documentation")  # each worker its own
    assert site.build(place) == 0
    return place / "site"


class _Page(HTMLParser):
    """What a page has to jump to, and where it leads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.targets.append(value)


def test_no_link_is_dead(built) -> None:
    pages = {path: _Page(path.read_text("utf-8")) for path in built.rglob("*.html")}
    assert len(pages) > 40
    dead = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its links begin with /, where a host shows it
        for target in page.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            place = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if place.is_dir():
                place /= "index.html"
            if not place.exists():
                dead.append(f"{path.relative_to(built)} → {target}")
            elif parts.fragment and place in pages and unquote(parts.fragment) not in pages[place].anchors:
                dead.append(f"{path.relative_to(built)} → {target}: no such place")
    assert not dead, "\n".join(sorted(set(dead)))


def test_nothing_is_loaded_from_another_host(built) -> None:
    for path in built.rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|link|iframe)[^>]*(?:src|href)="(https?:[^"]+)"', path.read_text("utf-8"))
        assert not [one for one in loaded if "canonical" not in one], path


def test_the_reference_has_every_public_name(built) -> None:
    names = json.loads((ROOT / "tests" / "api_surface.json").read_text())
    text = (built / "api.html").read_text("utf-8")
    anchors = _Page(text).anchors
    for name in names:
        assert ("version" if name == "__version__" else name.lower()) in anchors, name
    # And says something: the first words of each docstring stand there.
    import deeper

    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", text))
    for name in names:
        if name != "__version__" and (
            first := (getattr(deeper, name).__doc__ or "").split(".")[0].split("`")[0].split("<")[0]
        ):
            assert " ".join(first.split())[:40] in plain, name


def test_the_reference_has_every_parameter(built) -> None:
    """Not only in a docstring: each stands in the section of its own name, with its default."""
    text = (built / "api.html").read_text("utf-8")
    sections = dict(re.findall(r'<h2 id="([\w-]+)">(.*?)(?=<h2 |</article>)', text, re.DOTALL))
    for name, parameters in json.loads((ROOT / "tests" / "api_surface.json").read_text()).items():
        plain = re.sub(r"<[^>]+>", "", sections["version" if name == "__version__" else name.lower()])
        for parameter in parameters if isinstance(parameters, list) else ():
            word = parameter.removeprefix("keyword ").split("=")[0].lstrip("*")
            assert re.search(rf"\b{word}: ", html.unescape(plain)), f"{name} {parameter}"
    assert "__call__" in sections["classifier"] and "on_error" in sections["classifier"]


def test_the_types_of_results_have_every_field(built) -> None:
    import deeper
    from deeper.inspection import result

    plain = re.sub(r"<[^>]+>", "", (built / "types.html").read_text("utf-8"))
    for value in (result.Inspection, result.Evidence, result.Collision):
        for name in value.__annotations__:
            assert re.search(rf"^{name}: ", plain, re.MULTILINE), f"{value.__name__}.{name}"
    # Every function of the reference leads to what it returns.
    text = (built / "api.html").read_text("utf-8")
    functions = [name for name in deeper.__all__ if inspect.isroutine(getattr(deeper, name))]
    assert text.count("Returns <a") == len(functions)


def test_notebooks_show_their_pictures_and_verdicts(built) -> None:
    """What a notebook shows as a picture or as Markdown is no line of text on its page."""
    for page in (built / "guide").glob("0*.html"):
        text = page.read_text("utf-8")
        for place in (" object&gt;", "PIL.Image", "&lt;Figure"):
            assert place not in text, f"{page.name}: {place}"
        notebook = json.loads((DOCS / "guide" / page.with_suffix(".ipynb").name).read_text("utf-8"))
        shown = [output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", [])]
        drawn = sum(any(kind.startswith("image/") for kind in one) for one in shown)
        assert len(re.findall(rf'<img [^>]*src="{page.stem}-', text)) == drawn, page.name
        assert 'alt="What this cell' not in text
    assert "<blockquote>" in (built / "guide" / "04_why_is_it_wrong.html").read_text("utf-8")


def test_every_verb_has_its_page_with_all_options(built) -> None:
    from deeper.cli import VERBS
    from deeper.cli.flags import arguments_of, flags_of

    for verb in VERBS:
        text = (built / "verbs" / f"{verb}.html").read_text("utf-8")
        for flag in flags_of(arguments_of(verb)):
            assert f"<code>{flag.name}</code>" in text, f"{verb} {flag.name}"


def test_the_picture_of_the_layers_has_every_room() -> None:
    rooms = {name for row in layers.layers() for name in row}
    there = {
        path.stem for path in (ROOT / "deeper").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms == there - {"__init__", "__main__"}
    drawn = layers.layers_picture(layers.layers())
    assert all(f">{name}</text>" in drawn for name in rooms)


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_map_has_every_room_in_the_order_of_imports(page) -> None:
    """In the table a room stands below all that it imports; the contract lists it from the top of the house."""
    rows = re.findall(r"^\| ((?:`\w+`[ ,·]*)+)\|", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    named = [re.findall(r"`(\w+)`", row) for row in rows]
    floor = {room: -number for number, row in enumerate(layers.layers()) for room in row}
    order = [floor[room] for row in named for room in row if room in floor]
    assert order == sorted(order)
    assert {room for row in named for room in row} >= set(floor)


def test_pictures_are_small() -> None:
    """A page opens at once: no picture of it is heavier than 300 kB."""
    for path in (DOCS / "images").iterdir():
        assert path.stat().st_size < 300_000 or path.suffix == ".svg", path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_and_read_by_axe(built, browser, scheme) -> None:
    from axe_playwright_python.sync_playwright import Axe

    problems = []
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(patient(60_000))
    page.on(
        "request", lambda one: None if one.url.startswith(("file:", "data:", "blob:")) else problems.append(one.url)
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    for kind in KINDS:
        page.goto((built / kind).as_uri())
        page.wait_for_timeout(300)
        wide = page.evaluate("document.documentElement.scrollWidth")
        if wide > 360:
            problems.append(f"{kind}: {wide} pixels wide")
        for found in Axe().run(page).response["violations"]:
            if found["impact"] in ("serious", "critical"):
                problems.append(f"{kind}: {found['id']}: {[node['html'][:160] for node in found['nodes'][:4]]}")
    context.close()
    assert not problems, "\n".join(problems)
