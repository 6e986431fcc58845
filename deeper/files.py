"""Atomic writes and hashes. After a crash at any moment a file or folder written here is there whole or not at all.

The recipe for a file: write aside in the same folder, fsync, rename over the target, fsync the folder. For a folder:
fill one aside, fsync what is in it, rename it into place, fsync the folder above.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
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
    """Turns an OSError inside the block into a StorageError that names `path` and what to do."""
    try:
        yield
    except DeeperError:
        raise
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, f"{error.strerror or error}; check the path and the disk")
        raise StorageError(f"cannot write {printable(path)}: {advice}") from error


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
    aside = path.with_name(f".{path.name[:100]}.partial-{os.getpid()}")
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(aside, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        fsync_folder(path.parent)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file atomically. Raises: StorageError."""
    with writing(path) as file:
        file.write(data)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 file atomically. Raises: StorageError."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, plain: Any) -> None:
    """Write JSON atomically: given key order, two spaces, a newline at the end; NaN is refused. Raises: StorageError."""
    write_text(path, json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Parse a JSON file. Raises: OSError, ValueError."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """A folder to fill, which appears under `path` when the block ends; when it raises, nothing is left behind.

    Raises: StorageError, also when something stands at `path` already (an empty folder is replaced).
    """
    path = Path(path)
    aside = path.with_name(f".{path.name[:100]}.partial-{os.getpid()}")
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
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


def sha256(content: str | Path | bytes) -> str:
    """Hexadecimal SHA-256 of a file (given as a path) or of bytes."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with open(content, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
