"""What the pages show: real output without what passes, Python that parses, questions that name where they were asked."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs.test_commands import DOCS, load

generate = load("generate")
terminal = load("terminal")
VERB_PAGES = sorted(path for path in (DOCS / "verbs").glob("*.md") if path.name != "index.md")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", VERB_PAGES, ids=lambda page: page.stem)
def test_a_verb_page_shows_real_output_and_no_noise(page) -> None:
    shown = blocks(page, "console")
    assert shown
    for block in shown:
        lines = block.splitlines()
        assert len(lines) > sum(line.startswith("$ ") for line in lines), "run python docs/generate.py"
        for line in lines:
            assert not generate._PASSING.match(line), line
            assert "/tmp/" not in line and "/root/" not in line, line


def test_what_passes_is_left_out(tmp_path) -> None:
    printed = (
        f"note: {tmp_path}/datasets/mine\n"
        "epoch 3/4  step 50/80  loss 1.9560  accuracy 33.00%  212 images/s  0:02 left\n"
        "epoch 3/4  step      60  loss 1.9560  train  33.00%  validation  90.00%  0:05  best so far\n"
        "serving on http://127.0.0.1:34425  (Ctrl-C ends)\n"
        "Finished server process [13434]\n"
    )
    assert generate.shown(printed, tmp_path, "serve") == [
        "note: datasets/mine",
        "epoch 3/4  step      60  loss 1.9560  train  33.00%  validation  90.00%  0:05  best so far",
        "serving on http://127.0.0.1:8000  (Ctrl-C ends)",
    ]
    many = "\n".join(map(str, range(100)))
    cut = generate.shown(many, tmp_path, "models")
    assert (cut[0], cut[-1]) == ("0", "99") and "… 68 lines …" in cut and len(cut) == generate._LONGEST + 1
    assert generate.wrapped("note: " + "word " * 30)[1].startswith("  word")
    assert len(generate.wrapped("a  b  " + "c" * 200)) == 1


def test_a_terminal_is_read_as_it_stands() -> None:
    """A bar that was drawn three times stands there once, below what was printed meanwhile."""
    written = "note\r\nbar 1\r\x1b[2Kbar 2\r\x1b[2K\x1b[1mepoch 1\x1b[0m\r\nbar 3\r\n\x1b[1A\x1b[2Kbar 4"
    assert terminal.screen(written) == "note\n\x1b[1mepoch 1\x1b[0m\nbar 4"


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_python_on_a_page_parses(page) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)


@pytest.mark.parametrize("page", sorted((DOCS / "how-to").glob("*.md")), ids=lambda page: page.stem)
def test_a_question_says_where_it_was_asked(page) -> None:
    if page.stem == "index":
        named = re.findall(r"\]\(([\w-]+)\.md\)", page.read_text("utf-8"))
        assert sorted(named) == sorted(one.stem for one in page.parent.glob("*.md") if one != page)
    else:
        assert re.search(r"\w+#\d+", page.read_text("utf-8"))
