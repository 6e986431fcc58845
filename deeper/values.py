"""Frozen dataclasses ↔ plain data (what JSON and TOML can hold), with checks on the way in.

One codec serves recipes, `config.toml`, `policy.toml`, `dataset.json` and `bundle.json`. A field whose type is
a union of dataclasses is told apart by the `name` class variable of each member:
`{"name": "adamw", "rate": 0.002}`. Unknown names, missing fields and wrong types are refused in one line that
says where, what was given and what was wanted. Nothing but the declared types can ever be built.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeGuard, TypeVar, Union, get_args, get_origin, get_type_hints

from deeper.errors import UsageError, nearest, printable

Value = TypeVar("Value")


def to_plain(value: Any) -> Any:
    """Dataclasses to dicts (with `name` first where the class has one), tuples to lists.

    `None` fields are left out, for TOML has no null; unless that would bring another default back.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        plain: dict[str, Any] = {}
        name = _tag(type(value))
        if name is not None:
            plain["name"] = name
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if item is not None or field.default not in (None, dataclasses.MISSING):
                plain[field.name] = to_plain(item)
        return plain
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a {type(value).__name__} has no plain form")


def from_plain(cls: type[Value], plain: Any, where: str = "") -> Value:
    """Build a `cls` from plain data. `where` names the place in messages, for example `recipe 'fast'`.

    Raises: UsageError, for unknown or missing fields, wrong types, or what `__post_init__` refuses.
    """
    return typing.cast(Value, _build(cls, plain, where))


def _is_dataclass(annotation: Any) -> TypeGuard[type]:
    return isinstance(annotation, type) and dataclasses.is_dataclass(annotation)


def _tag(cls: type) -> str | None:
    name = getattr(cls, "name", None)
    is_field = any(field.name == "name" for field in dataclasses.fields(cls))
    return name if isinstance(name, str) and not is_field else None


def _build(annotation: Any, plain: Any, where: str) -> Any:
    origin = get_origin(annotation)
    if annotation is Any:
        return plain
    if origin is Literal:
        choices = get_args(annotation)
        # 1 == True == 1.0 in Python, not in a recipe.
        if any(type(plain) is type(choice) and plain == choice for choice in choices):
            return plain
        raise UsageError(
            f"{where}: {printable(repr(plain), 60)} is no choice{nearest(str(plain), [str(c) for c in choices])}"
        )
    if origin in (Union, types.UnionType):
        return _build_union(get_args(annotation), plain, where)
    if _is_dataclass(annotation):
        return _build_dataclass(annotation, plain, where)
    if origin in (tuple, list, Sequence):
        return _build_sequence(annotation, plain, where)
    if origin in (dict, Mapping):
        if not isinstance(plain, Mapping):
            raise UsageError(f"{where}: wanted a table, got {printable(repr(plain), 60)}")
        _, item = get_args(annotation)
        return {str(key): _build(item, value, f"{where}.{printable(key, 60)}") for key, value in plain.items()}
    if annotation is float and isinstance(plain, int) and not isinstance(plain, bool):
        try:
            return float(plain)
        except OverflowError:
            raise UsageError(f"{where}: {printable(plain, 60)} is too large for a number with a fraction") from None
    if annotation in (bool, int, float, str):
        exact = type(plain) is annotation
        if exact and not (annotation is float and math.isnan(plain)):
            return plain
        raise UsageError(f"{where}: wanted {annotation.__name__}, got {printable(repr(plain), 60)}")
    if annotation is type(None) and plain is None:
        return None
    raise UsageError(f"{where}: wanted {annotation}, got {printable(repr(plain), 60)}")


def _build_union(members: tuple[Any, ...], plain: Any, where: str) -> Any:
    if plain is None and type(None) in members:
        return None
    tagged = {tag: member for member in members if _is_dataclass(member) and (tag := _tag(member)) is not None}
    if tagged and isinstance(plain, Mapping) and "name" in plain:
        given = str(plain["name"])
        if given not in tagged:
            raise UsageError(f"{where}: no '{printable(given, 60)}'{nearest(given, tagged)}")
        return _build_dataclass(tagged[given], plain, where)
    if len(tagged) > 1 and isinstance(plain, Mapping):
        # Without its name it could be built as the first member that happens to have these fields.
        raise UsageError(f"{where}: 'name' is missing; known: {', '.join(tagged)}")
    if len(tagged) > 1 and len(tagged) == sum(member is not type(None) for member in members):
        # What the last of them has to say of it would mislead.
        raise UsageError(
            f"{where}: wanted a table whose name is one of {', '.join(tagged)}, got {printable(repr(plain), 60)}"
        )
    failures = []
    for member in members:
        if member is type(None):
            continue
        try:
            return _build(member, plain, where)
        except UsageError as error:
            failures.append(error)
    raise failures[-1]


def _build_sequence(annotation: Any, plain: Any, where: str) -> Any:
    if not isinstance(plain, (list, tuple)):
        raise UsageError(f"{where}: wanted a list, got {printable(repr(plain), 60)}")
    arguments = get_args(annotation)
    if get_origin(annotation) is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        if len(arguments) != len(plain):
            raise UsageError(f"{where}: wanted {len(arguments)} values, got {len(plain)}")
        return tuple(_build(item, value, f"{where}[{i}]") for i, (item, value) in enumerate(zip(arguments, plain)))
    built = [_build(arguments[0], value, f"{where}[{i}]") for i, value in enumerate(plain)]
    return built if get_origin(annotation) is list else tuple(built)


def _build_dataclass(cls: type, plain: Any, where: str) -> Any:
    if not isinstance(plain, Mapping):
        raise UsageError(f"{where}: wanted a table for {cls.__name__}, got {printable(repr(plain), 60)}")
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    tag = _tag(cls)
    arguments: dict[str, Any] = {}
    for key, value in plain.items():
        if key == "name" and tag is not None:
            if value != tag:
                raise UsageError(f"{where}: wanted {tag!r}, got {printable(repr(value), 60)}")
            continue
        if key not in fields:
            raise UsageError(f"{where}: no option '{printable(key, 60)}'{nearest(str(key), fields)}")
        arguments[key] = _build(hints[key], value, f"{where}.{key}" if where else str(key))
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if name not in arguments and required:
            if type(None) in get_args(hints[name]):
                arguments[name] = None
                continue
            raise UsageError(f"{where}: {name!r} is missing in {cls.__name__}")
    try:
        return cls(**arguments)
    except UsageError as error:
        raise UsageError(f"{where}: {error}" if where else str(error)) from None
