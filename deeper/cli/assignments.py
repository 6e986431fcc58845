"""`--set NAME=VALUE` of the verbs that train."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from deeper.errors import UsageError


def assigned(texts: Sequence[str]) -> dict[str, Any]:
    """Dotted option names to values; a value that is no JSON is text. Raises: UsageError, where there is no `=`."""
    given: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {text!r}: wanted NAME=VALUE, e.g. optimizer.weight_decay=0.05")
        try:
            given[name] = json.loads(value)
        except ValueError:
            given[name] = value
    return given
