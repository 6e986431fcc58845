"""Recipes: named, shipped sets of options, one TOML file each, whose header says what it reaches and in what time.

A recipe's file is looked up as `MODEL-NAME.toml`, then as `FAMILY-NAME.toml` (every Inception but the small one belongs to the
family `inception`), then as `default-NAME.toml`, so that `--recipe fast` means the right thing for each network.

One's own is named by its path, which ends in `.toml`: it says what is to be other than in one of these.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from deeper.errors import UsageError, nearest, printable
from deeper.training.options import NOTHING

SUFFIX = ".toml"


def _files() -> dict[str, str]:
    folder = resources.files(__name__)
    return {
        entry.name.removesuffix(".toml"): entry.read_text(encoding="utf-8")
        for entry in folder.iterdir()
        if entry.name.endswith(".toml")
    }


def _stems(name: str, model: str) -> tuple[str, str, str]:
    """Where a recipe of this name is looked for."""
    # The small one is trained as other small networks are.
    family = "inception" if model.startswith(("inception_v", "inception_resnet")) else model
    return f"{model}-{name}", f"{family}-{name}", f"default-{name}"


def _merged(plain: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(plain)
    for name, value in changes.items():
        before = merged.get(name)
        merged[name] = _merged(before, value) if isinstance(value, dict) and isinstance(before, dict) else value
    return merged


def names() -> list[str]:
    """The recipes' names, whatever the network."""
    return sorted({stem.split("-", 1)[1] for stem in _files()})


def made_for(name: str, model: str) -> bool:
    """Whether there is a recipe of this name for `model`."""
    return not _files().keys().isdisjoint(_stems(name, model))


def load(name: str, model: str, *, with_weights: bool = False) -> dict[str, Any]:
    """A recipe's options for `model` as plain data, to be completed by flags and built by `values.from_plain`.

    `with_weights`: whether the run begins with weights that were trained before. What a recipe changes then stands in
    its table `with_weights`.

    Raises: UsageError, for a name that is no recipe, with the nearest one.
    """
    files = _files()
    for stem in _stems(name, model):
        if stem in files:
            plain = {**tomllib.loads(files[stem]), "recipe": name}
            changes = plain.pop("with_weights", {})
            return _merged(plain, changes) if with_weights else plain
    if name not in names():
        raise UsageError(f"no recipe {name!r}{nearest(name, names())}")
    for_others = sorted(stem.rsplit(f"-{name}", 1)[0] for stem in files if stem.endswith(f"-{name}"))
    raise UsageError(f"recipe {name!r} is made for {', '.join(for_others)}, not for {model}; use --recipe fast")


def own(path: Path) -> tuple[str | None, dict[str, Any]]:
    """Somebody's own recipe: the name of the one that it begins from (`recipe = "fast"` in the file; None where it names
    none), and what it changes, as dotted names of options to values.

    Raises: UsageError, for what is no such file.
    """
    shown = f"recipe {printable(path)}"
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        known = ", ".join(names())
        raise UsageError(f"{shown}: {error.strerror or error}; give a file, or one of {known}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{shown}: not UTF-8 text") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{shown}: not TOML ({printable(str(error), 100)})") from None
    if "format_version" in plain:
        raise UsageError(
            f"{shown}: the record of a run, no recipe; copy what you want of its [options] into a file of your own, without "
            "recipe, model and weights"
        )
    if path.stem in names():
        raise UsageError(f"{shown}: there is a recipe of that name already; call your file otherwise")
    base, without = plain.pop("recipe", None), plain.pop("without", [])
    if base is not None and base not in names():
        raise UsageError(f"{shown}: recipe = {printable(repr(base), 60)} is none of {', '.join(names())}")
    for wrong in ("model", "weights"):
        if wrong in plain:
            raise UsageError(f"{shown}: {wrong} is no part of a recipe; give it as --{wrong}")
    if "with_weights" in plain:
        raise UsageError(f"{shown}: with_weights is for shipped recipes; write a second file for that")
    if not isinstance(without, list) or not all(isinstance(one, str) for one in without):
        raise UsageError(f'{shown}: without must be a list of options, as in without = ["averaging"]')
    changes: dict[str, Any] = dict.fromkeys(without, NOTHING)
    for name, value in plain.items():
        if value == {}:
            called = printable(name, 40)
            raise UsageError(f'{shown}: {called} is an empty table; to take it away: without = ["{called}"]')
        changes |= {f"{name}.{part}": one for part, one in value.items()} if isinstance(value, dict) else {name: value}
    return base, changes


def header(name: str, model: str) -> str:
    """The comment at the top of a recipe's file: what it reaches, in what time, on what hardware."""
    files = _files()
    for stem in _stems(name, model):
        if stem in files:
            lines = []
            for line in files[stem].splitlines():
                if not line.startswith("#"):
                    break
                lines.append(line.removeprefix("#").strip())
            return " ".join(lines)
    return ""
