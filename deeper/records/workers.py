"""Processes that encode chunks, with results in the order of the chunks and a bounded number of them under way.

They are started as `python -c …` and spoken to through pipes, not made by multiprocessing: a forked copy of a
process that runs torch's threads may hang, and a spawned one runs the user's script again. A worker ends when its pipe
closes, so that none outlives a parent that was killed, and one that crashes costs the picture that it crashed on.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import BinaryIO, Self

from deeper.records.encoding import Chunk, Encoded, encode_chunk

# Child's first line of code. `sys.path` comes along: the parent may have been started from anywhere.
_START = "import sys; sys.path[:] = sys.argv[1:]; from deeper.records.workers import serve; serve()"
# A worker has a processor to itself and no use for threads of its own; and glibc shall keep the memory of one picture
# for the next instead of handing it back and asking again, which costs a fifth of the time of small JPEGs.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(256 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}
_READY = b"deeper worker ready\n"


def available_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def serve() -> None:
    """A worker's life: chunks in by standard input, results out by standard output, until the input ends."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not run into the answers.
    os.dup2(2, 1)
    answers.write(_READY)
    answers.flush()
    while True:
        try:
            chunk = pickle.load(requests)
        except EOFError:
            return
        # Pickle travels only between us and our own child, through a pipe nobody else can reach.
        pickle.dump(encode_chunk(chunk), answers, protocol=5)
        answers.flush()


class _Worker:
    def __init__(self) -> None:
        # A group of its own: Ctrl-C is for the parent, which then ends its workers in good order.
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT},
            process_group=0 if os.name == "posix" else None,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.requests: BinaryIO = self.process.stdin  # type: ignore[assignment]  # Popen says IO[bytes]
        self.answers: BinaryIO = self.process.stdout  # type: ignore[assignment]
        self.ready = False

    def ask(self, chunk: Chunk) -> Encoded:
        """Raises: EOFError or OSError, when the worker died."""
        pickle.dump(chunk, self.requests, protocol=5)
        self.requests.flush()
        if not self.ready:
            if self.answers.readline() != _READY:
                raise _NoStart
            self.ready = True
        answer = pickle.load(self.answers)
        assert isinstance(answer, Encoded)
        return answer

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.requests, self.answers):
            with contextlib.suppress(OSError):
                pipe.close()


class _NoStart(Exception):
    """The worker did not reach its first chunk: nothing is wrong with the pictures."""


class Workers:
    """`count` processes; none, and the work done here, where `count` is 1. Use in a `with` block."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._idle: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        self._all: list[_Worker] = []
        self._closed = False

    def __enter__(self) -> Self:
        if self.count > 1 and sys.executable:
            for _ in range(self.count):
                self._idle.put(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed = True
        for worker in self._all:
            worker.end()

    def encode(self, chunks: Iterable[Chunk]) -> Iterator[Encoded]:
        """The results in the order of the chunks. At most two chunks per worker are under way or waiting."""
        if not self._all:
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
            self.__exit__(None, None, None)
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    def _start(self) -> _Worker | None:
        try:
            worker = _Worker()
        except OSError:
            return None
        self._all.append(worker)
        return worker

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
                worker.end()
                worker = self._start()
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
        )

    return [part(position) for position in range(len(chunk.ids))]


def _joined(singles: list[Encoded]) -> Encoded:
    result = Encoded(records=b"".join(single.records for single in singles))
    for position, single in enumerate(singles):
        result.kept += [position] * len(single.kept)
        result.rejected += [(position, reason) for _, reason in single.rejected]
        for name in ("sizes", "heights", "widths", "channels", "moments"):
            getattr(result, name).extend(getattr(single, name))
    return result
