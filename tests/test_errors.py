"""The exception tree, and what makes its messages one safe line."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deeper import errors
from deeper.cli import EXIT_CODES
from deeper.errors import DeeperError, how_to_install, nearest, printable, typed

ERRORS = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, DeeperError)]


def test_every_error_has_an_exit_code_of_its_own() -> None:
    codes = [error.exit_code for error in ERRORS]
    assert len(codes) == len(set(codes)) == 12
    # 128 + N are the signals', 125–127 the shell's.
    assert all(0 < code < 125 for code in codes)


def test_every_error_says_what_it_is_in_the_reference() -> None:
    page = (Path(__file__).parents[1] / "docs" / "api.md").read_text("utf-8")
    for error in ERRORS:
        assert re.search(rf"^\| `{error.__name__}` \| .{{20,}} \| {error.exit_code} \|$", page, re.MULTILINE), error
    assert all(error.__bases__[0] is DeeperError for error in ERRORS if error is not DeeperError)


def test_the_help_documents_every_code() -> None:
    documented = {int(code) for code in re.findall(r"(?:^| )(\d+) [a-z]", EXIT_CODES, re.MULTILINE)}
    assert documented == {0, 1, 130, 143} | {error.exit_code for error in ERRORS}


def test_a_wrong_value_is_a_value_error_too() -> None:
    with pytest.raises(ValueError):
        raise errors.UsageError("rate is -1; wanted above 0")


@pytest.mark.parametrize(
    "name, hint",
    [
        ("nielson", "; did you mean 'nielsen'?"),
        ("NIELSEN", "; did you mean 'nielsen'?"),
        ("inceptionv3", "; did you mean 'inception_v3'?"),
        ("horse", "; known: nielsen, inception_v3"),
        ("", "; known: nielsen, inception_v3"),
    ],
)
def test_nearest(name: str, hint: str) -> None:
    assert nearest(name, iter(["nielsen", "inception_v3"])) == hint


def test_nearest_keeps_the_case_of_the_known_name() -> None:
    assert nearest("adamw", ["SGD", "AdamW"]) == "; did you mean 'AdamW'?"


@pytest.mark.parametrize(
    "text, line",
    [
        ("plain ü 7 日本", "plain ü 7 日本"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\u202egpj.exe", r"\u202egpj.exe"),  # turns the direction of what follows
        ("\udcff", r"\udcff"),  # a byte of a file name that is no UTF-8
        ("\u2028", r"\u2028"),
    ],
)
def test_printable_escapes_what_a_terminal_would_obey(text: str, line: str) -> None:
    assert printable(text) == line


def test_printable_cuts_the_middle() -> None:
    assert printable("a" * 150 + "b" * 150, 21) == "a" * 10 + "…" + "b" * 10
    assert printable("a" * 200) == "a" * 200


@given(st.text(alphabet=st.characters(exclude_categories=[])), st.integers(3, 300))
def test_printable_is_one_line_that_can_be_printed(text: str, limit: int) -> None:
    line = printable(text, limit)
    assert all(sign.isprintable() or category(sign) == "Zs" for sign in line)
    assert len(line) <= limit
    line.encode("utf-8")


@pytest.mark.parametrize(
    "path", ["runs/first", "my photos/Sonnenblume groß", "a'b\"c", "$(rm -rf x)", "`x`", "-rf", "三色堇 💐"]
)
def test_a_proposed_command_can_be_pasted(path: str) -> None:
    assert shlex.split(typed(path)) == [path]
    assert typed("runs/first") == "runs/first"
    assert "\n" not in typed("a\nb")


def test_an_extra_is_installed_from_where_deeper_came_from(monkeypatch) -> None:
    import importlib.metadata

    class Installed:
        def __init__(self, recorded: str | None) -> None:
            self.recorded = recorded

        def read_text(self, name: str) -> str | None:
            return self.recorded if name == "direct_url.json" else None

    def told(recorded: str | None) -> str:
        monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed(recorded))
        return how_to_install("tensorflow,onnx")

    wheel = '{"archive_info": {}, "url": "file:///dist/deeper-0.1.0-py3-none-any.whl"}'
    assert told(wheel) == "pip install 'deeper[tensorflow,onnx] @ file:///dist/deeper-0.1.0-py3-none-any.whl'"
    checkout = "pip install -c constraints.txt '.[tensorflow,onnx]' in the checkout"
    assert told('{"dir_info": {"editable": true}, "url": "file:///somewhere"}') == told(None) == told("{") == checkout


def test_known_names_are_safe_and_few() -> None:
    assert nearest("horse", ["c\x1b[31mat"]) == r"; known: c\x1b[31mat"
    assert nearest("cat", ["ca\nt"]) == r"; did you mean 'ca\\nt'?"
    many = nearest("qqq", [f"{number}" * 100 for number in range(200)])
    assert many.endswith(" and 176 more") and len(many) < 2000
    assert nearest("qqq", list("abcdefghijklmnopqrstuvwxy")).endswith("x, y")


@pytest.mark.parametrize("name", ["runs/私の　花", "runs/a\u00a0b", "runs/می\u200cخواهم"])
def test_names_with_spaces_of_other_scripts_can_be_typed(name: str) -> None:
    assert shlex.split(typed(name)) == [name] and printable(name.replace("\u200c", "")) == name.replace("\u200c", "")
