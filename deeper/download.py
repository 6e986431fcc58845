"""Hash-checked, resumable downloads of single files, with the standard library alone."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from deeper import files
from deeper.errors import DownloadError, printable

# Of connecting, and of waiting for the next bytes.
TIMEOUT_SECONDS = 20.0
# Times that one mirror is gone on with after it broke off, or is tried again after it said "later".
TRIES = 4
PAUSE_SECONDS = 0.5
_BLOCK = 1 << 18
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})

Progress = Callable[[int, int], None]
Check = Callable[[Path], str | None]


class _BrokeOff(Exception):
    """Worth another try at the same mirror."""


class _Unusable(Exception):
    """This mirror cannot help: the next one."""


def cache_folder() -> Path:
    """Where downloads are kept: `$DEEPER_CACHE`, else `$XDG_CACHE_HOME/deeper`, else `~/.cache/deeper`."""
    given = os.environ.get("DEEPER_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "deeper"


def fetch(urls: Sequence[str], sha256: str, target: Path, *, progress: Progress | None = None) -> Path:
    """Download one file to `target` unless it is there already with the right hash.

    `urls`: mirrors, tried in turn; http or https. `sha256`: hexadecimal. What arrived before a break is kept as
    `target.part` and gone on with, later and at any mirror; the file appears under its name only when its hash is
    right. `progress(done, total)`: bytes; a total of 0 is unknown.

    Raises: DownloadError, when no mirror delivers the right file; StorageError, when it cannot be stored.
    """
    wanted = sha256.lower()

    def check(path: Path) -> str | None:
        given = files.sha256(path)
        return None if given == wanted else f"the file has the SHA-256 {given[:12]}…, wanted {wanted[:12]}…"

    return fetch_checked(urls, check, target, progress=progress)


def fetch_checked(urls: Sequence[str], check: Check, target: Path, *, progress: Progress | None = None) -> Path:
    """`fetch` for files of which another hash is known, or a part of it. `check`: what is wrong with a file, or None.

    Raises: DownloadError, StorageError.
    """
    with files.storage(target):
        if target.is_file() and check(target) is None:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        if target.is_file() and check(target) is None:
            return target  # by another process, meanwhile
        part = target.with_name(f"{target.name}.part")
        failures = []
        for url in urls:
            try:
                with files.storage(part):
                    _fetch_from(url, check, part, progress)
            except (_BrokeOff, _Unusable) as failure:
                failures.append(f"{printable(url)}: {failure}")
                continue
            os.replace(part, target)
            files.fsync_folder(target.parent)
            return target
    raise DownloadError(
        f"{printable(target.name)} could not be downloaded ({'; '.join(failures) or 'no mirror given'}); "
        f"check the network and try again, or put the file at {printable(target)}"
    )


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Within the block no other process downloads `target`: both would write into one part. Waits for its end."""
    with files.storage(target):
        place = target.with_name(f".{target.name}.lock")
        while True:
            lock = open(place, "ab")
            # Where a disk has no locks there is nobody to wait for.
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), os.stat(place)):
                    break
            lock.close()  # who had it has removed it: another one may hold the next
        try:
            yield
        finally:
            place.unlink(missing_ok=True)
            lock.close()


def _fetch_from(url: str, check: Check, part: Path, progress: Progress | None) -> None:
    """Leaves the right file at `part`. Raises: _BrokeOff, _Unusable, OSError of our own disk."""
    if not url.startswith(("https://", "http://")):
        raise _Unusable("only http and https are fetched")
    for attempt in range(TRIES):
        resumed = part.exists() and part.stat().st_size > 0
        try:
            _transfer(url, part, progress)
        except _BrokeOff:
            if attempt == TRIES - 1:
                raise
            time.sleep(PAUSE_SECONDS * attempt)
            continue
        wrong = check(part)
        if wrong is None:
            return
        # Wrong bytes cannot be gone on with, here or elsewhere. But they may be what an earlier download left.
        part.unlink()
        if not resumed:
            raise _Unusable(wrong)
    raise _Unusable("the file came with another hash each time")


def _transfer(url: str, part: Path, progress: Progress | None) -> None:
    """Appends what is missing to `part`. Raises: _BrokeOff, _Unusable, OSError of our own disk."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "deeper", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:
            return  # nothing is missing: the hash decides
        failure = _BrokeOff if error.code in _LATER else _Unusable
        raise failure(f"HTTP {error.code} {printable(error.reason, 60)}") from None
    # A mirror that cannot be reached is not waited for again: where there is no network, that should be known soon.
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _Unusable(_reason(error)) from None
    with contextlib.closing(response):
        resumed = response.status == 206
        if resumed and not re.match(rf"bytes {have}-", response.headers.get("Content-Range", "")):
            part.unlink(missing_ok=True)
            raise _BrokeOff("the server sent another part of the file than it was asked for")
        length = response.headers.get("Content-Length", "")
        done = have if resumed else 0
        total = int(length) + done if length.isdigit() else 0
        # A server without ranges sends everything anew.
        with open(part, "ab" if resumed else "wb") as file:
            while block := _read(response):
                file.write(block)
                done += len(block)
                if progress:
                    progress(done, total)
            file.flush()
            os.fsync(file.fileno())
    if done < total:
        raise _BrokeOff(f"broke off after {done:,} of {total:,} bytes")


def _read(response: http.client.HTTPResponse) -> bytes:
    # Apart from writing, so that a full disk is not taken for a broken line.
    try:
        return response.read1(_BLOCK)  # what came before a break is not lost
    except (OSError, http.client.HTTPException) as error:
        raise _BrokeOff(f"broke off ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    return printable(str(getattr(error, "reason", None) or error) or type(error).__name__, 80)
