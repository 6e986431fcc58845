"""THE path from a uint8 batch to logits and features. Training's evaluation and everything later go through it.

`Scores`, `Predict` and the softmax know no torch, so that engines without torch speak the same language; `Network`,
`Normalise` and `predictor`, which do, are imported when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deeper.inference.scores import BATCH, Predict, Scores, familiarity, log_softmax, softmax

if TYPE_CHECKING:
    from deeper.inference.network import Network, Normalise, check_device, evaluating, plain_fp32, predictor

__all__ = [
    "BATCH",
    "Network",
    "Normalise",
    "Predict",
    "Scores",
    "check_device",
    "evaluating",
    "familiarity",
    "log_softmax",
    "plain_fp32",
    "predictor",
    "softmax",
]

_NEED_TORCH = ("Network", "Normalise", "check_device", "evaluating", "plain_fp32", "predictor")


def __getattr__(name: str) -> Any:
    if name in _NEED_TORCH:
        return getattr(import_module("deeper.inference.network"), name)
    raise AttributeError(f"module 'deeper.inference' has no attribute {name!r}")
