"""`--set NAME=VALUE` of the verbs that train."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
