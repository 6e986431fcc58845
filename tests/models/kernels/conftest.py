from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from deeper.models import kernels
from deeper.models.kernels import library


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    """What is drawn does not depend on the tests before."""
    torch.manual_seed(0)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernels switched on for one test."""
    monkeypatch.setattr(library, "_active", library._active)
    assert kernels.prepare() is None
    yield
