"""Where the time went, part by part."""

from __future__ import annotations

import time


class Clock:
    """`seconds`: wall-clock of each part, by name, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        """A part is done."""
        now = time.perf_counter()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now
