"""What clients write as JSON → pixels or files. Runs in a process of its own for large bodies: Python parses JSON with its
one lock held, a second for 30 MB, in which nobody else would be answered."""

from __future__ import annotations

import asyncio
import base64
import binascii
import itertools
import json
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from deeper.web import Refused

# Parsed in a millisecond or two.
_SMALL = 64 << 10
# Axes of nested lists: pictures, rows, columns, channels, and some to spare.
_DEEPEST = 8

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Parser:
    """Runs functions on bodies: small ones here, large ones one after the other in a process of its own."""

    def __init__(self) -> None:
        self._process: ProcessPoolExecutor | None = None

    async def __call__(
        self, size: int, function: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """`function(…)`. `size`: bytes that it has to look at. Raises: Refused; what the function raises."""
        if size <= _SMALL:
            return function(*given, **named)
        if self._process is None:
            # Spawned when first needed: most servers get files, and never need it.
            context = multiprocessing.get_context("spawn")
            self._process = ProcessPoolExecutor(1, mp_context=context, initializer=_begin)
        process = self._process
        try:
            return await asyncio.wrap_future(process.submit(function, *given, **named))
        except BrokenExecutor:
            # Killed, most likely for its memory. The next one gets another.
            if self._process is process:
                self._process = None
            raise Refused(503, "the body could not be parsed now; try again later", {"retry-after": "5"}) from None

    def stop(self) -> None:
        """End the process, and wait for that: what it holds of the system is given back before the server ends."""
        if self._process is not None:
            self._process.shutdown(wait=True, cancel_futures=True)
            self._process = None


def _begin() -> None:
    # A Ctrl-C reaches all of a terminal's processes, and systemd's SIGTERM all of a service's; this one ends when its
    # parent does, which may have bodies to be parsed before, and also when that was killed.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def parse_json(data: bytes) -> dict[str, Any]:
    """One JSON object. Raises: Refused, with 400, also for one nested too deeply, NaN or infinity."""
    try:
        plain = json.loads(data, parse_constant=_constant)
    except RecursionError:
        raise Refused(400, "the JSON is nested too deeply") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise Refused(400, f"the body is no JSON ({str(error)[:80]})") from None
    if not isinstance(plain, dict):
        raise Refused(400, "the body is no JSON object")
    return plain


def picture_shapes(size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """How a picture of `size` (H, W, C) may be nested: so, flat, and where it is grey without its channel."""
    return [size, (math.prod(size),), *([size[:2]] if size[2] == 1 else [])]


def whole_numbers(data: Any, shapes: Collection[tuple[int, ...]]) -> NDArray[np.uint8]:
    """Lists of whole numbers 0..255, nested as one of `shapes` says (all of as many values), flattened in row-major order.

    Everything is looked at before numpy sees it, which would make room for the longest of texts as often as there are
    values. Raises: Refused, with 400, also where the nesting is another one: channels before rows are no picture.
    """
    count = math.prod(next(iter(shapes)))
    if not isinstance(data, list):
        raise Refused(400, "pixels must be lists of whole numbers from 0 to 255")
    level: list[Any] = data
    nested = [len(data)]
    for _ in range(_DEEPEST):
        kinds = set(map(type, level))
        if list not in kinds:
            break
        lengths = set(map(len, level)) if kinds == {list} else set()
        if len(lengths) != 1:
            raise Refused(400, "the values are no regular array")
        nested.append(lengths.pop())
        if len(level) * nested[-1] > count:
            break
        level = list(itertools.chain.from_iterable(level))
    if len(level) != count or list in kinds:
        raise Refused(400, f"another number of values than the {count:,} of its shape")
    if tuple(nested) not in shapes:
        wanted = " or ".join(" × ".join(map(str, shape)) for shape in shapes)
        raise Refused(400, f"values nested as {' × '.join(map(str, nested))}; wanted {wanted}")
    if not kinds <= {int, float}:
        raise Refused(400, "pixels must be whole numbers from 0 to 255")
    return _bytes_of(level)


def _bytes_of(values: list[Any]) -> NDArray[np.uint8]:
    if not values:
        return np.empty(0, np.uint8)
    low, high = min(values), max(values)
    if low < 0 or high > 255:
        raise Refused(400, f"pixels from {str(low)[:20]} to {str(high)[:20]}; wanted whole numbers from 0 to 255")
    numbers = np.array(values, np.float64)
    if (numbers != np.floor(numbers)).any():
        raise Refused(400, "pixels must be whole numbers from 0 to 255")
    return numbers.astype(np.uint8)


def unpacked_base64(texts: Iterable[Any], what: str) -> list[bytes]:
    """Line breaks are passed over and padding may be missing, as in TensorFlow Serving: MIME's encoders write the one, others
    leave out the other. Raises: Refused, with 400."""
    found = []
    for number, text in enumerate(texts):
        try:
            plain = "".join(text.split())
            found.append(base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True))
        except (binascii.Error, ValueError, TypeError, AttributeError):
            raise Refused(400, f"{what}: no base64 in number {number}, counted from 0") from None
    return found


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")
