"""`--set NAME=VALUE` of the verbs that train."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from deeper.errors import UsageError, printable

# What a recipe is chosen by, and cannot change.
_FLAGS = ("model", "recipe")


def assigned(texts: Sequence[str]) -> dict[str, Any]:
    """Dotted option names to values; a value that is no JSON is text, null is `NOTHING`.

    Raises: UsageError, where there is no `=`, or a flag of its own.
    """
    from deeper.training.options import NOTHING

    given: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {text!r}: wanted NAME=VALUE, e.g. optimizer.weight_decay=0.05")
        if name in _FLAGS:
            raise UsageError(f"--set {printable(text)}: use --{name}")
        try:
            read = json.loads(value)
        except ValueError:
            read = value
        given[name] = NOTHING if read is None else read
    return given


def over(flags: Mapping[str, Any], texts: Sequence[str], **others: Any) -> dict[str, Any]:
    """What flags say, by the options' dotted names (None: not given), and `--set` besides. `others`: flags that are handed on
    by themselves.

    Raises: UsageError, as `assigned`, and where both say something of one option and do not agree.
    """
    given = assigned(texts)
    for name, value in given.items():
        said = others.get(name, flags.get(name))
        if said is not None and said != value:
            raise UsageError(
                f"--set {name}={printable(value)}, and a flag says {printable(said)}: give the one that should decide"
            )
    return {**flags, **given}
