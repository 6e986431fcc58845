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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from checkout import with_verbs
from notebooks import notebooks, write_pages
from reference import escaped, reference, result_types
from training_options import RECIPES

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
    _verbs(target)
    (target / "recipes.md").write_text(_recipes(), "utf-8")
    (target / "api.md").write_text(reference(), "utf-8")
    (target / "types.md").write_text(result_types(), "utf-8")
    write_pages(target / "guide")
    for page in target.rglob("*.md"):
        text = page.read_text("utf-8")
        # Recipes are files of the package for readers of the source, and a page here.
        text = re.sub(r"\]\((?:\.\./)+deeper/training/recipes/([\w-]+)\.toml\)", r"](recipes.md#\1)", text)
        # Links that lead out of docs/ are for readers of the source.
        text = re.sub(r"\[([^\]]+)\]\((?:\.\./)+(?!docs)[\w/.-]+\.(?:toml|py|cff)\)", r"\1", text)
        # The site highlights what a page on GitHub leaves plain; lists need the blank line that GitHub does not.
        page.write_text(_blank_lines(text), "utf-8")


def _recipes() -> str:
    """The recipes as they are: what they set, and in comments why."""
    lines = [
        "# Recipes",
        "",
        "What `--recipe` names: the files themselves, whose comments say why. `default-` is of any",
        "",
    ]
    lines[2] += " network without a file of its own. [All options](options.md) says what each name means."
    for path in sorted(RECIPES.glob("*.toml")):
        lines += [f"## {path.stem} {{ #{path.stem} }}", "", f"```toml\n{path.read_text('utf-8').strip()}\n```", ""]
    return "\n".join(lines)


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
    from deeper.cli.flags import arguments_of, field_docstrings

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
