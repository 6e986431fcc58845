"""Words of a command line → a verb's `Arguments`, by tyro."""

from __future__ import annotations

import dataclasses
import io
import re
from contextlib import redirect_stderr
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro

from deeper.errors import UsageError

Arguments = TypeVar("Arguments")


def parse(arguments: type[Arguments], words: list[str], program: str) -> Arguments:
    """Parse `words`; exits with 0 after --help.

    An option that is None until given shows no default in the help, and a repeatable one is repeated
    (`--distort a --distort b`), so that it never swallows the positional argument behind it. A positional argument is
    called by its field's name. Help is the whole verb's, whatever else is typed.

    Raises: UsageError, for words that cannot be parsed: one line with what is wrong, the nearest flag, where to look.
    """
    if {"-h", "--help"} & set(words[: words.index("--")] if "--" in words else words):
        words = ["--help"]
    hints = get_type_hints(arguments, include_extras=True)
    for field in dataclasses.fields(arguments):  # type: ignore[arg-type]
        if _is_named(hints[field.name]):
            hints[field.name] = Annotated[hints[field.name], _shown(field, get_args(hints[field.name])[0])]
        if field.default is None or field.default is False or field.default == ():
            hint = "(repeatable)" if field.default == () else ""
            hints[field.name] = Annotated[hints[field.name], tyro.conf.arg(help_behavior_hint=hint)]
    arguments.__annotations__ = hints
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            return tyro.cli(
                arguments,
                args=words,
                prog=program,
                config=(tyro.conf.DisallowNone, tyro.conf.UseAppendAction, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as end:
        if end.code != 2:
            raise
    raise UsageError(f"{_one_line(complaint.getvalue())} (see {program} --help)")


def _is_named(hint: Any) -> bool:
    """Whether it is a positional argument that is not shown by its choices."""
    if tyro.conf.Positional not in getattr(hint, "__metadata__", ()):
        return False
    return not any(get_origin(kind) is Literal for kind in (get_args(hint)[0], *get_args(get_args(hint)[0])))


def _shown(field: dataclasses.Field[Any], kind: Any) -> Any:
    """How help shows a positional argument: RUN, [SOURCE] where it can be left out, PATH ... for one or more."""
    name = field.name.upper()
    if get_origin(kind) is tuple:
        return tyro.conf.arg(metavar=f"{name.removesuffix('S')} ...", help_behavior_hint="(one or more)")
    return tyro.conf.arg(metavar=name if field.default is dataclasses.MISSING else f"[{name}]")


# What tyro says → what a person understands. The first that fits is taken.
_PLAINER = (
    (r"Missing from \S+ [\w-]+: (\S+(?: \[\S+ \.\.\.\]\])?)(.*?)(?: \(required\))?$", r"missing \1:\2"),
    (r"Missing value for argument '(\S+)'\..*", r"\1 needs a value"),
    (r"Error parsing (\S+): no type matching (.+?) could be instantiated from \[(.*?)\].*", r"\1: wanted \2, got \3"),
    (r"Error parsing (.+?): invalid literal for int\(\) with base 10: (.*)", r"\1: wanted a whole number, got \2"),
    (r"Error parsing (.+?): could not convert string to float: (.*)", r"\1: wanted a number, got \2"),
    (r"invalid choice (.+) for argument '(.+)'\. Expected one of \((.*?),?\)", r"\2: wanted one of \3, got \1"),
    (r"Unrecognized options: (?:.*?, )?(--?[a-zA-Z][^,]*).*", r"there is no option \1"),
    (r"Unrecognized options: (.*)", r"nothing more was wanted, got \1 (a path with spaces wants quotes)"),
)


def _one_line(box: str) -> str:
    """What tyro says in a framed box, as one line: the complaint, and the first flag that may have been meant."""
    rows = [line.strip("│ ") for line in box.splitlines() if line.strip() and line[0] not in "╭╰"]
    parts: list[list[str]] = [[]]
    for row in rows:
        if row and not row.strip("─-"):
            parts.append([])
        elif row:
            parts[-1].append(row)
    said = [" ".join(part) for part in parts if part]
    if not box.startswith("╭"):
        # Where standard output is no UTF-8 there is no frame, and the title stands in a part of its own.
        said = said[1:]
    complaint = said[0] if said else "the words cannot be parsed"
    for pattern, plainer in _PLAINER:
        complaint, fitted = re.subn(pattern, plainer, complaint, count=1, flags=re.IGNORECASE)
        if fitted:
            break
    complaint = re.sub("(?<=wanted one of ).*(?=, got)", _in_order, complaint)
    complaint = complaint.replace("wanted FLOAT", "wanted a number").replace("wanted INT,", "wanted a whole number,")
    complaint = re.sub("got $", "got nothing", complaint.rstrip("."))
    meant = next((re.search(r"--[\w-]+", part) for part in said[1:] if part.startswith("Perhaps you meant")), None)
    return f"{complaint}; did you mean {meant[0]}?" if meant else complaint


def _in_order(found: re.Match[str]) -> str:
    """Choices come in the order of a set. None is how an option is left out, which nobody types."""
    return ", ".join(sorted(set(found[0].split(", ")) - {"'None'"}))
