"""What determines a network's shape, as a value. Knows no torch: bundles and servers read it without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deeper.errors import UsageError, printable
from deeper.values import from_plain, to_plain


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Everything that `catalog.create` needs; two equal ones give state dicts of equal names and shapes.

    Raises: UsageError, for sizes below 1, fewer than 2 classes, or arguments that have no plain form.
    """

    model: str
    """A name of the catalog, or `package.module:Class`."""
    classes: int
    channels: int
    height: int
    """Of the network's input, in pixels."""
    width: int
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the network, in plain form (booleans, numbers, texts, lists and tables of them)."""

    def __post_init__(self) -> None:
        for name, smallest in (("classes", 2), ("channels", 1), ("height", 1), ("width", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
                raise UsageError(
                    f"{printable(self.model)}: {name} must be a whole number from {smallest}, got {value!r}"
                )
        try:
            # One form for tuples and lists, so that a value read back equals the one written.
            plain = to_plain(self.arguments)
        except TypeError as error:
            raise UsageError(
                f"{printable(self.model)}: arguments must be numbers, texts or lists of them; {error}"
            ) from None
        object.__setattr__(self, "arguments", plain)

    def to_plain(self) -> dict[str, Any]:
        """What JSON and TOML can hold."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_plain(cls, plain: Any, where: str = "architecture") -> Architecture:
        """Raises: UsageError, for unknown or missing fields and wrong types."""
        return from_plain(cls, plain, where)
