"""Which pictures belong together: `--group-by` over ids."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deeper.errors import UsageError, printable


def groups_of(
    identifiers: Sequence[str], group_by: str | None, *, folders: Sequence[str | None] | None = None
) -> tuple[list[str | None], tuple[str, ...]]:
    """The group of each id (`None`: on its own), and notices.

    `group_by`: `None`, `"folder"`, or a regular expression with one group, searched in the id.
    `folders`: what `"folder"` means for each id, where that is not simply the folder it lies in.
    Raises: UsageError, for anything else, and when no picture at all belongs to a group.
    """
    if group_by is None:
        return [None] * len(identifiers), ()
    groups: list[str | None]
    if group_by == "folder":
        if folders is None:
            folders = [identifier.rpartition("/")[0] or None for identifier in identifiers]
        groups = list(folders)
    else:
        pattern = _compiled(group_by)
        matches = [pattern.search(identifier) for identifier in identifiers]
        # What matched and is empty names no group either.
        groups = [(match.group(1) or None) if match else None for match in matches]
    alone = groups.count(None)
    if identifiers and alone == len(identifiers):
        example = printable(identifiers[0], 60)
        what = "no picture lies in a folder of its own kind" if group_by == "folder" else "it matches no id"
        raise UsageError(f"--group-by {printable(group_by)!r}: {what}; ids look like {example!r}")
    if not alone:
        return groups, ()
    first = printable(identifiers[groups.index(None)], 60)
    return groups, (f"--group-by {printable(group_by)!r} leaves {alone} pictures on their own, first {first!r}",)


def _compiled(group_by: str) -> re.Pattern[str]:
    wanted = (
        "wanted 'folder', or a regular expression with one group for what belongs together, as '(plant[0-9]+)'; "
        "names of columns are for tables"
    )
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise UsageError(f"--group-by {printable(group_by)!r} is no regular expression ({error}); {wanted}") from None
    if pattern.groups != 1:
        raise UsageError(f"--group-by {printable(group_by)!r} has {pattern.groups} groups in parentheses; {wanted}")
    return pattern
