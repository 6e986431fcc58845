"""The bundle itself, run by torch."""

from __future__ import annotations

from pathlib import Path

from deeper import bundle
from deeper.bundle import Info
from deeper.inference import Predict, predictor
from deeper.training.precision import choose_device


def open_torch(path: Path, *, device: str, precision: str, model: str | None, batch: int) -> tuple[Info, Predict]:
    """Load the bundle at `path` onto a device. Raises: BundleError; UsageError."""
    chosen = choose_device(device)
    loaded = bundle.load(path, model=model, device=chosen)
    return loaded.info, predictor(loaded.model, loaded.info.preprocess, device=chosen, precision=precision, batch=batch)
