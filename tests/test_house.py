"""House rules that a machine can hold: names, sizes, nothing pickled, a README that knows every room."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "deeper"
SOURCES = sorted(PACKAGE.rglob("*.py"))
ALL = sorted(path for folder in ("deeper", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))

# Bytes on a pipe between a process and its own children, never on a disk, never from somebody else.
PICKLE_ON_PIPES = {PACKAGE / "records" / name for name in ("worker.py", "workers.py")}


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def trees(paths: list[Path]) -> dict[str, ast.Module]:
    return {shown(path): ast.parse(path.read_text("utf-8")) for path in paths}


def rooms() -> set[str]:
    entries = [path for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    return {path.stem for path in entries if not path.name.startswith("_")}


def test_there_are_files_to_look_at() -> None:
    assert len(SOURCES) > 50 and len(ALL) > len(SOURCES) and {"errors", "records", "cli"} <= rooms()


def test_no_drawers() -> None:
    drawers = {"util", "utils", "common", "helper", "helpers", "misc", "tools"}
    assert [shown(path) for path in ALL if drawers & {part.removesuffix(".py") for part in path.parts[-3:]}] == []


def test_no_file_is_too_long() -> None:
    long = {shown(path): lines for path in ALL if (lines := len(path.read_text("utf-8").splitlines())) > 400}
    assert long == {}


def test_every_module_says_what_it_is() -> None:
    assert [name for name, tree in trees(SOURCES).items() if not ast.get_docstring(tree)] == []


def test_no_star_imports_and_no_delegated_keywords() -> None:
    found = []
    for name, tree in trees(SOURCES).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
                found.append(f"{name}:{node.lineno}: import *")
            if isinstance(node, ast.arguments) and node.kwarg and node.kwarg.arg in ("kwargs", "kw", "options"):
                found.append(f"{name}:{node.kwarg.lineno}: **{node.kwarg.arg}")
    assert found == []


def unpickling(tree: ast.Module) -> list[str]:
    """What in a module reads or writes pickles, or may."""
    modules = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [f"{node.lineno}: import {a.name}" for a in node.names if a.name.partition(".")[0] in modules]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in modules:
            found.append(f"{node.lineno}: from {node.module}")
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if (
                called == "torch.save"
                or (called == "torch.load" and keywords.get("weights_only") != "True")
                or (called in ("np.load", "numpy.load") and keywords.get("allow_pickle", "False") != "False")
                or (called in ("np.save", "numpy.save") and keywords.get("allow_pickle") != "False")
            ):
                found.append(f"{node.lineno}: {called}")
    return found


def test_nothing_is_pickled() -> None:
    others = [path for path in SOURCES if path not in PICKLE_ON_PIPES]
    assert {name: found for name, tree in trees(others).items() if (found := unpickling(tree))} == {}
    # An exception that is none any more is struck from the list.
    assert all(unpickling(ast.parse(path.read_text("utf-8"))) for path in PICKLE_ON_PIPES)


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "torch.save(x, p)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "np.load(p, allow_pickle=True)",
        "np.save(p, x)",
    ],
)
def test_pickling_would_be_seen(code: str) -> None:
    assert unpickling(ast.parse(code))


def test_the_readme_and_the_architecture_name_every_room() -> None:
    for name in ("README.md", "docs/architecture.md"):
        text = (ROOT / name).read_text("utf-8")
        assert [room for room in sorted(rooms()) if f"`{room}`" not in text and f"`{room}/`" not in text] == [], name


def test_the_layers_hold_every_room() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    named = {re.sub(r"[()\s]", "", room) for layer in layers for room in layer.split("|")}
    assert rooms() <= named, "a room that no layer holds may import anything"


def test_constraints_pin_every_dependency_exactly() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]

    def unfolded(lines: list[str]) -> list[str]:
        """`deeper[one,other]` stands for what these extras name."""
        own = [re.fullmatch(r"deeper\[(.+)\]", line) for line in lines]
        inner = [line for match in own if match for name in match[1].split(",") for line in unfolded(extras[name])]
        return [line for line, match in zip(lines, own) if not match] + inner

    wanted = [*project["dependencies"], *unfolded(extras["dev"])]
    names = {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", line)[0]).lower() for line in wanted}
    assert names - pinned == set()


def test_the_version_is_one() -> None:
    import deeper

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited and project["version"] == deeper.__version__ == cited[1]


def test_no_place_to_install_from_is_named() -> None:
    """Which index or mirror a machine installs from is that machine's business."""
    hosts = re.compile(
        r"pypi\.org|pythonhosted|download\.pytorch\.org(?!/models)|--(extra-)?index-url|--find-links|--upgrade",
    )
    files = [path for path in ROOT.iterdir() if path.is_file() and path.suffix in ("", ".md", ".toml", ".txt", ".cff")]
    files += [ROOT / ".ci" / "run", *(ROOT / "docs").glob("*.md"), *ALL]
    named = []
    for path in files:
        if path != Path(__file__) and (found := hosts.search(path.read_text("utf-8"))):
            named.append(f"{shown(path)}: {found[0]}")
    assert named == []
