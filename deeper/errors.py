"""Every error that `deeper` raises on purpose.

The command line prints one as one line and exits with its `exit_code`. A message has three parts on
one line: what was given, what was wanted, what to do. Interrupts exit with 130 (SIGINT) or 143 (SIGTERM) after the work was saved.
"""

from __future__ import annotations

import difflib
import re
import shlex
import unicodedata
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

# Names that a message lists, and characters of each: they may be a stranger's, and hundreds.
_KNOWN, _NAME = 24, 60
# Zero-width non-joiner and joiner, which belong to how a name is written.
_JOINERS = "\u200c", "\u200d"
_BY_JOINERS = re.compile("([\u200c\u200d])")


class DeeperError(Exception):
    """Base of all errors raised on purpose. `exit_code` is what the command line exits with."""

    exit_code = 1


class UsageError(DeeperError, ValueError):
    """An option, name or argument that cannot be meant."""

    exit_code = 2


class SourceError(DeeperError):
    """Pictures, labels or arrays that cannot be used."""

    exit_code = 3


class DatasetError(DeeperError):
    """A dataset folder that is missing, damaged or mismatched."""

    exit_code = 4


class RunError(DeeperError):
    """A run folder or checkpoint that cannot be used."""

    exit_code = 5


class BundleError(DeeperError):
    """A bundle that is damaged, tampered with or too new."""

    exit_code = 6


class DivergedError(DeeperError):
    """Training went to NaN or infinity."""

    exit_code = 7


class DownloadError(DeeperError):
    """A file could not be fetched or has the wrong hash."""

    exit_code = 8


class StorageError(DeeperError):
    """The disk is full, a folder read-only, or permission denied."""

    exit_code = 9


class MissingExtraError(DeeperError):
    """An optional package is needed and not installed."""

    exit_code = 10


class WeightsError(DeeperError):
    """Weights that are damaged, hostile, or another network's."""

    exit_code = 11


class MemoryShortageError(DeeperError):
    """A batch or network does not fit into memory."""

    exit_code = 12


def nearest(given: str, known: Iterable[str]) -> str:
    """`"; did you mean 'nielsen'?"` when a known name is close to `given`, else the list of known names."""
    names = list(known)
    close = difflib.get_close_matches(given.lower(), [name.lower() for name in names], n=1, cutoff=0.55)
    if close:
        original = next(name for name in names if name.lower() == close[0])
        return f"; did you mean {printable(original, _NAME)!r}?"
    # A part of a name, such as `flip`, is far from the whole by letters.
    if len(given) >= 3 and (within := [name for name in names if given.lower() in name.lower()]):
        return f"; did you mean {' or '.join(repr(printable(name, _NAME)) for name in within[:3])}?"
    more = f" and {len(names) - _KNOWN:,} more" if len(names) > _KNOWN + 1 else ""
    shown = names if not more else names[:_KNOWN]
    return f"; known: {', '.join(printable(name, _NAME) for name in shown)}{more}"


def nearest_path(given: str | Path) -> str:
    """`"; did you mean runs/first?"` when something with a similar name lies where nothing was found, else nothing."""
    path = Path(given)
    try:
        names = [entry.name for entry in islice(path.parent.iterdir(), 10_000) if not entry.name.startswith(".")]
    except (OSError, ValueError):
        return ""
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f"; did you mean {printable(path.parent / close[0])}?" if close and close[0] != path.name else ""


def printable(text: object, limit: int = 200) -> str:
    """`text` made safe for one line of a terminal: control characters escaped, the middle of a long text cut. Spaces of
    any kind stay: names are written with them."""
    line = "".join(
        character if character.isprintable() or unicodedata.category(character) == "Zs" else _escaped(character)
        for character in str(text)
    )
    if len(line) > limit:
        half = (limit - 1) // 2
        line = f"{line[:half]}…{line[-half:]}"
    return line


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def readable(text: str, limit: int = 300) -> str:
    """`printable` for pages and reports: no sign that could turn a line around. Joiners stay: Persian and Hindi are
    spelled with them, and families of emoji."""
    return "".join(part if part in _JOINERS else printable(part, limit) for part in _BY_JOINERS.split(text))


def typed(path: object) -> str:
    """A path as it is typed into a shell, quoted where it must be: for every command that a message proposes."""
    return shlex.quote(readable(str(path), 1000))


def how_to_install(extras: str) -> str:
    """The command that adds `extras` ("onnx", "tensorflow,onnx") to this installation, from where that came: another
    package index may know another package of this name."""
    # Here, so that a sound start pays for neither.
    import json
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        came_from = json.loads(distribution("deeper").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        came_from = {}
    if "archive_info" in came_from:
        return f"pip install 'deeper[{extras}] @ {came_from['url']}'"
    return f"pip install -c constraints.txt '.[{extras}]' in the checkout"
