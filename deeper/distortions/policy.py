"""The class-conditional policy: which distortions must leave which classes alone. Stored as `policy.toml`:

[classes."2"]
never = ["horizontal_flip"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from deeper import files
from deeper.errors import UsageError, nearest, printable
from deeper.values import from_plain, to_plain


@dataclass(frozen=True, kw_only=True)
class ClassRule:
    """`never`: names of distortions that are not applied to pictures of this class."""

    never: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Rules by class name; a class without one is distorted as the recipe says."""

    classes: Mapping[str, ClassRule] = field(default_factory=dict)
    """Class name → what is kept from its pictures."""

    @staticmethod
    def load(path: str | Path) -> Policy:
        """Read a `policy.toml`. Raises: UsageError."""
        try:
            plain = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise UsageError(
                f"the policy {printable(path)} cannot be read ({error.strerror}); give a policy.toml"
            ) from None
        except ValueError as error:
            raise UsageError(f"the policy {printable(path)} is no TOML ({printable(error)})") from None
        return Policy.from_plain(plain, f"policy {printable(path)}")

    @staticmethod
    def from_plain(plain: Any, where: str = "policy") -> Policy:
        """Build from plain data. Raises: UsageError."""
        return from_plain(Policy, plain, where)

    def to_plain(self) -> dict[str, Any]:
        """For TOML and JSON."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    def save(self, path: str | Path) -> None:
        """Write a `policy.toml` atomically."""
        files.write_text(path, tomli_w.dumps(self.to_plain()))

    def check(self, classes: Sequence[str], distortions: Sequence[str]) -> None:
        """Raises: UsageError, for a class or distortion that does not exist, with the nearest."""
        for name, rule in self.classes.items():
            if name not in classes:
                raise UsageError(f"the policy speaks of a class {printable(name)!r}{nearest(name, classes)}")
            for distortion in rule.never:
                if distortion not in distortions:
                    raise UsageError(
                        f"the policy speaks of a distortion {printable(distortion)!r}{nearest(distortion, distortions)}"
                    )

    def allows(self, distortion: str, classes: Sequence[str]) -> NDArray[np.bool_]:
        """Whether pictures of each class may be distorted so. Shape: K, in the order of `classes`."""
        rules = (self.classes.get(name) for name in classes)
        return np.array([rule is None or distortion not in rule.never for rule in rules], dtype=np.bool_)
