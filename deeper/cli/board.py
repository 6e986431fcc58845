"""`deeper board`."""

from __future__ import annotations

import signal
import threading
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import tyro


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Watch runs in TensorBoard, while they train or afterwards. Ctrl-C ends it.

    Several runs are shown side by side under the names of their folders. The page can be opened from this machine
    only, unless --host says otherwise; nothing is sent anywhere.

    Example: deeper board runs/first runs/second
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders, or folders that hold runs (a series of seeds or folds)."""
    port: int = 6006
    """0 takes any free port."""
    host: str = "127.0.0.1"
    """0.0.0.0 lets every machine that can reach this one look; the page has no password."""


def main(arguments: Arguments) -> None:
    """Serve until interrupted."""
    from deeper.errors import UsageError
    from deeper.monitor.board import serve

    if not arguments.runs:
        raise UsageError("give at least one run folder, for example: deeper board runs/first")
    if not 0 <= arguments.port <= 65535:
        raise UsageError(f"--port: wanted 0 to 65535, got {arguments.port}")
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    def wait() -> None:
        # An Event without timeout cannot be interrupted on every platform; a second's sleep can.
        while not ended.wait(1.0):
            pass

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    serve(arguments.runs, host=arguments.host, port=arguments.port, say=lambda text: print(text, flush=True), wait=wait)
