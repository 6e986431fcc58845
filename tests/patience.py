"""How long to wait before saying that something hangs, and how slow this machine is just now.

A machine that is shared may run at a tenth of its speed for an hour. A test whose wait is over then says something
about the machine; so waits are long, and what claims a time allows for the speed that was measured beside it.
"""

from __future__ import annotations

import time

_FACTOR = 8
# Of a loop like the one below, on an idle core of 2024. A faster machine counts as this one.
_USUAL_SECONDS = 0.010


def patient(seconds: float) -> float:
    """The wait, in seconds, that what takes `seconds` on a machine of one's own may need on a slow one."""
    return seconds * _FACTOR


def slowness() -> float:
    """How many times longer than on an idle machine a piece of Python takes now: the median of five, at least 1."""
    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        total = 0
        for number in range(250_000):
            total += number
        rounds.append(time.perf_counter() - began)
    return max(1.0, sorted(rounds)[2] / _USUAL_SECONDS)
