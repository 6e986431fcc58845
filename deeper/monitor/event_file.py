"""TensorBoard's event file, written by the thread that calls.

TensorBoard's own writer has a thread, which dies with a traceback on the screen where the disk is full. A few events a
second need none: they are collected and written every few seconds, and at once when a checkpoint asks for it.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeper.records.tfrecord import frame

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# Seconds, and bytes, until what was said is handed to the operating system; TensorBoard reloads every few seconds.
FLUSH_SECONDS, FLUSH_BYTES = 10.0, 1 << 20
_number = itertools.count()


class EventFile:
    """Takes the place of `tensorboard.summary.writer.event_file_writer.EventFileWriter`.

    After the first error nothing more is written: `error` says which it was. Raises: OSError, when it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        now = time.time()
        # As TensorBoard names them: it goes by the order of the names (hence the zeros), and by the part in the middle.
        name = f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}.{os.getpid()}.{next(_number):06d}"
        self._folder = folder
        self._pending = bytearray()
        self._written = now
        self.error: OSError | None = None
        self._file = open(folder / name, "wb", buffering=0)
        self.add_event(Event(wall_time=now, file_version="brain.Event:2"))
        self.flush()

    def get_logdir(self) -> str:
        """The folder that it lies in."""
        return str(self._folder)

    def add_event(self, event: Any) -> None:
        """Take one event; never raises OSError."""
        self._pending += frame(event.SerializeToString())
        if len(self._pending) > FLUSH_BYTES or time.time() - self._written > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Hand all to the operating system; never raises OSError."""
        rest = memoryview(bytes(self._pending))
        self._pending.clear()
        self._written = time.time()
        try:
            while rest and self.error is None:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.error = error

    def close(self) -> None:
        """Flush and close; closing again does nothing."""
        if not self._file.closed:
            self.flush()
            self._file.close()


def open_writer(folder: Path, purge_step: int | None) -> tuple[SummaryWriter, EventFile]:
    """A `SummaryWriter` over an `EventFile` in `folder`. `purge_step`: what earlier files say from this step on is
    hidden by TensorBoard. Raises: OSError."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.writer import FileWriter

    file = EventFile(folder)

    class Files(FileWriter):
        def __init__(self) -> None:
            self.event_writer = file

    class Writer(SummaryWriter):
        file_writer: Any
        all_writers: Any

        def _get_file_writer(self) -> Any:
            if self.file_writer is None:
                self.file_writer = Files()
                self.all_writers = {file.get_logdir(): self.file_writer}
            return self.file_writer

    writer = Writer(str(folder))
    if purge_step is not None:
        start = SessionLog(status=SessionLog.START)
        writer._get_file_writer().add_event(Event(step=purge_step, session_log=start))
    return writer, file
