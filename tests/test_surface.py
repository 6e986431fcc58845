"""The public names, frozen: a change of `api_surface.json` is a change of what users have written against."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import deeper

SURFACE = Path(__file__).with_name("api_surface.json")


def signature(value: object) -> str | list[str]:
    """The names of the parameters, keyword-only ones marked, defaults as they are; exceptions have none."""
    if not callable(value) or (inspect.isclass(value) and issubclass(value, Exception)):
        return type(value).__name__
    shown = []
    for parameter in inspect.signature(value).parameters.values():
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        mark = "keyword " if parameter.kind is parameter.KEYWORD_ONLY else ""
        shown.append(f"{mark}{parameter.name}{default}")
    return shown


def test_the_surface_is_the_one_that_is_checked_in() -> None:
    """After a meant change: `python tests/test_surface.py` writes the file anew; say so in CHANGELOG.md."""
    assert {name: signature(getattr(deeper, name)) for name in deeper.__all__} == json.loads(SURFACE.read_text())


def test_every_public_name_has_a_docstring() -> None:
    for name in deeper.__all__:
        if name != "__version__":
            assert inspect.getdoc(getattr(deeper, name)), name


def test_dir_and_wrong_names() -> None:
    assert set(deeper.__all__) <= set(dir(deeper))
    assert not hasattr(deeper, "trian")
    with pytest.raises(AttributeError, match="'deeper' has no attribute 'trian'"):
        deeper.trian  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(deeper.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(seen) == sorted(set(deeper.__all__) - {"__version__"})
    for name, (module, attribute) in seen.items():
        assert getattr(import_module(module), attribute) is getattr(deeper, name)


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, deeper; print(sorted({m.partition('.')[0] for m in sys.modules} & set(sys.argv[1:])))"
    heavy = ["numpy", "torch", "PIL", "matplotlib", "tensorboard", "rich", "tyro", "scipy"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


if __name__ == "__main__":
    plain = {name: signature(getattr(deeper, name)) for name in deeper.__all__}
    SURFACE.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
