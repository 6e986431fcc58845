"""Dataclasses to plain data and back: round trips, and refusals that say where and what."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from deeper.errors import UsageError
from deeper.values import from_plain, to_plain


@dataclass(frozen=True, kw_only=True)
class Sgd:
    name: ClassVar[str] = "sgd"
    rate: float = 0.1
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise UsageError(f"rate is {self.rate:g}; wanted above 0")


@dataclass(frozen=True, kw_only=True)
class AdamW:
    name: ClassVar[str] = "adamw"
    rate: float = 0.001


@dataclass(frozen=True, kw_only=True)
class Part:
    name: str  # a field, no tag
    count: int


@dataclass(frozen=True, kw_only=True)
class Everything:
    flag: bool
    count: int
    share: float
    text: str
    mode: Literal["crop", "squash", 3] = "crop"
    optimizer: Sgd | AdamW = Sgd()
    maybe: int | None = None
    unless: int | None = 5
    only: Part | None = None
    needed: str | None
    pair: tuple[int, str] = (0, "")
    many: tuple[float, ...] = ()
    several: tuple[Sgd | AdamW, ...] = ()
    listed: list[int] = field(default_factory=list)
    sequence: Sequence[str] = ()
    table: Mapping[str, int] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    anything: Any = None
    either: int | str = 0


FULL: dict[str, Any] = {"flag": True, "count": 1, "share": 0.5, "text": "ü"}

finite = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**62), 2**62)
words = st.text(st.characters(exclude_categories=["Cs"]))
optimizers = st.one_of(st.builds(Sgd, rate=st.floats(0.001, 10), momentum=finite), st.builds(AdamW, rate=finite))
parts = st.builds(Part, name=words, count=integers)
everything = st.builds(
    Everything,
    flag=st.booleans(),
    count=integers,
    share=finite,
    text=words,
    mode=st.sampled_from(["crop", "squash", 3]),
    optimizer=optimizers,
    maybe=st.none() | integers,
    only=st.none() | parts,
    needed=st.none() | words,
    pair=st.tuples(integers, words),
    many=st.lists(finite).map(tuple),
    several=st.lists(optimizers, max_size=3).map(tuple),
    listed=st.lists(integers),
    sequence=st.lists(words).map(tuple),
    table=st.dictionaries(words, integers),
    parts=st.dictionaries(words, parts, max_size=3),
    anything=st.integers() | words,
    either=integers | words,
)


@given(everything)
def test_there_and_back_through_json_and_toml(value: Everything) -> None:
    plain = to_plain(value)
    assert from_plain(Everything, json.loads(json.dumps(plain, allow_nan=False))) == value
    assert from_plain(Everything, tomllib.loads(tomli_w.dumps(plain))) == value


def test_none_comes_back_as_none_also_where_it_is_not_the_default() -> None:
    value = Everything(flag=True, count=1, share=0.5, text="", needed=None, unless=None)
    assert from_plain(Everything, json.loads(json.dumps(to_plain(value)))) == value


def test_the_plain_form() -> None:
    value = Everything(**FULL, needed=None, several=(AdamW(), Sgd()))
    plain = to_plain(value)
    assert list(plain)[:4] == ["flag", "count", "share", "text"]
    assert plain["several"] == [{"name": "adamw", "rate": 0.001}, {"name": "sgd", "rate": 0.1, "momentum": 0.9}]
    assert list(plain["several"][0]) == ["name", "rate"]
    assert "maybe" not in plain and "needed" not in plain
    assert to_plain(Part(name="x", count=1)) == {"name": "x", "count": 1}
    with pytest.raises(TypeError, match="object has no plain form"):
        to_plain([object()])
    with pytest.raises(TypeError, match="type has no plain form"):
        to_plain(Sgd)


def test_a_whole_number_serves_as_a_float_and_defaults_fill() -> None:
    value = from_plain(Everything, {**FULL, "share": 1})
    assert type(value.share) is float
    assert value == Everything(**{**FULL, "share": 1.0}, needed=None)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"cuont": 2}, "here: no option 'cuont'; did you mean 'count'?"),
        ({"zzz\n": 2}, r"here: no option 'zzz\\n'; known: flag, "),
        ({"count": 1.0}, r"here.count: wanted int, got 1.0"),
        ({"count": True}, r"here.count: wanted int, got True"),
        ({"count": "1"}, r"here.count: wanted int, got '1'"),
        ({"flag": 1}, r"here.flag: wanted bool, got 1"),
        ({"share": "0.5"}, r"here.share: wanted float, got '0.5'"),
        ({"share": float("nan")}, r"here.share: wanted float, got nan"),
        ({"share": 10**400}, r"here.share: 1000+…0+ is too large"),
        ({"text": None}, r"here.text: wanted str, got None"),
        ({"mode": "corp"}, r"here.mode: 'corp' is no choice; did you mean 'crop'\?"),
        ({"mode": 3.0}, r"here.mode: 3.0 is no choice"),
        ({"mode": ["crop"]}, r"here.mode: \['crop'\] is no choice"),
        ({"optimizer": {"name": "adam"}}, r"here.optimizer: no 'adam'; did you mean 'adamw'\?"),
        ({"optimizer": {"rate": 0.1}}, r"here.optimizer: 'name' is missing; known: sgd, adamw"),
        ({"optimizer": {"name": "adamw", "momentum": 1.0}}, r"here.optimizer: no option 'momentum'; known: rate"),
        ({"optimizer": {"name": "sgd", "rate": -1}}, r"here.optimizer: rate is -1; wanted above 0"),
        ({"optimizer": "sgd"}, r"here.optimizer: wanted a table whose name is one of sgd, adamw, got 'sgd'"),
        ({"maybe": "x"}, r"here.maybe: wanted int, got 'x'"),
        ({"only": {"name": "x"}}, r"here.only: 'count' is missing in Part"),
        ({"pair": [1]}, r"here.pair: wanted 2 values, got 1"),
        ({"pair": [1, 2]}, r"here.pair\[1\]: wanted str, got 2"),
        ({"many": 1.0}, r"here.many: wanted a list, got 1.0"),
        ({"many": "12"}, r"here.many: wanted a list, got '12'"),
        ({"many": [1, "x"]}, r"here.many\[1\]: wanted float, got 'x'"),
        ({"several": [{"name": "sgd"}, {"name": "x"}]}, r"here.several\[1\]: no 'x'; known: sgd, adamw"),
        ({"table": [1]}, r"here.table: wanted a table, got \[1\]"),
        ({"table": {"\n" * 100: "b"}}, r"here.table.(\\n)+\\…n(\\n)+: wanted int, got 'b'"),
        ({"table": {"a": "b"}}, r"here.table.a: wanted int, got 'b'"),
        ({"parts": {"a": {}}}, r"here.parts.a: 'name' is missing in Part"),
        ({"either": 1.5}, r"here.either: wanted str, got 1.5"),
    ],
)
def test_refusals(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}") as caught:
        from_plain(Everything, {**FULL, **change}, "here")
    assert "\n" not in str(caught.value)


def test_a_required_field_that_is_missing() -> None:
    with pytest.raises(UsageError, match="^'?.*'text' is missing in Everything"):
        from_plain(Everything, {key: value for key, value in FULL.items() if key != "text"})
    with pytest.raises(UsageError, match="wanted a table for Everything, got 7"):
        from_plain(Everything, 7, "here")


def test_another_tag_is_refused() -> None:
    assert from_plain(Sgd, {"name": "sgd", "rate": 1.0}) == Sgd(rate=1.0)
    with pytest.raises(UsageError, match="wanted 'sgd', got 'adamw'"):
        from_plain(Sgd, {"name": "adamw"}, "here")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(Everything.__dataclass_fields__)), json_values))
def test_whatever_stands_in_a_file_is_built_or_refused(changes: dict[str, Any]) -> None:
    try:
        built = from_plain(Everything, {**FULL, **changes}, "here")
    except UsageError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(built, Everything)
