"""The guide's notebooks, run as a reader would; the ranges that they state are asserts of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
TEXTS = sorted(GUIDE.glob("[0-9][0-9]_*.py"))


def outputs_of(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def check_outputs(notebook: Any) -> None:
    """No error, no warning, nothing of the machine; pictures are there."""
    outputs = outputs_of(notebook)
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    shown = nbformat.writes(notebook)
    assert not re.search(r"\w*Warning\b", "".join(str(output.get("text", "")) for output in outputs))
    for place in ("/tmp/", "/root/", "/home/", "site-packages", "\\u001b["):
        assert place not in shown, place
    assert any({"image/png", "image/jpeg", "image/svg+xml"} & set(output.get("data", ())) for output in outputs)


def test_there_are_five() -> None:
    assert [path.name[:2] for path in TEXTS] == ["01", "02", "03", "04", "05"]


@pytest.mark.guide
@pytest.mark.minutes(5)
@pytest.mark.timeout(5000)
@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_it_runs_in_its_quick_form(text: Path, tmp_path: Path) -> None:
    """By the command of `make guide`, in a process of its own: a kernel's sockets are no business of pytest's."""
    done = subprocess.run(
        [sys.executable, GUIDE / "execute.py", text.name[:2], "--out", tmp_path],
        env={**os.environ, "DEEPER_GUIDE": "quick"},
        capture_output=True,
        text=True,
        timeout=4500,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    check_outputs(nbformat.read(tmp_path / text.with_suffix(".ipynb").name, as_version=4))


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_what_is_kept_is_what_the_text_says(text: Path) -> None:
    kept_at = text.with_suffix(".ipynb")
    assert kept_at.stat().st_size <= 700_000
    kept = nbformat.read(kept_at, as_version=4)
    nbformat.validate(kept)
    wanted = [(cell.cell_type, cell.source) for cell in jupytext.read(text).cells]
    assert [(cell.cell_type, cell.source) for cell in kept.cells] == wanted, "run `make guide`"
    assert all(cell.execution_count for cell in kept.cells if cell.cell_type == "code")
    check_outputs(kept)


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_the_next_one_is_named(text: Path) -> None:
    last = jupytext.read(text).cells[-1].source
    following = TEXTS[(TEXTS.index(text) + 1) % len(TEXTS)]
    assert text == TEXTS[-1] or f"**{int(following.name[:2])} ·" in last
