"""What the interpreter runs that `workers` starts: it forks the workers, and they encode chunks until their pipes close.

It imports little, for a build waits for it.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterable
from types import FrameType
from typing import BinaryIO

from deeper.records.encoding import encode_chunk

# A worker's first line: before it, whatever goes wrong is no picture's fault.
READY = b"deeper worker ready\n"


def serve(pairs: str) -> None:
    """The life of the interpreter: fork a worker for each of `pairs`, its descriptors INPUT:OUTPUT, with commas between;
    then bury them, and on SIGTERM kill them first."""
    pipes = []
    for pair in pairs.split(","):
        ins, _, out = pair.partition(":")
        pipes.append((int(ins), int(out)))
    alive: set[int] = set()

    def end(number: int, frame: FrameType | None) -> None:
        for worker in alive:
            os.kill(worker, signal.SIGKILL)

    for own in pipes:
        worker = os.fork()
        if worker == 0:
            close(one for one in pipes if one is not own)
            with os.fdopen(own[0], "rb") as requests, os.fdopen(own[1], "wb") as answers:
                _answer(requests, answers)
            return
        alive.add(worker)
    # Not before: those that it does not know yet are told by their pipes.
    signal.signal(signal.SIGTERM, end)
    close(pipes)
    while alive:
        alive.discard(os.wait()[0])
    # Its parent waits for it, and an interpreter takes a while to put everything away.
    os._exit(0)


def close(pairs: Iterable[tuple[int, int]]) -> None:
    """Close both descriptors of each pair."""
    for pair in pairs:
        for descriptor in pair:
            os.close(descriptor)


def _answer(requests: BinaryIO, answers: BinaryIO) -> None:
    """A worker's life: chunks in, results out, until the input ends."""
    answers.write(READY)
    answers.flush()
    while True:
        try:
            chunk = pickle.load(requests)
        except EOFError:
            return
        # Pickle travels only between us and our own child, through a pipe nobody else can reach.
        pickle.dump(encode_chunk(chunk), answers, protocol=5)
        answers.flush()
