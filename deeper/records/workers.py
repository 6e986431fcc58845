"""Processes that encode chunks, with results in the order of the chunks and a bounded number of them under way.

They are started as `python -c …` and spoken to through pipes, not made by multiprocessing: a forked copy of a
process that runs torch's threads may hang, and a spawned one runs the user's script again. One interpreter is started,
imports what is needed and forks the workers, having no threads itself: an interpreter costs 0.13 s of a processor, a
copy 0.003. A worker ends when its pipe closes, so that none outlives a parent that was killed, and one that crashes
costs the picture that it crashed on.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import BinaryIO, Self

from deeper.records.encoding import Chunk, Encoded, encode_chunk
from deeper.records.worker import READY, close

# The interpreter's first line of code. `sys.path` comes along: the parent may have been started from anywhere.
_START = "import sys; sys.path[:] = sys.argv[2:]; from deeper.records.worker import serve; serve(sys.argv[1])"
# A worker has a processor to itself and no use for threads of its own; and glibc shall keep the memory of one picture
# for the next instead of handing it back and asking again, which costs a fifth of the time of small JPEGs.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(256 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}
# Seconds that the interpreter may take to kill its workers.
_PATIENCE = 5.0


def available_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Worker:
    """The parent's end of one worker's pipes."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self.requests, self.answers = requests, answers
        self.ready = False

    def ask(self, chunk: Chunk) -> Encoded:
        """Raises: EOFError or OSError, when the worker died."""
        pickle.dump(chunk, self.requests, protocol=5)
        self.requests.flush()
        if not self.ready:
            if self.answers.readline() != READY:
                raise _NoStart
            self.ready = True
        answer = pickle.load(self.answers)
        assert isinstance(answer, Encoded)
        return answer

    def close(self) -> None:
        for pipe in (self.requests, self.answers):
            with contextlib.suppress(OSError):
                pipe.close()


class _Crew:
    """One interpreter, and `count` workers that it forks. Raises: OSError."""

    def __init__(self, count: int) -> None:
        made: list[tuple[int, int]] = []
        try:
            for _ in range(2 * count):
                made.append(os.pipe())
        except OSError:  # no more files may be open: those that are must not stay so
            close(made)
            raise
        pipes = list(zip(made[::2], made[1::2]))
        theirs = [(asked[0], answered[1]) for asked, answered in pipes]
        self.workers = [_Worker(os.fdopen(asked[1], "wb"), os.fdopen(answered[0], "rb")) for asked, answered in pipes]
        try:
            # A group of its own: Ctrl-C is for the parent, which then ends its workers in good order.
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START, ",".join(f"{ins}:{out}" for ins, out in theirs), *sys.path],
                stdin=subprocess.DEVNULL,
                # Whatever a library prints.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **_ENVIRONMENT},
                pass_fds=[descriptor for pair in theirs for descriptor in pair],
                process_group=0,
            )
        except OSError:
            self._close()
            raise
        finally:
            close(theirs)

    def end(self) -> None:
        """Kill the workers, and wait until all are gone."""
        self.process.terminate()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._close()

    def _close(self) -> None:
        for worker in self.workers:
            worker.close()


class _NoStart(Exception):
    """The worker did not reach its first chunk: nothing is wrong with the pictures."""


class Workers:
    """`count` processes; none, and the work done here, where `count` is 1. Use in a `with` block.

    They start with the first chunk, or earlier by `start`: it takes a seventh of a second, in which whoever calls it may do
    something else.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._idle: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        self._crews: list[_Crew] = []
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._closed = True
        for crew in self._crews:
            crew.end()

    def start(self) -> None:
        """Start the processes now, if they are not there yet. Where that cannot be, the work is done here."""
        if self.count > 1 and not self._crews and sys.executable and hasattr(os, "fork"):
            workers = self._hire(self.count)
            if not self._crews:
                self.count = 1
                return
            for worker in workers:
                self._idle.put(worker)

    def dismiss(self) -> None:
        """Do what follows here: there turned out to be too little for processes."""
        for crew in self._crews:
            crew.end()
        self._crews, self._idle, self.count = [], queue.SimpleQueue(), 1

    def encode(self, chunks: Iterable[Chunk]) -> Iterator[Encoded]:
        """The results in the order of the chunks. At most two chunks per worker are under way or waiting."""
        self.start()
        if not self._crews:
            yield from map(encode_chunk, chunks)
            return
        pool = ThreadPoolExecutor(self.count, thread_name_prefix="encode")
        pending: deque[Future[Encoded]] = deque()
        try:
            for chunk in chunks:
                pending.append(pool.submit(self._ask, chunk))
                if len(pending) >= 2 * self.count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except BaseException:
            # Threads that wait for an answer are freed by the end of the process that owes it.
            self._end()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _hire(self, count: int) -> Sequence[_Worker | None]:
        try:
            crew = _Crew(count)
        except OSError:
            return [None] * count
        self._crews.append(crew)
        return crew.workers

    def _ask(self, chunk: Chunk) -> Encoded:
        worker = self._idle.get()
        try:
            if worker is None:
                return encode_chunk(chunk)
            try:
                return worker.ask(chunk)
            except _NoStart:
                worker = None
                return encode_chunk(chunk)
            except (EOFError, OSError, pickle.UnpicklingError):
                if self._closed:
                    raise
                worker.close()
                (worker,) = self._hire(1)
            if len(chunk.ids) == 1:
                return Encoded(rejected=[(0, "the decoder crashed on it")])
        finally:
            self._idle.put(worker)
        return _joined([self._ask(one) for one in _singles(chunk)])


def _singles(chunk: Chunk) -> list[Chunk]:
    def part(position: int) -> Chunk:
        here = slice(position, position + 1)
        return replace(
            chunk,
            ids=chunk.ids[here],
            labels=chunk.labels[here],
            texts=chunk.texts[here],
            groups=chunk.groups[here],
            paths=chunk.paths[here],
            arrays=chunk.arrays[here],
            first=chunk.first + position,
        )

    return [part(position) for position in range(len(chunk.ids))]


def _joined(singles: list[Encoded]) -> Encoded:
    result = Encoded(records=b"".join(single.records for single in singles))
    for position, single in enumerate(singles):
        result.kept += [position] * len(single.kept)
        result.rejected += [(position, reason) for _, reason in single.rejected]
        for name in ("sizes", "heights", "widths", "channels"):
            getattr(result, name).extend(getattr(single, name))
        result.sums.join(single.sums)
    return result
