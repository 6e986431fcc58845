"""The compiled kernels: built at first use, kept in the cache folder, called through ctypes.

No header of PyTorch is compiled, so building takes seconds and one source serves every version. The library is found
by a hash over sources, compiler, flags and processor: another of these builds another one.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from ctypes import c_double, c_int, c_int64, c_void_p
from pathlib import Path

import torch

from deeper import files
from deeper.download import cache_folder
from deeper.errors import printable

SOURCES = ("norm.cpp", "pool.cpp", "pooled.cpp", "pooled_pictures.cpp")
_HEADER = "kernels.h"
# Sums may be fused into multiply-adds (GCC's default), but never reordered: NaN and infinity must pass.
_FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fopenmp")
_SECONDS = 300.0

_active: ctypes.CDLL | None = None

_SIGNATURES: dict[str, list[type]] = {
    "deeper_norm_forward": [
        c_int, c_void_p, c_int64, c_void_p, c_int64, c_int64, c_int64, c_void_p, c_void_p, c_double, c_double,
        c_void_p, c_void_p, c_void_p, c_int, c_int,
    ],
    "deeper_norm_backward": [
        c_int, c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_int64, c_int64, c_int64, c_void_p, c_void_p, c_void_p,
        c_int, c_int,
    ],
    "deeper_max_forward": [
        c_int, c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_int64, c_int,
    ],
    "deeper_max_backward": [
        c_int, c_void_p, c_int64, c_void_p, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_int64, c_int,
    ],
    "deeper_mean_around": [
        c_int, c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_int64, c_int, c_int, c_int,
    ],
    "deeper_pooled_forward": [c_int, c_void_p, c_int64, c_void_p, c_void_p, c_void_p, c_int],
    "deeper_pooled_backward": [
        c_int, c_void_p, c_int64, c_void_p, c_void_p, c_int64, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_int,
    ],
    "deeper_pictures_forward": [
        c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_int,
    ],
    "deeper_pictures_backward": [
        c_int, c_void_p, c_int64, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_int,
    ],
}  # fmt: skip


def active() -> ctypes.CDLL | None:
    """The library, where `prepare` has switched it on."""
    return _active


def library() -> ctypes.CDLL:
    """The library, which must be switched on."""
    assert _active is not None
    return _active


def find_compiler() -> str | None:
    """Path of the C++ compiler that would be used: the one in $CXX, c++, g++ or clang++; None where there is none."""
    return shutil.which(os.environ.get("CXX") or "c++") or shutil.which("g++") or shutil.which("clang++")


def prepare() -> str | None:
    """Switch the kernels on in this process, building them first if need be.

    Returns None when they are on, else why not, for a person to read. `DEEPER_KERNELS=off` in the environment keeps
    them off.
    """
    global _active
    if _active is not None:
        return None
    if os.environ.get("DEEPER_KERNELS", "").lower() == "off":
        return "DEEPER_KERNELS=off"
    compiler = find_compiler()
    if compiler is None:
        return "no C++ compiler was found (c++, g++ or clang++)"
    try:
        loaded = _loaded(compiler, cache_folder() / "kernels")
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.decode(errors="replace").splitlines() if "error" in line]
        return f"{compiler} failed: {lines[0] if lines else f'exit status {error.returncode}'}"
    except (OSError, AttributeError, subprocess.TimeoutExpired) as error:
        return str(error)
    _active = loaded
    return None


@contextlib.contextmanager
def switched_off() -> Iterator[None]:
    """Within the block every layer computes with PyTorch's own operators."""
    global _active
    before, _active = _active, None
    try:
        yield
    finally:
        _active = before


def _loaded(compiler: str, folder: Path) -> ctypes.CDLL:
    """Built unless it is there, and built anew, once, where what is there cannot be loaded.

    Raises: OSError, AttributeError, CalledProcessError, TimeoutExpired.
    """
    path = _built(compiler, folder)
    try:
        return _opened(path)
    except (OSError, AttributeError):
        path.unlink(missing_ok=True)
    return _opened(_built(compiler, folder))


def _opened(path: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(path))
    for name, signature in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = signature, None
    return loaded


def _check_owned(folder: Path) -> None:
    """What lies in the folder is run: nobody else may have put it there. Raises: OSError."""
    if not hasattr(os, "geteuid"):
        return
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise PermissionError(f"{printable(folder)} belongs to another user: delete it, or set DEEPER_CACHE")
    if found.st_mode & 0o022:
        raise PermissionError(f"{printable(folder)} can be written by others: chmod go-w it, or set DEEPER_CACHE")


def _whole(target: Path, digest: Path) -> bool:
    """Whether the library is what was built. Of one that was cut, loading would end the process."""
    try:
        return hashlib.sha256(target.read_bytes()).hexdigest() == digest.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return False


def _built(compiler: str, folder: Path) -> Path:
    """The library's file, compiled now unless it is there whole.

    Raises: OSError, also for a folder that others own or write to; CalledProcessError, TimeoutExpired.
    """
    here = Path(__file__).parent
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True, timeout=_SECONDS).stdout
    machine = platform.machine()
    native = ("-march=native", "-mprefer-vector-width=512") if machine in ("x86_64", "AMD64") else ("-mcpu=native",)
    content = hashlib.sha256(version)
    for name in (_HEADER, *SOURCES):
        content.update((here / name).read_bytes())
    for fact in (*_FLAGS, *native, machine, _processor()):
        content.update(fact.encode() + b"\0")
    target = folder / f"kernels-{content.hexdigest()[:24]}.so"
    digest = target.with_suffix(".sha256")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _check_owned(folder)
    if _whole(target, digest):
        return target
    with tempfile.TemporaryDirectory(dir=folder) as building:
        made = Path(building) / target.name
        sources = [str(here / name) for name in SOURCES]
        command = [compiler, *_FLAGS, *native, *sources, "-o", str(made)]
        subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)
        with open(made, "rb") as stream:
            os.fsync(stream.fileno())
        built = hashlib.sha256(made.read_bytes()).hexdigest()
        os.replace(made, target)
        files.write_text(digest, built + "\n")
    return target


def _processor() -> str:
    """What `-march=native` depends on: a home folder may be shared between machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))


def threads() -> int:
    """How many threads the kernels run on: as many as PyTorch's operators."""
    return torch.get_num_threads()
