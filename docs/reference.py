"""The reference from the code: the public names with their signatures, and the types that they return.

A signature is what Python itself would tell (`inspect.signature`), written as a person would write it. The text below
it is the docstring: of public names through mkdocstrings, of result types as a list of fields.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

from deeper import errors
from deeper.cli.flags import field_docstrings

# What returns them → where the types are written, and their names: the outermost first, then its parts.
RESULTS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "open_source": (("records.sources.listing", ("Listing",)),),
    "build": (("records", ("BuildReport",)),),
    "verify": (("records.verify", ("VerifyReport", "Problem")),),
    "repair": (("records.repair", ("RepairReport",)),),
    "audit": (("audit.result", ("Audit", "Finding", "Excess", "Example", "JudgeFacts")),),
    "find_rate": (("runs.rates", ("FoundRate",)), ("training.rates", ("RateSearch",))),
    "train": (("runs.result", ("Result",)),),
    "evaluate": (
        ("evaluation", ("Evaluation",)),
        ("evaluation.evaluation", ("ClassResult", "Mistake")),
        ("evaluation.calibration", ("Bin",)),
    ),
    "compare": (("evaluation.comparison", ("Comparison", "Pair")),),
    "inspect": (
        (
            "inspection.result",
            (
                *("Inspection", "Evidence", "Pair", "Collision", "Placebo", "Cause"),
                *("Wrong", "Slice", "Against", "JudgeFacts"),
            ),
        ),
    ),
    "learn_curve": (
        ("runs.learning_curve", ("LearningCurve", "Point")),
        ("evaluation.extrapolation", ("Extrapolation", "Reach")),
    ),
    "load_weights": (("models.weights.loading", ("LoadedWeights",)),),
    "Classifier": (("prediction.answers", ("Failed",)),),
    "Dataset": (("records.dataset", ("Split",)),),
    "Run": (("runs.folder", ("Loaded",)),),
    # No public names, but the guide uses them.
    "inspection.labels.find_doubts": (("inspection.suspects", ("Doubts", "Suspect", "Neighbour")),),
    "training.events": (("training.events", ("StepDone", "EpochDone")),),
}
# Sections of the page of types that a name alone does not explain.
_TITLES = {
    "inspection.labels.find_doubts": "`from deeper.inspection.labels import find_doubts`",
    "train": "`deeper.train` and `deeper.resume`",
    "Classifier": "`deeper.Classifier`, where a picture cannot be read",
    "Dataset": "`deeper.Dataset.split`",
    "Run": "`deeper.Run.load`",
    "training.events": "Events, for `handlers` of `deeper.train`",
}
# Functions whose result stands on another one's place.
_SAME = {"resume": "train"}
# What a signature shows on one line; longer ones get a line per parameter.
_WIDEST = 88


def reference() -> str:
    """The API reference: of every public name its signature and what its docstring says."""
    import deeper

    lines = ["# API reference", "", "All of it is `import deeper`; nothing heavy is loaded before it is used.", ""]
    lines += ["What the functions return is on a page of its own: [result types](types.md).", ""]
    for name in deeper.__all__:
        if name == "__version__":
            lines += [f"## {name} {{ #version }}", "", f"The version, a string: `{deeper.__version__}`.", ""]
            continue
        value = getattr(deeper, name)
        lines += [f"## {name} {{ #{name.lower()} }}", ""]
        if not (inspect.isclass(value) and issubclass(value, Exception)):
            lines += [f"```python\n{signature(f'deeper.{name}', value)}\n```", ""]
        if not inspect.isclass(value):
            owner = _SAME.get(name, name)
            ((_, (outermost, *_)), *_) = RESULTS[owner]
            lines += [f"Returns [`{outermost}`](types.md#{_anchor(owner, outermost)}).", ""]
        lines += [f"::: {value.__module__}.{value.__qualname__}", ""]
    return "\n".join([*lines, *errors_section()])


def errors_section() -> list[str]:
    """Every error that is raised on purpose, with what the command line exits with."""
    kinds = [one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, errors.DeeperError)]
    rows = [f"| `{one.__name__}` | {paragraph(inspect.getdoc(one) or '')} | {one.exit_code} |" for one in kinds]
    return [
        *(
            "## Errors",
            "",
            f"`from deeper.errors import {kinds[1].__name__}`; every one is a `{kinds[0].__name__}`.",
            "",
        ),
        *("| error | when | exit code |", "|---|---|---|", *rows, ""),
    ]


def result_types() -> str:
    """What the public functions return, field by field."""
    lines = [
        "# Result types",
        "",
        "What the functions of the [API](api.md) return, field by field. Shares are 0..1; intervals (low, high), 95 %.",
        "",
    ]
    for function, places in RESULTS.items():
        title = _TITLES.get(function, f"`deeper.{function}`")
        lines += [f"## {title} {{ #of-{_anchor(function)} }}", ""]
        for module, names in places:
            for name in names:
                value = getattr(import_module(f"deeper.{module}"), name)
                lines += [f"### {name} {{ #{_anchor(function, name)} }}", "", *_described(value), ""]
    return "\n".join(lines)


def _anchor(function: str, name: str = "") -> str:
    """Two functions may have parts of one name: `Pair` of compare and of inspect."""
    return "-".join([*function.split(".")[-1:], *([name] if name else [])]).lower()


def signature(name: str, value: Callable[..., Any]) -> str:
    """`name(parameters) → type` as one would write it: on one line, or with a line for each parameter."""
    found = inspect.signature(value)
    parts: list[str] = []
    named_only = False
    for one in found.parameters.values():
        if one.name == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and not named_only:
            named_only = True
            parts.append("*")
        shown = one.name + (f": {_annotation(one.annotation)}" if one.annotation is not one.empty else "")
        if one.default is not one.empty:
            shown += f" = {_default(one.default)}"
        parts.append(shown)
    gives = "" if inspect.isclass(value) else f" -> {_annotation(found.return_annotation)}"
    line = f"{name}({', '.join(parts)}){gives}"
    return line if len(line) <= _WIDEST else f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){gives}"


def _annotation(given: Any) -> str:
    text = given if isinstance(given, str) else inspect.formatannotation(given)
    return text.strip("'").replace("collections.abc.", "").replace("typing.", "")


def _default(value: Any) -> str:
    """A value as in the source; options that are all at their defaults as `Options()`."""
    if repr(value) == "<factory>":
        return "…"
    if dataclasses.is_dataclass(value) and value == type(value)():
        return f"{type(value).__name__}()"
    return repr(value)


# --- types ---------------------------------------------------------------------------------------------------------


def _described(value: type[Any]) -> list[str]:
    """A type's docstring, then a list of its fields, properties and methods with theirs."""
    lines = [f"`{value.__module__}.{value.__qualname__}`", ""]
    doc = inspect.getdoc(value) or ""
    if not doc.startswith(f"{value.__name__}("):  # what dataclasses write where nobody did
        lines += [paragraph(doc), ""]
    return [*lines, *members(value)]


def members(value: type[Any]) -> list[str]:
    """The fields, properties and methods of a type, one item each; being called is one of them."""
    lines = []
    helps = field_docstrings(value)
    for name, kind in inspect.get_annotations(value).items():
        if not name.startswith("_"):
            lines.append(_item(f"{name}: {_annotation(kind)}", helps.get(name, "")))
    for name, member in vars(value).items():
        if name.startswith("_") and name != "__call__":
            continue
        if isinstance(member, (property, functools.cached_property)):
            function = member.fget if isinstance(member, property) else member.func
            gives = _annotation(inspect.signature(function).return_annotation)
            lines.append(_item(f"{name}: {gives}", inspect.getdoc(function) or ""))
        elif inspect.isfunction(function := getattr(member, "__func__", member)):
            lines.append(_item(signature(name, function), inspect.getdoc(function) or ""))
    return lines


def _item(name: str, text: str) -> str:
    said = " ".join(paragraph(text).split())
    line = " ".join(name.split()).replace("( ", "(").replace(", )", ")")
    return f"- `{line}`" + (f": {said}" if said else "")


def paragraph(text: str) -> str:
    """A docstring as Markdown; a document that it names becomes a link."""
    return re.sub(r"`?docs/([\w-]+)\.md`?", r"[\1](\1.md)", escaped(inspect.cleandoc(text)))


def escaped(text: str) -> str:
    """Text of a docstring as Markdown: what is between backticks stays, the rest means nothing but itself, save `**bold**`."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else re.sub(r"((?<!\*)\*(?!\*)|[_<>\[\]{}|])", r"\\\1", part) for part in parts
    )
