"""What runs a trained network: torch from the bundle itself, or an export of it in OpenVINO or ONNX Runtime.

An `Engine` is a `Predict` (uint8 batch at the model's size → `Scores`) with the bundle's description beside it. Which
engine runs is one argument, `open_engine(path, engine=…)`; everything above, from `Classifier` to the server, is the
same for all. Only the torch engine loads torch.
"""

from __future__ import annotations

from deeper.engines.artefact import EXPORT, Export, is_export, read_export
from deeper.engines.engine import (
    ENGINES,
    PRECISIONS,
    Engine,
    EngineName,
    Precision,
    export_folders,
    exports_in,
    exports_of,
    find_bundle,
    open_engine,
)

__all__ = [
    "ENGINES",
    "EXPORT",
    "PRECISIONS",
    "Engine",
    "EngineName",
    "Export",
    "Precision",
    "export_folders",
    "exports_in",
    "exports_of",
    "find_bundle",
    "is_export",
    "open_engine",
    "read_export",
]
