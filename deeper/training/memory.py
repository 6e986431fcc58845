"""glibc told to keep large blocks instead of returning them to the kernel after every step.

A training step allocates and frees the same large tensors over and over. By default glibc maps each block of more than
128 KiB to 32 MiB anew and the kernel clears its pages each time; kept, they are reused. `docs/log.md` has the figures.
"""

from __future__ import annotations

import ctypes

# From malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_KEPT = 1 << 30


def keep_memory() -> bool:
    """Apply to this process; True where the C library is glibc. Memory in use does not grow, but its peak stays."""
    try:
        library = ctypes.CDLL("libc.so.6")
        return all(
            library.mallopt(parameter, value) == 1
            for parameter, value in ((_MMAP_THRESHOLD, _KEPT), (_TRIM_THRESHOLD, _KEPT), (_TOP_PAD, 64 << 20))
        )
    except (OSError, AttributeError):
        return False
