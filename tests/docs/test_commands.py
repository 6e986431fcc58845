"""Every command that the README and the documentation show is run, in a folder that has what it names.

The README's tour is run by `tests/test_readme.py`, line after line; here it must only parse, as must all that is marked
`<!-- not run: … -->`. A command that stands on several pages runs once.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def load(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


commands = load("commands")
ALL = [command for page in commands.pages() for command in commands.commands(page)]
RUN = list(
    {
        one.text: one for one in ALL if not one.skipped and one.page.name != "README.md" and one.words[0] == "deeper"
    }.values()
)
SKIPPED = [one for one in ALL if one.skipped]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("documentation")
    commands.prepare(folder)
    return folder


@pytest.mark.minutes(5)
@pytest.mark.timeout(4800)
def test_every_command_ends_well(place) -> None:
    """One test for all: they follow each other as on the pages, and the folder is prepared once."""
    failed = []
    for command in RUN:
        code, output = commands.run(command.words, place, epochs=3)
        if code or "Traceback" in output:
            failed.append(f"{command} → {code}\n{output}")
    assert not failed, "\n\n".join(failed)


def test_commands_are_found_on_every_kind_of_page() -> None:
    assert len(RUN) >= 30
    for part in ("index.md", "verbs", "how-to"):
        assert any(part in one.page.relative_to(DOCS).parts for one in RUN), part
    assert [one for one in ALL if one.page.name == "README.md"]


def test_what_is_not_run_says_why_and_is_little() -> None:
    """More of them is a decision: raise the number with the reason on the page."""
    assert len(SKIPPED) <= 40, "\n".join(f"{one}: {one.skipped}" for one in SKIPPED)
    assert all(len(one.skipped) >= 10 for one in SKIPPED)
    others = [one for one in ALL if one.words[0] != "deeper" and not one.skipped]
    assert not others, "only `deeper` is run: mark it with <!-- not run: REASON -->\n" + "\n".join(map(str, others))


@pytest.mark.parametrize("command", [one for one in ALL if one.words[0] == "deeper"], ids=str)
def test_every_command_parses(command) -> None:
    """Those that are not run too: a flag that was renamed is found here."""
    from deeper.cli import VERBS
    from deeper.cli.flags import arguments_of
    from deeper.cli.parsing import parse

    words = command.words[1:]
    assert words and words[0] in VERBS, command
    parse(arguments_of(words[0]), words[1:], f"deeper {words[0]}")


def test_a_wrong_command_would_be_found(tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n\n```console\n$ deeper verify nowhere\nall sound\n```\n\n<!-- not run: costs hours -->\n```\nmake x\n```\n"
    )
    found = commands.commands(page)
    assert [(one.text, one.line, one.skipped) for one in found] == [
        ("deeper verify nowhere", 4, ""),
        ("make x", 10, "costs hours"),
    ]
    code, output = commands.run(found[0].words, tmp_path)
    assert code == 4 and "nowhere" in output
