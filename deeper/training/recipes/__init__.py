"""Recipes: named, shipped sets of options, one TOML file each, whose header says what it reaches and in what time.

A recipe's file is looked up as `MODEL-NAME.toml`, then as `FAMILY-NAME.toml` (every Inception belongs to the family
`inception`), then as `default-NAME.toml`, so that `--recipe fast` means the right thing for each network.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

from deeper.errors import UsageError, nearest


def _files() -> dict[str, str]:
    folder = resources.files(__name__)
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }


def _merged(plain: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(plain)
    for name, value in changes.items():
        before = merged.get(name)
        merged[name] = _merged(before, value) if isinstance(value, dict) and isinstance(before, dict) else value
    return merged


def names() -> list[str]:
    """The recipes' names, whatever the network."""
    return sorted({stem.split("-", 1)[1] for stem in _files()})


def load(name: str, model: str, *, with_weights: bool = False) -> dict[str, Any]:
    """A recipe's options for `model` as plain data, to be completed by flags and built by `values.from_plain`.

    `with_weights`: whether the run begins with weights that were trained before. What a recipe changes then stands in
    its table `with_weights`.

    Raises: UsageError, for a name that is no recipe, with the nearest one.
    """
    files = _files()
    family = "inception" if model.startswith("inception") else model
    for stem in (f"{model}-{name}", f"{family}-{name}", f"default-{name}"):
        if stem in files:
            plain = {**tomllib.loads(files[stem]), "recipe": name}
            changes = plain.pop("with_weights", {})
            return _merged(plain, changes) if with_weights else plain
    if name not in names():
        raise UsageError(f"no recipe {name!r}{nearest(name, names())}")
    for_others = sorted(stem.rsplit(f"-{name}", 1)[0] for stem in files if stem.endswith(f"-{name}"))
    raise UsageError(f"recipe {name!r} is made for {', '.join(for_others)}, not for {model}; use --recipe fast")


def header(name: str, model: str) -> str:
    """The comment at the top of a recipe's file: what it reaches, in what time, on what hardware."""
    files = _files()
    family = "inception" if model.startswith("inception") else model
    for stem in (f"{model}-{name}", f"{family}-{name}", f"default-{name}"):
        if stem in files:
            lines = []
            for line in files[stem].splitlines():
                if not line.startswith("#"):
                    break
                lines.append(line.removeprefix("#").strip())
            return " ".join(lines)
    return ""
