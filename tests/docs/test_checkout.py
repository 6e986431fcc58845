"""The documentation as it lies in a checkout: pages that the code writes are as it says, and no link there is dead."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
from urllib.parse import unquote

from tests.docs.test_commands import DOCS, load

checkout = load("checkout")
reference = load("reference")
ROOT = DOCS.parent


def test_what_the_code_writes_is_up_to_date() -> None:
    old = [path.name for path, text in checkout.pages().items() if path.read_text("utf-8") != text]
    assert not old, f"run `python docs/checkout.py`: {old}"


def test_every_public_attribute_is_explained() -> None:
    """Of the classes among the public names: nothing that a caller may use stands there without a word."""
    import deeper

    kinds = [one for name in deeper.__all__ if inspect.isclass(one := getattr(deeper, name))]
    items = [(kind.__name__, line) for kind in kinds for line in reference.members(kind)]
    assert len(items) > 60
    assert not [item for item in items if "`: " not in item[1]]
    # What is set in __init__ alone would be missing from the list.
    for kind in kinds:
        written = "__init__" in vars(kind) and not dataclasses.is_dataclass(kind)
        source = inspect.getsource(kind.__init__) if written else ""
        for name in re.findall(r"self\.([a-z]\w*)", " ".join(re.findall(r"^\s+(self\.\w+.*?) = ", source, re.M))):
            assert any(line.startswith(f"- `{name}: ") for line in reference.members(kind)), (kind.__name__, name)


def test_names_in_the_text_work_after_import_deeper_alone() -> None:
    pages = [ROOT / "README.md", *DOCS.glob("*.md"), *(DOCS / "how-to").glob("*.md"), *(DOCS / "verbs").glob("*.md")]
    texts = "".join(page.read_text("utf-8") for page in pages if page.name != "types.md")
    texts = re.sub(r"```.*?```", "", texts, flags=re.DOTALL)
    # What is called, and what stands in a room; keys of metadata begin with the same word.
    found = re.findall(r"`deeper\.([a-z_]\w*(?:\.\w+)*)([(`])", texts)
    names = sorted(
        {name for name, after in found if after == "(" or (ROOT / "deeper" / name.partition(".")[0]).exists()}
    )
    assert len(names) >= 5
    look = "import deeper, operator, sys; [operator.attrgetter(name)(deeper) for name in sys.argv[1:]]"
    done = subprocess.run([sys.executable, "-c", look, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-300:]


def test_no_link_between_files_is_dead() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]
    links = []
    for page in pages:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" not in target and not target.startswith(("#", "mailto:")):
                links.append((page, unquote(target.partition("#")[0])))
    assert len(links) > 100
    dead = [f"{page.relative_to(ROOT)}: {target}" for page, target in links if not (page.parent / target).exists()]
    assert not dead
