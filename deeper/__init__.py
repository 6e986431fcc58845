"""Train an Inception on your own pictures, find out why it errs, and ship it.

    deeper.build(deeper.open_source("flowers/"), "datasets/flowers")
    result = deeper.train("datasets/flowers", out="runs/first")
    deeper.evaluate("runs/first").accuracy
    deeper.Classifier("runs/first")("photo.jpg").label

Every public name is imported when it is first asked for: `import deeper` itself loads neither numpy nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "BuildOptions",
    "Classifier",
    "Dataset",
    "DeeperError",
    "Policy",
    "Prediction",
    "Preprocess",
    "Run",
    "SourceOptions",
    "__version__",
    "build",
    "compare",
    "evaluate",
    "open_source",
    "repair",
    "resume",
    "train",
    "verify",
]

# Public name → where it lives: a module, and its name there.
_HOMES = {
    "BuildOptions": ("records", "BuildOptions"),
    "Classifier": ("prediction", "Classifier"),
    "Dataset": ("records", "Dataset"),
    "DeeperError": ("errors", "DeeperError"),
    "Policy": ("distortions", "Policy"),
    "Prediction": ("prediction", "Prediction"),
    "Preprocess": ("images", "Preprocess"),
    "Run": ("runs", "Run"),
    "SourceOptions": ("records", "SourceOptions"),
    "build": ("records", "build"),
    "compare": ("runs", "compare_runs"),
    "evaluate": ("runs", "evaluate_run"),
    "open_source": ("records", "open_source"),
    "repair": ("records.repair", "repair"),
    "resume": ("runs", "resume"),
    "train": ("runs", "train"),
    "verify": ("records.verify", "verify"),
}

if TYPE_CHECKING:
    from deeper.distortions import Policy
    from deeper.errors import DeeperError
    from deeper.images import Preprocess
    from deeper.prediction import Classifier, Prediction
    from deeper.records import BuildOptions, Dataset, SourceOptions, open_source
    from deeper.records.build import build
    from deeper.records.repair import repair
    from deeper.records.verify import verify
    from deeper.runs import Run, resume, train
    from deeper.runs import compare_runs as compare
    from deeper.runs import evaluate_run as evaluate


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deeper' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(f"deeper.{module}"), attribute)
    globals()[name] = value  # looked up once
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
