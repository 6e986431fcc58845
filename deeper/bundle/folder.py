"""The bundle's folder on disk: read as one thing, replaced as one thing.

Replacing: the new folder is filled aside and fsynced, then the two folders *exchange* their names in one system call
(renameat2 with RENAME_EXCHANGE; Linux 3.15 and later, on ext4, xfs, btrfs and tmpfs), then the old one is deleted. At
no moment is there no bundle under the name, or one of two halves, whenever the power goes.

Where a file system cannot exchange, the old folder moves aside, under `.NAME.old`, and the new one moves in. A crash
between the two moves leaves the old one there, and everything here looks for it there too.

Reading: the folder is opened once and its files are read through that handle, so that no reader meets the weights of
one bundle beside the description of another, even when the bundle is replaced at that moment.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from deeper import files
from deeper.errors import BundleError, nearest_path, printable

DESCRIPTION, WEIGHTS, GOLDEN = "bundle.json", "weights.safetensors", "golden.safetensors"
# A description has a few kilobytes, a megabyte with ten thousand classes.
LARGEST_DESCRIPTION = 64 << 20
# From <fcntl.h> and <linux/fs.h>.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def damaged(path: Path, what: str) -> BundleError:
    """The one line for a bundle that cannot be trusted."""
    return BundleError(f"the bundle {printable(path)} is damaged: {what}; take a sound copy, or train the run again")


def located(path: Path) -> Path:
    """`path`, or where an interrupted replacement left what stood there."""
    aside = _old(path)
    return aside if not (path / DESCRIPTION).is_file() and (aside / DESCRIPTION).is_file() else path


def is_bundle(path: Path) -> bool:
    """Whether `path` holds a bundle."""
    return (located(path) / DESCRIPTION).is_file()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A handle of the folder at `path`, for `read`. Raises: BundleError, when there is no bundle."""
    try:
        handle = os.open(located(path), os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        what = "does not exist" if error.errno == errno.ENOENT else f"cannot be opened ({error.strerror})"
        raise BundleError(
            f"{printable(path)} {what}; give a run or bundle folder, made by `deeper train`{nearest_path(path)}"
        ) from None
    try:
        yield handle
    finally:
        os.close(handle)


def read(path: Path, handle: int, name: str, limit: int | None = None) -> bytes:
    """The bytes of one file of the opened folder. Raises: BundleError."""
    try:
        # Not blocking: a FIFO under that name must not hang us.
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=handle)
        with open(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise damaged(path, f"{name} is no regular file")
            if limit is not None and facts.st_size > limit:
                raise damaged(path, f"{name} has {facts.st_size:,} bytes, more than any bundle's")
            return file.read()
    except FileNotFoundError:
        if name == DESCRIPTION:
            raise BundleError(
                f"{printable(path)} is no bundle: it has no {name}; give a run or bundle folder, made by `deeper train`"
                f"{series_in(path)}"
            ) from None
        raise damaged(path, f"{name} is missing") from None
    except OSError as error:
        raise damaged(path, f"{name} cannot be read ({error.strerror})") from None


def series_in(path: Path) -> str:
    """`"; it holds a series of runs, fold-0, fold-1: name one, as runs/folds/fold-0"`, where that is so, else nothing."""
    try:
        runs = sorted(child.name for child in path.iterdir() if (child / "config.toml").is_file())
    except OSError:
        return ""
    if not runs:
        return ""
    names = ", ".join(printable(name, 40) for name in runs[:3]) + (", …" if runs[3:] else "")
    return f"; it holds a series of runs, {names}: name one, as {printable(path / runs[0])}"


def was_replaced(path: Path, handle: int) -> bool:
    """Whether another folder than the opened one now stands at `path`."""
    mine = os.fstat(handle)
    try:
        there = os.stat(located(path))
    except OSError:
        return True
    return (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino)


def replace(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write a folder of `contents` to `path`, in place of a bundle that is there.

    Raises: StorageError; BundleError, when something else than a bundle is there, which is left alone.
    """
    if os.path.lexists(path) and not is_bundle(path) and not (path.is_dir() and not any(path.iterdir())):
        raise BundleError(
            f"{printable(path)} exists and is no bundle; it is left alone: choose another place, or remove it"
        )
    path = Path(os.path.realpath(path))
    aside, old = path.parent / f".{path.name}.new", _old(path)
    # Of the parent: folders beside `path` are moved too.
    with files.storage(path.parent):
        # What a crash may have left. It was never complete, or was replaced.
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        for name, data in contents.items():
            files.write_bytes(aside / name, data)
        if not path.exists():
            os.rename(aside, path)
        elif not exchange(aside, path):
            shutil.rmtree(old, ignore_errors=True)
            os.rename(path, old)
            os.rename(aside, path)
        files.fsync_folder(path.parent)
        for left in (aside, old):
            shutil.rmtree(left, ignore_errors=True)


def exchange(one: Path, other: Path) -> bool:
    """Let two existing folders swap names in one step; False where system or file system cannot. Raises: OSError."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        return False
    done = rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE))
    if done == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EXDEV, errno.EOPNOTSUPP, errno.EPERM):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _old(path: Path) -> Path:
    real = Path(os.path.realpath(path))  # "." has no name of its own
    return real.parent / f".{real.name}.old"
