"""One writer at a time in a dataset folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deeper.errors import DatasetError, printable


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within the block no other process adds to or repairs `folder`. The lock is the kernel's and dies with us.

    Raises: DatasetError, when another process holds it. Does nothing on Windows, which has no such lock.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatasetError(f"another process is changing {printable(folder)}; wait until it has ended") from None
        yield
    finally:
        os.close(descriptor)
