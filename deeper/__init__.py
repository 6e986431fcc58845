"""Train an Inception on your own pictures, find out why it errs, and ship it.

    deeper.build("flowers/", "datasets/flowers")
    result = deeper.train("datasets/flowers", out="runs/first")
    deeper.evaluate("runs/first").accuracy
    deeper.Classifier("runs/first")("photo.jpg").label

Every public name is imported when it is first asked for: `import deeper` itself loads neither numpy nor torch.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

# Threads that wait for each other go to sleep soon instead of spinning. Beside another busy process a spinning thread
# keeps the one it waits for from running: training fell to a tenth. Alone on the machine it costs nothing that could be
# measured (`benchmarks/shared_processor.py`). libgomp reads this once, when torch is loaded; what the user set stays.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

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
    "audit",
    "build",
    "compare",
    "evaluate",
    "find_rate",
    "inspect",
    "learn_curve",
    "load_weights",
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
    "audit": ("runs.auditing", "audit"),
    "build": ("records", "build"),
    "compare": ("runs", "compare_runs"),
    "evaluate": ("runs", "evaluate_run"),
    "find_rate": ("runs", "find_rate"),
    "learn_curve": ("runs", "learn_curve"),
    "inspect": ("inspection", "inspect"),
    "load_weights": ("models.weights.loading", "load_weights"),
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
    from deeper.inspection import inspect
    from deeper.models.weights.loading import load_weights
    from deeper.prediction import Classifier, Prediction
    from deeper.records import BuildOptions, Dataset, SourceOptions, build, open_source
    from deeper.records.repair import repair
    from deeper.records.verify import verify
    from deeper.runs import Run, find_rate, learn_curve, resume, train
    from deeper.runs import compare_runs as compare
    from deeper.runs import evaluate_run as evaluate
    from deeper.runs.auditing import audit


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deeper' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(import_module(f"deeper.{module}"), attribute)
    globals()[name] = value  # looked up once
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps public functions from being hidden by rooms of the same name: importing `deeper.audit.judge` anywhere would
    otherwise make `deeper.audit` the room. The rooms are reached by `from deeper.audit.judge import …`."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
