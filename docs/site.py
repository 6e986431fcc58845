"""Build the documentation: `make docs`.

    python docs/site.py                      into site/; fails on any warning

The pages of docs/ are copied to build/pages, and joined there by those that are made from the code: the options of
each verb, the API reference, the picture of the architecture, the guide's executed notebooks. zensical turns them
into the site, and refuses what leads nowhere.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from checkout import with_verbs
from notebooks import notebooks, write_pages
from reference import escaped, field_docstrings, reference, result_types

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def stage(target: Path) -> None:
    """Write all pages, with what the code says, to an empty folder."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in sorted([*DOCS.rglob("*.md"), *DOCS.glob("images/*"), *DOCS.glob("*.css")]):
        place = target / path.relative_to(DOCS)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    (target / "images" / "layers.svg").write_text(layers_picture(layers()), "utf-8")
    _verbs(target)
    (target / "api.md").write_text(reference(), "utf-8")
    (target / "types.md").write_text(result_types(), "utf-8")
    write_pages(target / "guide")
    for page in target.rglob("*.md"):
        text = page.read_text("utf-8")
        text = text.replace(
            "<!-- layers -->", "![The rooms, each importing only from those below it](images/layers.svg)"
        )
        # Links that lead out of docs/ are for readers of the source.
        text = re.sub(r"\[([^\]]+)\]\((?:\.\./)+(?!docs)[\w/.-]+\.(?:toml|py|cff)\)", r"\1", text)
        # The site highlights what a page on GitHub leaves plain; lists need the blank line that GitHub does not.
        page.write_text(_blank_lines(text), "utf-8")


def _blank_lines(text: str) -> str:
    """A blank line before each list that begins right below a paragraph: Markdown, unlike GitHub, wants it."""
    lines: list[str] = []
    fenced = False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith("```")
        item = re.match(r"(?:[-*]|\d+\.) ", line)
        before = lines[-1] if lines else ""
        if item and not fenced and before.strip() and not re.match(r"\s*(?:[-*]|\d+\.) |\s{2,}", before):
            lines.append("")
        lines.append(line)
    return "\n".join(lines) + "\n"


# --- verbs ---------------------------------------------------------------------------------------------------------


def _verbs(target: Path) -> None:
    from deeper.cli import VERBS

    index = target / "verbs" / "index.md"
    index.write_text(with_verbs(index.read_text("utf-8")), "utf-8")
    for verb in VERBS:
        page = target / "verbs" / f"{verb}.md"
        page.write_text(page.read_text("utf-8") + "\n" + options(verb), "utf-8")


def options(verb: str) -> str:
    """The verb's arguments as a list, read from its dataclass: name, default, help."""
    from deeper.cli.flags import arguments_of

    arguments = arguments_of(verb)
    helps = field_docstrings(arguments)
    source = inspect.getsource(arguments)
    lines = ["## Options", ""]
    for field in dataclasses.fields(arguments):
        positional = re.search(rf"^    {field.name}: tyro\.conf\.Positional", source, re.MULTILINE)
        name = field.name.upper() if positional else "--" + field.name.replace("_", "-")
        default = field.default
        if default is dataclasses.MISSING:
            shown = " (needed)"
        elif default in (None, False, (), "") or field.name == "tensorflow_python":
            shown = ""
        else:
            shown = f" (default {default})"
        what = " ".join(helps.get(field.name, "").split())
        what = re.sub(r"`?docs/([\w-]+)\.md`?", r"[\1](../\1.md)", escaped(what))
        lines.append(f"- **`{name}`**{shown}: {what}")
    return "\n".join(lines) + "\n"


# --- architecture --------------------------------------------------------------------------------------------------


def layers() -> list[list[str]]:
    """The rooms from top to bottom as the contract in pyproject.toml lists them; rooms that are not there left out."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contract = tomllib.load(file)["tool"]["importlinter"]["contracts"][0]
    rows = [re.findall(r"\w+", row) for row in contract["layers"]]
    there = [[name for name in row if list((ROOT / "deeper").glob(f"{name}*"))] for row in rows]
    return [row for row in there if row]


def layers_picture(rows: list[list[str]]) -> str:
    """One line per layer, an arrow down the side: who is above may import who is below."""
    wide, high, gap, left = 560, 34, 8, 70
    height = len(rows) * (high + gap) + gap
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + wide + 10} {height}" role="img"'
            f' width="{left + wide + 10}" height="{height}" font-family="ui-monospace, monospace" font-size="15">'
        ),
        "<title>The rooms of deeper: each imports only from those below it</title>",
        '<rect width="100%" height="100%" rx="8" fill="#ffffff"/>',
        f'<path d="M30 {gap + 10} V {height - 20} m -7 -11 l 7 12 l 7 -12" fill="none" stroke="#1f4e79" stroke-width="2.5"/>',
        (
            f'<text x="48" y="{height / 2}" fill="#1f4e79" transform="rotate(-90 48 {height / 2})" text-anchor="middle">'
            "imports</text>"
        ),
    ]
    for number, row in enumerate(rows):
        y = gap + number * (high + gap)
        width = (wide - gap * (len(row) - 1)) / len(row)
        for place, name in enumerate(row):
            x = left + place * (width + gap)
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{high}" rx="5" fill="#e6eef7" stroke="#1f4e79"/>'
                f'<text x="{x + width / 2:.1f}" y="{y + 22}" text-anchor="middle" fill="#10263c">{name}</text>'
            )
    return "\n".join([*parts, "</svg>", ""])


# --- the site ------------------------------------------------------------------------------------------------------


def configure(place: Path) -> Path:
    """mkdocs.yml with the pages that are there: every verb, every notebook; into `place`/build."""
    from deeper.cli import VERBS

    text = (ROOT / "mkdocs.yml").read_text("utf-8")
    guide = "".join(f", guide/{path.stem}.md" for path in notebooks())
    verbs = "".join(f", verbs/{verb}.md" for verb in VERBS)
    text = text.replace("[guide/index.md]", f"[guide/index.md{guide}]").replace(
        "[verbs/index.md]", f"[verbs/index.md{verbs}]"
    )
    target = place / "build" / "mkdocs.yml"
    target.write_text(
        text.replace("docs_dir: build/pages", "docs_dir: pages").replace("site_dir: site", "site_dir: html")
    )
    return target


def _reachable(page: str) -> str:
    """Tables can be reached by the keyboard: a wide one scrolls by itself, and without a focus only a mouse moves it."""
    return page.replace("<table>", '<table tabindex="0">')


def build(place: Path = ROOT) -> int:
    """Stage, build, move to `place`/site. Returns zensical's exit code; 1 when it warned."""
    stage(place / "build" / "pages")
    config, target = configure(place), place / "site"
    made = config.parent / "html"
    shutil.rmtree(made, ignore_errors=True)
    # What it remembers of an earlier build, it does not write again, though it be gone.
    shutil.rmtree(config.parent / ".cache", ignore_errors=True)
    done = subprocess.run(
        [str(Path(sys.executable).parent / "zensical"), "build", "--strict", "--clean", "-f", str(config)],
        capture_output=True,
        text=True,
    )
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    if done.returncode or re.search("warning|error", done.stdout + done.stderr, re.IGNORECASE):
        return done.returncode or 1
    for page in made.rglob("*.html"):
        page.write_text(_reachable(page.read_text("utf-8")), "utf-8")
    shutil.rmtree(target, ignore_errors=True)
    shutil.move(made, target)
    print(f"{target / 'index.html'}: {len(list(target.rglob('*.html')))} pages")
    return 0


if __name__ == "__main__":
    argparse.ArgumentParser(description="Build the documentation into site/.").parse_args()
    sys.exit(build())
