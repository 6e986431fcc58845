from __future__ import annotations

from collections.abc import Iterator

import pytest

from deeper.models import kernels
from deeper.models.kernels import library


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernels switched on for one test."""
    monkeypatch.setattr(library, "_active", library._active)
    assert kernels.prepare() is None
    yield
