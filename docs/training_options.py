"""The page of training options: every field of `Options` and of what stands in it, from their types and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
import json
import typing
from pathlib import Path
from typing import Any

from reference import paragraph

from deeper.cli.flags import field_docstrings

_OPENING = """\
# Options of a training

What a recipe sets and a run's `config.toml` stores under `[options]`. The most used have a flag of their own (`deeper train --help`); all but `model` and `recipe` are set by their names, `deeper train … --set label_smoothing=0.1 --set optimizer.weight_decay=0.05`, and from Python by `deeper.train(…, options={{"label_smoothing": 0.1}})`. `--set NAME=null` takes away what the recipe sets. [A recipe of your own](how-to/own-recipe.md) keeps them in a file.

The defaults here are what holds where a recipe says nothing; `null` is what the texts, as Python does, call None. What the recipes say, and why, stands in their files: {recipes}.

Another optimizer or schedule than the recipe's is taken by its name, and begins from its own defaults: `--set schedule=cosine --set schedule.floor=0.1`. Distortions have flags: [`--distort`](verbs/train.md#recipes-and-distortions)."""
RECIPES = Path(__file__).resolve().parents[1] / "deeper" / "training" / "recipes"
# Options whose value is a table, or a list of tables.
_TABLES = ("averaging", "fine_tuning", "stages", "optimizer", "schedule")


def training_options() -> str:
    """All options with default and meaning; then those of the tables among them."""
    from deeper.training.options import Options

    names = sorted(path.stem for path in RECIPES.glob("*.toml"))
    links = " · ".join(f"[{name}](../deeper/training/recipes/{name}.toml)" for name in names)
    lines = [_OPENING.format(recipes=links), "", *_fields(Options), ""]
    types = typing.get_type_hints(Options)
    for name in _TABLES:
        lines += [f"## {name}", ""]
        for kind in _kinds(types[name]):
            called = getattr(kind, "name", None)
            lines += [f"### {called}", ""] if called else []
            lines += [paragraph(inspect.getdoc(kind) or ""), "", *_fields(kind), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _kinds(given: Any) -> list[type[Any]]:
    """The dataclasses that a type may be: of `tuple[Stage, ...]` Stage, of a union each, None left out."""
    if dataclasses.is_dataclass(given):
        return [given] if isinstance(given, type) else []
    return [kind for part in typing.get_args(given) for kind in _kinds(part)]


def _fields(kind: type[Any]) -> list[str]:
    """Name, default and meaning of each field, as a list."""
    helps, lines = field_docstrings(kind), []
    for field in dataclasses.fields(kind):
        default = field.default
        if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if dataclasses.is_dataclass(default):
            shown = getattr(default, "name", "all at their defaults")
        else:
            shown = "none" if default in ((), {}) else json.dumps(default)
        said = " ".join(paragraph(helps.get(field.name, "")).split())
        of = f" ([below](#{field.name}))" if kind.__name__ == "Options" and field.name in _TABLES else ""
        lines.append(f"- **`{field.name}`** (default {shown}){': ' + said if said else ''}{of}")
    return lines
