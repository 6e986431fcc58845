"""A small network that has really learned something, and bundles of it, for the tests of everything behind training."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from deeper import bundle
from deeper.images import Preprocess
from deeper.inference import Normalise
from deeper.models import Architecture, create
from deeper.records import open_source
from deeper.records.sources import Item

CLASSES = tuple("0123456789")
ARCHITECTURE = Architecture(
    model="nielsen",
    classes=10,
    channels=1,
    height=28,
    width=28,
    arguments={"first_filters": 6, "second_filters": 12, "hidden": 64},
)
PREPROCESS = Preprocess(height=28, width=28, channels=1, mean=(0.14,), deviation=(0.29,))


@functools.cache
def _items() -> list[Item]:
    return list(open_source("digits").items)


@functools.cache
def digits(split: str, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """uint8 N × 28 × 28 × 1 drawn digits and their labels, all classes alike."""
    items = [item for item in _items() if item.split == split][:count]
    images = np.stack([np.asarray(item.array).reshape(28, 28, 1) for item in items])
    return images, np.array([int(item.label) for item in items], np.int64)


@functools.cache
def _weights() -> dict[str, torch.Tensor]:
    images, labels = digits("train", 2000)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create(ARCHITECTURE)
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        pixels = Normalise(PREPROCESS)(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
        for epoch in range(6):
            order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(epoch))
            for rows in order.split(100):
                loss = F.cross_entropy(model(pixels[rows]).logits, torch.from_numpy(labels)[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return model.state_dict()


def network() -> nn.Module:
    """A fresh copy, in training mode, about 85 % right: there are errors to look at."""
    model = create(ARCHITECTURE)
    model.load_state_dict(_weights())
    return model


def write(path: Path, **changes: Any) -> Path:
    """Its bundle at `path`; `changes` are arguments of `bundle.save`."""
    given: dict[str, Any] = {
        "weights": _weights(),
        "architecture": ARCHITECTURE,
        "preprocess": PREPROCESS,
        "classes": CLASSES,
        "pictures": digits("train", 4)[0],
        "training": {"recipe": "fast", "step": 80, "seed": 0, "precision": "fp32"},
        "dataset": {"name": "digits", "hash": "0" * 64, "counts": {"train": 2000}},
    }
    bundle.save(path, **{**given, **changes})
    return path
