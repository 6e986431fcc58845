from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from deeper.models import kernels
from deeper.models.kernels import library


@pytest.fixture(autouse=True)
def off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not yet prepared, with an empty cache."""
    monkeypatch.setattr(library, "_active", None)
    monkeypatch.setenv("DEEPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DEEPER_KERNELS", raising=False)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The compiler does not optimise: seconds instead of a quarter of a minute for each library."""
    compiler = tmp_path / "quick"
    compiler.write_text('#!/bin/sh\nexec c++ "$@" -O0\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))


@pytest.mark.usefixtures("quick")
def test_built_once(tmp_path: Path) -> None:
    assert kernels.prepare() is None and library.active() is not None
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "kernels").iterdir()}
    assert sorted(path.suffix for path in before) == [".sha256", ".so"]
    library._active = None
    assert kernels.prepare() is None
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "kernels").iterdir()} == before
    with kernels.switched_off():
        assert library.active() is None
    assert library.active() is not None


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("kept", "noted"), [(0.5, True), (0, False)], ids=["cut", "empty and no hash"])
def test_a_library_that_was_cut_is_built_again(tmp_path: Path, kept: float, noted: bool) -> None:
    """As a full disk or a crash leaves it; loading a cut one could end the process, so its hash is asked first."""
    assert kernels.prepare() is None
    library._active = None
    (built,) = (tmp_path / "cache" / "kernels").glob("*.so")
    whole = built.read_bytes()
    built.unlink()  # this process still runs it
    built.write_bytes(whole[: int(kept * len(whole))])
    if not noted:
        built.with_suffix(".sha256").unlink()
    assert kernels.prepare() is None and library.active() is not None
    assert built.stat().st_size == len(whole)


@pytest.mark.usefixtures("quick")
def test_a_library_that_cannot_be_loaded_is_built_again_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tried: list[int] = []

    def load(path: str) -> ctypes.CDLL:
        tried.append(Path(path).stat().st_ino)
        if len(tried) < fails + 1:
            raise OSError(f"{path}: invalid ELF header")
        return whole(path)

    whole, fails = ctypes.CDLL, 1
    monkeypatch.setattr(library.ctypes, "CDLL", load)
    assert kernels.prepare() is None and len(tried) == 2
    library._active = None
    fails = 9
    assert "invalid ELF header" in str(kernels.prepare()) and len(tried) == 4


@pytest.mark.usefixtures("quick")
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no owners here")
def test_a_folder_that_others_write_to_is_not_trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert kernels.prepare() is None
    library._active = None
    folder = tmp_path / "cache" / "kernels"
    folder.chmod(0o777)
    assert "can be written by others: chmod go-w it" in str(kernels.prepare()) and library.active() is None
    folder.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: folder.stat().st_uid + 1)
    assert "belongs to another user" in str(kernels.prepare()) and library.active() is None


def test_off_as_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEEPER_KERNELS", "off")
    assert kernels.prepare() == "DEEPER_KERNELS=off"
    assert library.active() is None and not (tmp_path / "cache").exists()


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert kernels.prepare() == "no C++ compiler was found (c++, g++ or clang++)"
    assert library.active() is None


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ('[ "$1" = --version ] || { echo "x.cpp:1: error: no OpenMP here" >&2; exit 1; }', "error: no OpenMP here"),
        ('[ "$1" = --version ] || exit 3', "exit status 3"),
        ('[ "$1" = --version ] || for last; do :; done; echo broken > "$last"', ""),  # no library comes out
    ],
)
def test_a_compiler_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, reason: str) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    answer = kernels.prepare()
    assert answer is not None and reason in answer and "\n" not in answer
    assert library.active() is None


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DEEPER_CACHE", str(tmp_path / "file"))
    answer = kernels.prepare()
    assert answer is not None and "\n" not in answer and library.active() is None
