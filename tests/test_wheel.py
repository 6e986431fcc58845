"""The package as others get it: built as sdist and wheel, installed into an empty folder, used from there.

Built without isolation and installed without dependencies, so that nothing is fetched; the dependencies are those of
the environment that runs the tests, the checkout is out of reach.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy
import pytest

from tests.patience import patient

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "deeper"
# What a build leaves beside its sources.
LEFT_OVER = {".pyc", ".pyo", ".so"}


def shipped() -> set[str]:
    """Every file of the package, as a wheel names it."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix not in LEFT_OVER and ".partial-" not in path.name
    }


def run(*words: object, cwd: Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=patient(280)
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it as `python -m build` does; the checkout is left as it is."""
    place = tmp_path_factory.mktemp("build")
    (place / "deeper").mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, place / "deeper")
    for name in ("deeper", "tests", "docs", "benchmarks"):
        shutil.copytree(ROOT / name, place / "deeper" / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = f"from setuptools import build_meta; print(build_meta.build_sdist({str(place)!r}))"
    name = run(sys.executable, "-c", code, cwd=place / "deeper").splitlines()[-1]
    sdist = place / name
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", place / "wheels", sdist, cwd=place)
    (wheel,) = (place / "wheels").iterdir()
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder with nothing but the wheel's content."""
    target = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", "--target", target, built[1], cwd=target)
    return target


@pytest.fixture
def deeper(installed: Path, tmp_path: Path):
    """Runs the installed package in an empty folder; the editable install is not seen (-S reads no .pth file)."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "DEEPER_DATA"},
        "PYTHONPATH": os.pathsep.join([str(installed), str(Path(numpy.__file__).parents[1])]),
        "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    command = (sys.executable, "-S", "-P", "-W", "ignore", "-m", "deeper")
    return lambda *words: run(*command, *words, cwd=tmp_path, environment=environment)


def test_the_wheel_holds_every_file_of_the_package_and_no_other(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        held = {name for name in wheel.namelist() if not name.endswith("/")}
    information = {name for name in held if name.split("/")[0].endswith(".dist-info")}
    assert held - information == shipped()
    data = {Path(name).suffix for name in shipped()} - {".py"}
    assert {".html", ".css", ".js", ".svg", ".toml", ".cpp", ".h"} <= data
    assert {Path(name).name for name in information} >= {"LICENSE", "METADATA", "entry_points.txt"}


def test_its_description_is_the_projects(built: tuple[Path, Path]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    with zipfile.ZipFile(built[1]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        metadata = wheel.read(name).decode()
    assert f"Version: {project['version']}\n" in metadata and "License-Expression: Apache-2.0" in metadata
    assert set(re.findall(r"^Provides-Extra: (.+)$", metadata, re.MULTILINE)) == set(project["optional-dependencies"])
    assert "# deeper" in metadata, "the README is the description"


def test_the_sdist_can_be_tested(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        held = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    tests = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")}
    assert shipped() | tests <= held
    assert {"LICENSE", "README.md", "CHANGELOG.md", "constraints.txt", "Makefile", "docs/formats.md"} <= held


def test_the_verbs_answer(deeper, installed: Path) -> None:
    assert "usage: deeper VERB" in deeper("--help")
    assert "deeper demo" in deeper()
    assert "inception_v3" in deeper("models")
    assert "complete -c deeper" in deeper("completion", "fish")
    assert (installed / "bin" / "deeper").stat().st_mode & 0o111
    plain = json.loads(deeper("doctor", "--skip-test", "--json"))
    assert plain["versions"]["deeper"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_checkout_is_out_of_reach(deeper, installed: Path) -> None:
    """A network of one's own is imported by its path, which shows where modules come from."""
    code = "import deeper, deeper.runs; print(deeper.__file__); print(deeper.runs.__file__)"
    environment = {"PYTHONPATH": os.pathsep.join([str(installed), str(Path(numpy.__file__).parents[1])])}
    for line in run(sys.executable, "-S", "-P", "-c", code, cwd=installed, environment=environment).splitlines():
        assert Path(line).is_relative_to(installed)


def test_it_trains_and_predicts(deeper) -> None:
    plain = json.loads(deeper("demo", "--source", "digits", "--epochs", "0.2", "--json"))
    assert plain["source"] == "digits" and plain["accuracy"] > 0.2 and plain["total"] > 100


@pytest.mark.long
def test_the_self_test_passes(deeper) -> None:
    assert json.loads(deeper("doctor", "--json"))["sound"] is True


@pytest.mark.long
def test_an_empty_environment(built: tuple[Path, Path], tmp_path: Path) -> None:
    """All dependencies too, from wherever this machine installs: some minutes."""
    run(sys.executable, "-m", "venv", "empty", cwd=tmp_path)
    pip = (tmp_path / "empty/bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    run(*pip, "-c", ROOT / "constraints.txt", built[1], cwd=tmp_path)
    plain = json.loads(run(tmp_path / "empty/bin/deeper", "demo", "--epochs", "1", "--json", cwd=tmp_path))
    assert plain["accuracy"] > 0.9
