"""A small dataset with suspects and neighbours, whose class names mean harm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deeper.inspection.suspects import Doubts, Neighbour, Suspect
from deeper.records import BuildOptions, Dataset, build, open_source

NAMES = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=document.title='owned'>",
    "daisy",
    "rose",
    *(f"plant {number}" for number in range(8)),
)


def make(folder: Path, names: tuple[str, ...] = NAMES, count: int = 6) -> Dataset:
    """A dataset at `folder`, and `labels/suspects.csv` in it: `count` training pictures, each with four neighbours."""
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (len(names) * 6, 20, 20, 3), np.uint8)
    labels = [names[number % len(names)] for number in range(len(pictures))]
    build(open_source((pictures, labels)), folder, options=BuildOptions(workers=1, validation=0, test=0.2))
    dataset = Dataset(folder)
    split = dataset.split("train")
    suspects = []
    for number in range(count):
        given = dataset.classes[split.labels[number]]
        suggested = next(name for name in dataset.classes if name != given)
        near = [
            Neighbour(
                id=split.ids[count + place],
                split="train",
                label=dataset.classes[split.labels[count + place]],
                distance=0.1 * place,
            )
            for place in range(4)
        ]
        suspects.append(
            Suspect(
                id=split.ids[number],
                split="train",
                given=given,
                suggested=suggested,
                confidence=0.9,
                reasons=("label",),
                detail=f"read as {suggested} with 90.0%",
                neighbours=tuple(near),
            )
        )
    doubts = Doubts(
        source=str(folder),
        dataset_hash=dataset.info.hash,
        pictures=len(pictures),
        judge="by hand",
        judge_accuracy=1.0,
        weak=False,
        suspects=tuple(suspects),
    )
    doubts.write(folder / "labels")
    return dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make(tmp_path / "mine")
