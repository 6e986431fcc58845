"""The bundle itself, run by torch."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import torch

from deeper import bundle
from deeper.bundle import Info
from deeper.inference import Predict, predictor
from deeper.training.precision import choose_device


def open_torch(path: Path, *, device: str, precision: str, model: str | None, batch: int) -> tuple[Info, Predict]:
    """Load the bundle at `path` onto a device. Raises: BundleError; UsageError."""
    _compute_alone_after_a_fork()
    chosen = choose_device(device)
    loaded = bundle.load(path, model=model, device=chosen)
    return loaded.info, predictor(loaded.model, loaded.info.preprocess, device=chosen, precision=precision, batch=batch)


@cache
def _compute_alone_after_a_fork() -> None:
    """Of torch's threads a forked process has none, and would wait for them for ever: there one thread computes, as in the
    workers of PyTorch's own loader."""
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
