"""Other processes, as /proc tells of them."""

from __future__ import annotations

from pathlib import Path


def alive(process: int) -> bool:
    """Whether it is there and no zombie: whom nobody reaps is dead all the same."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
