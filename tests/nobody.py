"""Being a user whom modes bind, also where the tests run as root."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def as_nobody() -> Iterator[None]:
    """Inside, root is `nobody`, whom a folder's mode binds; any other user stays who he is."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder below none that another user may not enter, as pytest's own are, and a TMPDIR of root's may be."""
    place = "/var/tmp" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        os.chmod(name, 0o755)
        yield Path(name)
