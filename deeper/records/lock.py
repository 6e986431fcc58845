"""One writer at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deeper.errors import DatasetError, DeeperError, printable


@contextmanager
def locked(folder: Path, refusal: DeeperError | None = None) -> Iterator[None]:
    """Within the block no other process changes `folder`. The lock is the kernel's and dies with us.

    Raises: `refusal`, or a DatasetError, when another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy = f"another process is changing {printable(folder)}; wait until it has ended"
            raise refusal or DatasetError(busy) from None
        except OSError:
            pass  # a disk without locks, as some network ones are: nobody can be kept out
        yield
    finally:
        os.close(descriptor)
