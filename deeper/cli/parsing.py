"""Words of a command line → a verb's `Arguments`, by tyro."""

from __future__ import annotations

import dataclasses
from typing import Annotated, TypeVar, get_type_hints

import tyro

Arguments = TypeVar("Arguments")


def parse(arguments: type[Arguments], words: list[str], program: str) -> Arguments:
    """Parse `words`; exits with 2 and the nearest flag for what cannot be parsed, with 0 after --help.

    An option that is None until given shows no default in the help, and a repeatable one is repeated
    (`--distort a --distort b`), so that it never swallows the positional argument behind it.
    """
    hints = get_type_hints(arguments, include_extras=True)
    for field in dataclasses.fields(arguments):  # type: ignore[arg-type]
        if field.default is None or field.default is False or field.default == ():
            hint = "(repeatable)" if field.default == () else ""
            hints[field.name] = Annotated[hints[field.name], tyro.conf.arg(help_behavior_hint=hint)]
    arguments.__annotations__ = hints
    return tyro.cli(
        arguments,
        args=words,
        prog=program,
        config=(tyro.conf.DisallowNone, tyro.conf.UseAppendAction, tyro.conf.FlagCreatePairsOff),
    )
