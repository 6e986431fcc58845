"""The documentation as it lies in a checkout: pages that the code writes are as it says, and no link there is dead."""

from __future__ import annotations

import re
from urllib.parse import unquote

from tests.docs.test_commands import DOCS, load

checkout = load("checkout")
ROOT = DOCS.parent


def test_what_the_code_writes_is_up_to_date() -> None:
    old = [path.name for path, text in checkout.pages().items() if path.read_text("utf-8") != text]
    assert not old, f"run `python docs/checkout.py`: {old}"


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
