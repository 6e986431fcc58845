"""Which pictures belong together: `--group-by` for ids."""

from __future__ import annotations

import re
from collections.abc import Callable

from deeper.errors import UsageError, printable


def grouper(group_by: str | None) -> Callable[[str], str | None]:
    """From an id to its group; `None` for a picture on its own.

    `group_by`: `None`, `"folder"` (the folder of the id), or a regular expression with one group, searched in
    the id. Raises: UsageError, for anything else.
    """
    if group_by is None:
        return lambda identifier: None
    if group_by == "folder":
        return lambda identifier: identifier.rpartition("/")[0] or None
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise UsageError(f"--group-by {printable(group_by)!r} is no regular expression: {error}") from None
    if pattern.groups != 1:
        raise UsageError(
            f"--group-by {printable(group_by)!r} has {pattern.groups} groups; wanted 'folder' or a regular expression "
            "with one group for what belongs together, as '(plant[0-9]+)' (names of columns are for tables)"
        )

    def find(identifier: str) -> str | None:
        match = pattern.search(identifier)
        return match.group(1) if match else None

    return find
