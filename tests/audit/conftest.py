"""Letters that truly turn into each other when they are mirrored, and a judge that is quick to train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from deeper import draws
from deeper.audit.options import JudgeOptions
from deeper.records import BuildOptions, Dataset, build, open_source
from deeper.records.sources.drawing import draw_glyphs

# Mirrored left to right b and d, p and q change places, upside down b and p, d and q, n and u; o and x stay themselves.
LETTERS = ("b", "d", "n", "o", "p", "q", "u", "x")
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "cmss10")


def draw_letters(count: int, target: Path, letters: Sequence[str] = LETTERS) -> Dataset:
    """`count` training pictures of each letter as a dataset, and a tenth as many to validate."""
    arrays = {}
    for split, each in (("train", count), ("validation", max(2, count // 10))):
        which = np.arange(each * len(letters), dtype=np.int64) % len(letters)
        keys = draws.keys(f"letters/{split}/{number}" for number in range(len(which)))
        arrays[split] = (draw_glyphs(letters, which, keys, fonts=FONTS), [letters[one] for one in which])
    build(open_source(arrays), target, options=BuildOptions(workers=1, test=0))
    return Dataset(target)


@pytest.fixture(scope="session")
def quick() -> JudgeOptions:
    return JudgeOptions(folds=2, epochs=10)


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return draw_letters(200, tmp_path_factory.mktemp("letters") / "letters")
