"""Small sources on disk and in memory, and where the real data is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deeper.records.sources import Item, Listing


@pytest.fixture(scope="session")
def data() -> Path:
    folder = Path(os.environ.get("DEEPER_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (folder / "mnist").is_dir():
        pytest.skip(f"no data under {folder}: set DEEPER_DATA")
    return folder


def _listing(items: Sequence[Item], classes: Sequence[str] | None = None, name: str = "made") -> Listing:
    """A source of exactly these items."""
    names = tuple(classes) if classes is not None else tuple(sorted({item.label for item in items}))
    return Listing(
        name=name, description="made for a test", classes=names, list_items=lambda: items, identify=lambda: ""
    )


def _array_items(count: int, classes: int = 3, size: int = 8, prefix: str = "picture", seed: int = 0) -> list[Item]:
    """Grey pictures without split or group; class `c0`, `c1`, … in turn."""
    pictures = np.random.default_rng(seed).integers(0, 256, (count, size, size), np.uint8)
    return [
        Item(f"{prefix}:{number:04d}", f"c{number % classes}", None, None, None, picture)
        for number, picture in enumerate(pictures)
    ]


@pytest.fixture(scope="session")
def listing() -> Callable[..., Listing]:
    """listing(items, classes=…, name=…): a source of exactly these items."""
    return _listing


@pytest.fixture(scope="session")
def array_items() -> Callable[..., list[Item]]:
    """array_items(count, classes=3, size=8, prefix=…, seed=0): grey pictures."""
    return _array_items


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Item]:
    """Writes one picture to a file and yields its item."""

    def write(
        name: str, label: str = "a", *, mode: str = "RGB", size: tuple[int, int] = (9, 7), split: str | None = None
    ) -> Item:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(len(name)).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(noise).convert(mode).save(path)
        return Item(name, label, split, None, path, None)

    return write
