"""A bundle's network as a graph: `torch.export`, and ONNX from it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from deeper import files
from deeper.bundle import Info
from deeper.errors import BundleError, DeeperError, MissingExtraError, how_to_install, printable
from deeper.inference import Network
from deeper.values import to_plain

# What an opset must have for uint8 inputs and every layer here; runtimes of 2024 and later read it.
OPSET = 20
LARGEST_BATCH = 1 << 16
# The file's name, where one travels in the model.
DESCRIPTION = "deeper.json"


def exported(network: Network, example: Tensor) -> torch.export.ExportedProgram:
    """The network as `torch.export` sees it, for any batch size. `example`: uint8 2 × H × W × C."""
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    with _quiet(), converting("torch.export"):
        return torch.export.export(network.eval(), (example,), dynamic_shapes=({0: batch},))


def write_torch_export(program: torch.export.ExportedProgram, info: Info, path: Path) -> None:
    """Write `program` in torch's own format (.pt2), for `torch.export.load`; classes and Preprocess as its extra file
    `deeper.json`."""
    written = io.BytesIO()
    with _quiet(), converting("torch.export"):
        torch.export.save(program, written, extra_files={DESCRIPTION: description(info)})
    files.write_bytes(path, written.getvalue())


def write_onnx(program: torch.export.ExportedProgram, example: Tensor, info: Info, path: Path) -> None:
    """Write `program` as ONNX: input `images`, outputs `logits` and `features`; classes and Preprocess as metadata.

    Raises: MissingExtraError.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise MissingExtraError(f"writing ONNX needs extra packages: {how_to_install('onnx')}") from None
    with _quiet(), converting("ONNX"):
        written = torch.onnx.export(
            program,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits", "features"],
        )
    assert written is not None
    written.model.metadata_props.update(metadata(info))
    written.save(str(path))


def description(info: Info) -> str:
    """What travels inside formats that carry files, as JSON."""
    texts = {name.removeprefix("deeper."): text for name, text in metadata(info).items()}
    plain = {name: json.loads(text) if name in ("classes", "preprocess") else text for name, text in texts.items()}
    return json.dumps(plain, ensure_ascii=False, indent=2)


def metadata(info: Info) -> dict[str, str]:
    """What travels inside the model file, as texts."""
    return {
        "deeper.classes": json.dumps(list(info.classes), ensure_ascii=False),
        "deeper.preprocess": json.dumps(to_plain(info.preprocess)),
        "deeper.model": info.architecture.model,
        "deeper.weights_sha256": info.weights_sha256,
        "deeper.input": "uint8 pictures at this size, N × height × width × channels; normalisation is in the graph",
    }


@contextlib.contextmanager
def converting(format: str) -> Iterator[None]:
    """What a format cannot take of a network, which may be somebody's own, in a line. Raises: BundleError."""
    try:
        yield
    except (DeeperError, OSError, MemoryError):
        raise
    except Exception as error:
        reason = printable(" ".join(str(error).split()), 200)
        raise BundleError(
            f"{format} cannot take this network ({reason}); a forward that branches on what it computes, or fixes the "
            "number of pictures, cannot be exported"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that are not here and on its own future."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
