"""A trained network for other programs: ONNX, OpenVINO (also int8), `torch.export`, TensorFlow's SavedModel.

Each export stands for itself in a folder (`engines.artefact`), takes uint8 pictures at the model's size, N × H × W × C,
and gives logits and features; normalisation is inside the graph. Each is compared with the bundle at once and refused if
it disagrees.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeper.export.exporting import FORMATS, Exported, export
    from deeper.export.report import Row, measure

__all__ = ["FORMATS", "Exported", "Row", "export", "measure"]

_HOMES = {"FORMATS": "exporting", "Exported": "exporting", "export": "exporting", "Row": "report", "measure": "report"}


def __getattr__(name: str) -> Any:
    # Lazily: writing a SavedModel runs in a process of its own, which has no use for torch.
    if name in _HOMES:
        return getattr(import_module(f"deeper.export.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'deeper.export' has no attribute {name!r}")
