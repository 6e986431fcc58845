"""SIGINT and SIGTERM as a wish that the loop fulfils after the step under way."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from deeper.errors import RunError


class Interrupts:
    """Within the block the first SIGINT or SIGTERM sets a flag; a second SIGINT raises KeyboardInterrupt at once.

    Outside the main thread signals cannot be caught, and the flag stays down.
    """

    received: int | None = None
    """The signal's number, for the exit code 128 + number."""

    def __init__(self) -> None:
        self._old: dict[int, Any] = {}
        Interrupts.received = None

    def asked(self) -> bool:
        return Interrupts.received is not None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if Interrupts.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        Interrupts.received = number

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)


class Interrupted(RunError):
    """Work of several runs that a signal ended; what was done is saved. Exits as an interrupt does."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + (Interrupts.received or signal.SIGINT)
