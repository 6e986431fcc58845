"""Which flags a verb takes, read from its `Arguments`: what completion offers and tests compare the help with."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, get_args, get_origin, get_type_hints

import tyro


@dataclass(frozen=True)
class Flag:
    """One flag, as it is typed.

    `what`: the first sentence of its help. `takes_value`: False for a switch. `choices`: the values it can have, empty
    where any will do. `repeatable`: it may be given more than once.
    """

    name: str
    what: str
    takes_value: bool
    choices: tuple[str, ...]
    repeatable: bool


def arguments_of(verb: str) -> type[Any]:
    """The dataclass that holds a verb's arguments."""
    module = import_module(f"deeper.cli.{verb.replace('-', '_')}")
    arguments: type[Any] = module.Arguments
    return arguments


def flags_of(arguments: type[Any]) -> tuple[Flag, ...]:
    """All flags of a verb but --help, in the order of its help."""
    hints = get_type_hints(arguments, include_extras=True)
    helps = field_docstrings(arguments)
    found = []
    for field in dataclasses.fields(arguments):
        hint = hints[field.name]
        if tyro.conf.Positional in getattr(hint, "__metadata__", ()):
            continue
        found.append(
            Flag(
                name="--" + field.name.replace("_", "-"),
                what=_first_sentence(helps.get(field.name, "")),
                takes_value=not _is_switch(hint),
                choices=_choices(hint),
                repeatable=field.default == (),
            )
        )
    return tuple(found)


def _is_switch(hint: Any) -> bool:
    return hint is bool or (hasattr(hint, "__metadata__") and get_args(hint)[0] is bool)


def _choices(hint: Any) -> tuple[str, ...]:
    """The values of a Literal, wherever it stands inside an Optional or a tuple."""
    if get_origin(hint) is Literal:
        return tuple(str(value) for value in get_args(hint))
    return tuple(value for part in get_args(hint) for value in _choices(part))


def field_docstrings(arguments: type[Any]) -> dict[str, str]:
    """Field → the string that stands below it. Python keeps these nowhere but in the source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(arguments))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, below in zip(body.body, body.body[1:]):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(below.value.value).split())
    return found


def _first_sentence(text: str) -> str:
    """Up to the first full stop or semicolon, whichever comes sooner, but not within brackets or `e.g.`."""
    for end in range(len(text)):
        before = text[:end]
        if text[end] in ".;" and text[end + 1 : end + 2] in ("", " ") and before.count("(") == before.count(")"):
            if before.endswith(("e.g", "i.e")):
                continue
            return before
    return text
