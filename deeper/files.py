"""Atomic writes and hashes. After a crash at any moment a file or folder written here is there whole or not at all.

The recipe for a file: write aside in the same folder, fsync, rename over the target, fsync the folder. For a folder:
fill one aside, fsync what is in it, rename it into place, fsync the folder above. What lies aside is locked
while somebody writes it: so another process, container or host on the same disk can tell it from what a kill left.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import hashlib
import io
import itertools
import json
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Any

from deeper.errors import DeeperError, StorageError, printable

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EROFS: "the disk is read-only; choose another place",
    errno.EACCES: "no permission to write there; change it or choose another place",
    errno.EPERM: "no permission to write there; change it or choose another place",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another place",
    errno.EEXIST: "something stands there already; choose another place",
    errno.ENOTEMPTY: "something stands there already; choose another place",
    errno.EISDIR: "a folder stands there; choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ENOENT: "a folder on the way does not exist; create it first",
}


@contextlib.contextmanager
def storage(path: str | Path) -> Iterator[None]:
    """Turns an OSError inside the block into a StorageError that names `path` and what to do.

    An OSError that names a file elsewhere (a picture that could not be read while a dataset was being written) is no
    matter of this place and passes as it is.
    """
    try:
        yield
    except DeeperError:
        raise
    except OSError as error:
        if not _concerns(error, Path(path)):
            raise
        number = error.errno or 0
        if number == errno.EEXIST and any(above.is_file() for above in Path(path).parents):
            number = errno.ENOTDIR  # what mkdir says of a file where a folder should be
        advice = _ADVICE.get(number, f"{error.strerror or error}; check the path and the disk")
        raise StorageError(f"cannot write {printable(path)}: {advice}") from error


def _concerns(error: OSError, path: Path) -> bool:
    """Whether the error is of `path`, of a folder above it, of what lies in it, or of what is written aside for it."""
    given = [name for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    place = Path(os.path.abspath(path))
    for name in given:
        named = Path(os.path.abspath(os.fsdecode(name)))
        above = (named, *named.parents)
        if named in place.parents or place in above or any(_is_aside(one, place) for one in above):
            return True
    return not given  # a failed write or fsync names no file


def _short(name: str) -> str:
    """At most 100 bytes of a name: a name may have 255 in all, and a suffix follows."""
    return os.fsencode(name)[:100].decode("utf-8", "ignore")


def _aside(path: Path) -> Path:
    """A new name each time: processes in two containers may have one number, and write the same thing at once."""
    name = path.name or Path(os.path.abspath(path)).name
    return path.parent / f".{_short(name)}.partial-{os.getpid()}-{os.urandom(4).hex()}"


# Older versions wrote no token, and held no lock.
_ASIDE = re.compile(
    r"\.(?P<name>.*)\.partial-(?P<process>[0-9]{1,10})(?P<token>-[0-9a-f]{8})?(?P<lock>\.lock)?", re.DOTALL
)
_LOCK = ".lock"


def _is_aside(path: Path, target: Path) -> bool:
    """Whether `path` is what `_aside` calls something that is to become `target`, or its lock."""
    found = _ASIDE.fullmatch(path.name)
    return found is not None and path.parent == target.parent and found["name"] == _short(target.name)


def _opened(path: Path, ending: str = "") -> tuple[Path, IO[bytes]]:
    """A name aside of `path`, and the new file of this name with `ending` behind it, locked for as long as it is open."""
    while True:
        aside = _aside(path)
        file = open(f"{aside}{ending}", "xb")
        # Between the two calls another process could have taken it for a leftover.
        if _lock(file.fileno()) is not False and os.path.exists(file.name):
            return aside, file
        file.close()


def _lock(descriptor: int) -> bool | None:
    """Take the kernel's lock, which dies with us. False: another process holds it. None: there are no locks here."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def remove_leftovers(folder: str | Path, name: str | None = None) -> None:
    """Delete what was being written in `folder` by processes that were killed; `name`: only what was to become this file
    or folder. What cannot be deleted stays.

    The lock tells, which holds across containers and hosts; where a disk has no locks, this machine's process numbers.
    """
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for one in names:
        found = _ASIDE.fullmatch(one)
        if not found or (name is not None and found["name"] != _short(name)):
            continue
        process = int(found["process"])
        if found["token"]:
            _remove_unlocked(Path(folder) / one.removesuffix(found["lock"] or ""), process)
        elif not _is_alive(process):
            _remove(Path(folder) / one)


def _remove_unlocked(place: Path, process: int) -> None:
    lock = place.with_name(place.name + _LOCK)
    lock = lock if os.path.lexists(lock) else place
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except IsADirectoryError:  # somebody has removed its lock
        if not _is_alive(process):
            _remove(place)
        return
    except OSError:  # it is finished by now, or somebody else's
        return
    try:
        free = _lock(descriptor)
        if free or (free is None and not _is_alive(process)):
            _remove(place)
            _remove(lock)
    finally:
        os.close(descriptor)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            place.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # somebody else's
    return True


def sanitize_name(text: str, limit: int = 80) -> str:
    """`text` as the name of one file or folder on any system: letters, digits, `.`, `_` and `-`; never hidden or empty.

    Every run of other characters becomes one `-`. Different texts may become the same name.
    """
    name = re.sub(r"[^\w.-]+", "-", text).strip("-.")
    return os.fsencode(name)[:limit].decode("utf-8", "ignore") or "unnamed"


def numbered(path: Path) -> Iterator[Path]:
    """`path`, `path-2`, `path-3`, …: names for what may be there already."""
    yield path
    for number in itertools.count(2):
        yield path.with_name(f"{path.name}-{number}")


def fsync_folder(path: Path) -> None:
    """Make renames and creations inside `path` survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file that appears under `path` when the block ends, and not at all when it raises.

    Raises: StorageError.
    """
    path = Path(path)
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside, file = _opened(path)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                # While it is locked: what is not is a leftover.
                os.replace(aside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        fsync_folder(path.parent)


def csv_line(fields: Iterable[object]) -> str:
    """One row of a CSV file with its newline; quoted where needed, so that a field may hold anything."""
    row = [str(field) for field in fields]
    text = io.StringIO()
    # Python up to 3.12 leaves a carriage return unquoted, and a reader then sees two rows. macOS has files "Icon\\r".
    if any("\r" in field for field in row):
        csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(row)
    else:
        csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file atomically. Raises: StorageError."""
    with writing(path) as file:
        file.write(data)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 file atomically. Raises: StorageError."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, plain: Any) -> None:
    """Write JSON atomically: given key order, two spaces, a newline at the end.

    Raises: StorageError; ValueError, for NaN and infinities, which JSON does not have.
    """
    write_text(path, json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Parse a JSON file. Raises: OSError, ValueError (also for one nested too deeply to be meant)."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A folder to fill, which appears under `path` when the block ends; when it raises, nothing is left behind.

    Raises: StorageError, also when something stands at `path` already (an empty folder is replaced).
    """
    # "." is a name too: what is written aside must not lie within it.
    path = Path(os.path.abspath(path))
    if path == Path.cwd():
        raise StorageError(
            f"{path} is the folder that you are in; give a new one in it, such as {path.name or 'new'}/new"
        )
    with storage(path):
        # Now rather than by the rename, after an hour's work.
        if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked_aside(path) as aside:
            aside.mkdir()
            try:
                yield aside
                for folder, _, names in os.walk(aside):
                    for name in names:
                        with open(os.path.join(folder, name), "rb") as file:
                            os.fsync(file.fileno())
                    fsync_folder(Path(folder))
                os.rename(aside, path)
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                raise
        fsync_folder(path.parent)


@contextlib.contextmanager
def _locked_aside(path: Path) -> Iterator[Path]:
    """A name for a folder aside of `path`. Its lock is a file of its own: network disks have no locks on folders."""
    aside, lock = _opened(path, _LOCK)
    try:
        yield aside
    finally:
        _remove(Path(lock.name))
        lock.close()


def sha256(content: str | Path | bytes) -> str:
    """Hexadecimal SHA-256 of a file (given as a path) or of bytes."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with open(content, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Within the block SIGTERM unwinds the stack, as Ctrl-C does, so that what was half written is removed.

    Raises: SystemExit(143). A handler that someone else has set is left alone, as are threads.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    alone = threading.current_thread() is threading.main_thread()
    if not alone or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
