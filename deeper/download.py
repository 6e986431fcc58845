"""Hash-checked, resumable downloads of single files."""

from __future__ import annotations

import contextlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from deeper import files
from deeper.errors import DownloadError, printable

TIMEOUT_SECONDS = 30.0
# Tries of one mirror before the next one; each goes on where the last one broke off.
TRIES = 3
_BLOCK = 1 << 18

Progress = Callable[[int, int], None]


def cache_folder() -> Path:
    """Where downloads are kept: `$DEEPER_CACHE`, else `$XDG_CACHE_HOME/deeper`, else `~/.cache/deeper`."""
    given = os.environ.get("DEEPER_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "deeper"


def fetch(urls: Sequence[str], sha256: str, target: Path, *, progress: Progress | None = None) -> Path:
    """Download one file to `target` unless it is there already with the right hash.

    `urls`: mirrors, tried in turn. `sha256`: hexadecimal. What arrived before a break is kept as `target.part` and
    gone on with; the file appears under its name only when its hash is right. `progress(done, total)`: bytes.

    Raises: DownloadError, when no mirror delivers the right file; StorageError.
    """
    if target.is_file() and files.sha256(target) == sha256:
        return target
    part = target.with_name(f"{target.name}.part")
    with files.storage(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in urls:
        for attempt in range(TRIES):
            try:
                _continue(url, part, progress)
            except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
                reason = getattr(error, "reason", None) or error
                failures.append(f"{printable(url)}: {printable(reason, 80)}")
                if (isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500) or isinstance(error, ValueError):
                    break
                time.sleep(0.2 * attempt)
                continue
            if files.sha256(part) == sha256:
                with files.storage(target):
                    os.replace(part, target)
                    files.fsync_folder(target.parent)
                return target
            # Wrong bytes cannot be gone on with, here or at another mirror.
            failures.append(f"{printable(url)}: the file has another hash than it should have")
            part.unlink(missing_ok=True)
            break
    raise DownloadError(f"{target.name} could not be downloaded ({'; '.join(dict.fromkeys(failures))})")


def _continue(url: str, part: Path, progress: Progress | None) -> None:
    if not url.startswith(("https://", "http://")):
        raise ValueError("only http and https are fetched")
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "deeper"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing: the hash decides
            return
        raise
    with contextlib.closing(response):
        resumed = response.status == 206
        length = response.headers.get("Content-Length")
        total = (int(length) if length else 0) + (have if resumed else 0)
        done = have if resumed else 0
        # A server without ranges sends everything anew.
        with open(part, "ab" if resumed else "wb") as file:
            while block := response.read(_BLOCK):
                file.write(block)
                done += len(block)
                if progress:
                    progress(done, total)
        if total and done < total:
            raise OSError(f"broke off after {done:,} of {total:,} bytes")


