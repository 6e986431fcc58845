"""How much memory this process can still take: within what is available, its control groups' limits and its own."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

# Where the kernel does not say.
_UNKNOWN = 4 << 30
_CONTROL_GROUPS = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes that can be taken without swapping and without being killed for it."""
    free = _free_in_heap()
    bounds = [_of_meminfo("MemAvailable") + free]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        bounds.append(limit - _address_space(resource.getpagesize()) + free)
    bounds += [limit - used + free for limit, used in _control_groups(_CONTROL_GROUPS, Path("/proc/self/cgroup"))]
    return max(0, min(bounds))


class _Heap(ctypes.Structure):
    """`struct mallinfo2` of glibc's malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def _free_in_heap() -> int:
    """Bytes that the allocator holds and nobody uses; 0 where it cannot be asked."""
    try:
        ask = ctypes.CDLL("libc.so.6").mallinfo2
    except (OSError, AttributeError):
        return 0
    ask.restype = _Heap
    return int(ask().fordblks)


def _of_meminfo(name: str) -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return _UNKNOWN


def _address_space(page: int) -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * page
    except OSError:
        return 0


def _control_groups(root: Path, membership: Path) -> list[tuple[int, int]]:
    """(limit, in use without file caches) of each group that this process belongs to and that has a limit: a container's
    stands at the root, a service's or a batch job's on the way down to it; of version 2 and of version 1.
    """
    try:
        lines = membership.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    # number:controllers:path, without controllers in version 2.
    paths = {tuple(line.split(":", 2)[1].split(",")): line.split(":", 2)[2] for line in lines if line.count(":") >= 2}
    new = next((path for controllers, path in paths.items() if controllers == ("",)), "/")
    old = next((path for controllers, path in paths.items() if "memory" in controllers), "/")
    found = [_limit(place, "memory.max", "memory.current", "inactive_file") for place in _upwards(root, new)]
    found += [
        _limit(place, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        for place in _upwards(root / "memory", old)
    ]
    return [one for one in found if one is not None]


def _upwards(root: Path, path: str) -> list[Path]:
    """The folders of a group and of those it lies in, the root included."""
    below = [part for part in path.split("/") if part not in ("", ".", "..")]
    return [root.joinpath(*below[:count]) for count in range(len(below), -1, -1)]


def _limit(place: Path, limit: str, used: str, cache: str) -> tuple[int, int] | None:
    try:
        text = (place / limit).read_text(encoding="ascii").strip()
        if text == "max":
            return None
        taken = int((place / used).read_text(encoding="ascii"))
        for line in (place / "memory.stat").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{cache} "):
                taken -= int(line.split()[1])
        return int(text), taken
    except (OSError, ValueError):
        return None
