"""A weights file of any form → tensors by their own names, told apart by what is in it rather than by its name."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

from deeper import files
from deeper.errors import WeightsError, printable
from deeper.models.weights.archive import is_archive, unpacked
from deeper.models.weights.keras_files import is_keras, read_keras
from deeper.models.weights.opened import Opened, damaged
from deeper.models.weights.tensorflow_files import checkpoint_files, is_tensorflow, read_tensorflow
from deeper.models.weights.torch_files import is_torch, read_safetensors, read_torch

FORMS = ".pth, .pt, .safetensors, .h5, .weights.h5, .keras, .ckpt, or .tar.gz with one of these in it"


def is_weights_file(path: Path) -> bool:
    """Whether something lies at `path` that `read` may be asked for: a file, or the prefix of a checkpoint."""
    # `.` and `/` have no name.
    return path.is_file() or (path.name != "" and path.with_name(f"{path.name}.index").is_file())


def sha256(path: Path) -> str:
    """Of the file; of a checkpoint in parts, of its parts' hashes in order."""
    parts = (
        [path] if path.is_file() and path.suffix != ".index" and ".data-" not in path.name else checkpoint_files(path)
    )
    hashes = [files.sha256(part) for part in parts]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def read(path: Path) -> Opened:
    """Nothing in the file is run, whoever made it.

    Raises: WeightsError, for a file that is missing, damaged, of no known form, or would run something;
    MissingExtraError, for Keras' files without h5py.
    """
    if path.is_dir():
        raise WeightsError(
            f"{printable(path)} is a folder and no run or bundle; give the weights file ({FORMS}), or a run or bundle where "
            "runs are taken (deeper train --weights, deeper models --weights)"
        )
    if not is_weights_file(path):
        raise WeightsError(f"no weights at {printable(path)}: there is no such file; check the path")
    try:
        if not path.is_file():
            return read_tensorflow(path)
        with open(path, "rb") as file:
            head = file.read(512)
            file.seek(max(0, path.stat().st_size - 8))
            tail = file.read(8)
    except OSError as error:
        raise damaged(path, printable(error.strerror or error, 80)) from None
    if not head:
        raise damaged(path, "it is empty")
    if is_keras(head, path):
        return read_keras(path)
    if is_tensorflow(path, tail):
        return read_tensorflow(path)
    if is_archive(head, path):
        with unpacked(path) as inner:
            with contextlib.suppress(OSError), open(inner, "rb") as file:
                if is_archive(file.read(512), inner):
                    raise damaged(path, "an archive in an archive")
            return read(inner)
    if is_torch(head):
        return read_torch(path)
    # Eight bytes of length, then a JSON table: safetensors.
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return read_safetensors(path)
    if path.suffix in (".pth", ".pt", ".bin", ".h5", ".keras", ".ckpt", ".gz", ".tgz"):
        raise damaged(path, f"it does not begin or end as a {path.suffix} file does")
    raise WeightsError(f"{printable(path)} is no weights file of a known form; wanted {FORMS}")
