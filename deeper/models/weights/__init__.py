"""Other people's weights: read without running anything of theirs, recognised, and put under our names.

reading    a file → tensors by their own names (torch, safetensors, Keras' HDF5, TF-Slim's checkpoints, archives)
recognise  which network they are of, and whose names they bear
*_names    their names → ours
fitting    into a network of another head or another number of channels, every weight accounted for
named      the published weights that have a name here
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeper.models.weights.fitting import Fitted, fit
    from deeper.models.weights.foreign import Weights, open_weights
    from deeper.models.weights.keras_names import from_keras_arrays
    from deeper.models.weights.look import Look
    from deeper.models.weights.named import NAMED
    from deeper.models.weights.torch_names import translate

__all__ = ["NAMED", "Fitted", "Look", "Weights", "fit", "from_keras_arrays", "open_weights", "translate"]

_HOMES = {
    "NAMED": "named",
    "Fitted": "fitting",
    "Look": "look",
    "Weights": "foreign",
    "fit": "fitting",
    "from_keras_arrays": "keras_names",
    "open_weights": "foreign",
    "translate": "torch_names",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"deeper.models.weights.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'deeper.models.weights' has no attribute {name!r}")
