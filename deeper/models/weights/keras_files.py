"""Keras' files: `.h5` of a model or of its weights, `.weights.h5` and `.keras` of Keras 3. h5py reads the container.

In `.h5` a group per layer bears the layer's name, and its attribute `weight_names` says what is where. In Keras 3's
`.weights.h5` groups are numbered by class, `layers/conv2d_4/vars/0`, and the layer's own name is an attribute of `vars`
(files of the first Keras 3 lack it). A `.keras` file is a zip archive with such a file in it.

A model used as a layer of another, as in Keras' own examples of transfer learning, is one group in both: in `.h5` the
inner layers' names are in those of its weights, in `.weights.h5` it has `layers` of its own. Its layers are read as if
they were the outer model's.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deeper.errors import MissingExtraError, WeightsError, how_to_install, printable
from deeper.models.weights.opened import LARGEST, Opened, damaged

_MAGIC, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
_IN_ARCHIVE = "model.weights.h5"
_VARIABLES = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")


def is_keras(head: bytes, path: Path) -> bool:
    """Whether a file that begins so is Keras'."""
    return head.startswith(_MAGIC) or (head.startswith(_ZIP) and _holds_weights(path))


def _holds_weights(path: Path) -> bool:
    """Whether an archive is Keras 3's; one that is no sound archive is, where its name says so."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _IN_ARCHIVE in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return path.suffix == ".keras"


def read_keras(path: Path) -> Opened:
    """Raises: WeightsError; MissingExtraError, without h5py."""
    try:
        import h5py
    except ImportError:
        raise MissingExtraError(
            f"reading Keras' weights {printable(path)} needs h5py; install it with: {how_to_install('keras')}"
        ) from None
    try:
        source: Any = path
        with open(path, "rb") as file:
            zipped = file.read(4) == _ZIP
        if zipped:
            with zipfile.ZipFile(path) as archive:
                member = archive.getinfo(_IN_ARCHIVE)
                if member.file_size > LARGEST:
                    raise damaged(path, f"{_IN_ARCHIVE} would unpack to {member.file_size} bytes")
                source = io.BytesIO(archive.read(member))
        with h5py.File(source, "r") as file:
            form, found = ("Keras 3", _numbered) if "layers" in file else ("Keras' HDF5", _legacy)
            tensors: dict[str, Tensor] = {}
            total = 0
            for name, array in found(h5py, file, path):
                if name in tensors:
                    raise WeightsError(
                        f"the weights {printable(path)} have {printable(name, 80)} twice: layers of a model inside the model "
                        "bear the names of others; save the inner model alone (base.save_weights('NAME.h5'))"
                    )
                total += array.nbytes
                if total > LARGEST:
                    raise damaged(path, "it unpacks to more than any Inception has")
                tensors[name] = torch.from_numpy(array)
            left = tuple(name for name in ("optimizer", "optimizer_weights") if name in file)
    except WeightsError:
        raise
    # HDF5's own errors come as any of these.
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, zipfile.BadZipFile, MemoryError, EOFError) as error:
        raise damaged(path, f"no sound file of Keras ({printable(' '.join(str(error).split()), 100)})") from None
    return Opened("keras", form, tensors, left)


def _array(h5py: Any, path: Path, group: Any, name: str) -> np.ndarray[Any, Any]:
    """A dataset's numbers, from this file and no other. Raises: WeightsError, KeyError."""
    place = _inside(h5py, path, group, name)
    if not isinstance(place, h5py.Dataset):
        raise damaged(path, f"{printable(name, 80)} is no array")
    if place.is_virtual or place.external:
        raise damaged(path, f"{printable(name, 80)} takes its numbers from another file")
    if place.size is None or place.size * place.dtype.itemsize > LARGEST or place.dtype.kind not in "fiu":
        raise damaged(path, f"{printable(name, 80)} is {place.dtype} of {place.shape}, which no weight is")
    return np.ascontiguousarray(place[()])


def _inside(h5py: Any, path: Path, group: Any, name: str) -> Any:
    """What `group` has under `name`, in this file and no other. Raises: WeightsError, KeyError."""
    place = group
    for part in filter(None, name.split("/")):
        if not isinstance(place, h5py.Group):
            raise damaged(path, f"{printable(name, 80)} is not in it")
        if part in place and not isinstance(place.get(part, getlink=True), h5py.HardLink):
            raise damaged(path, f"{printable(name, 80)} points to another place or file")
        place = place[part]
    return place


def _group(h5py: Any, path: Path, group: Any, name: str) -> Any:
    """As `_inside`, of a group."""
    place = _inside(h5py, path, group, name)
    if not isinstance(place, h5py.Group):
        raise damaged(path, f"{printable(name, 80)} is no group")
    return place


def _legacy(h5py: Any, file: Any, path: Path) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """`layer/variable`, array; of the form of Keras 1 and 2, which Keras 3 still writes."""
    top = _group(h5py, path, file, "model_weights") if "model_weights" in file else file
    if "layer_names" not in top.attrs and not any(name.startswith("layer_names") for name in top.attrs):
        raise damaged(path, "an HDF5 file, but not of Keras: it lists no layers")
    for layer in _texts(top, "layer_names"):
        group = _group(h5py, path, top, layer)
        names = _texts(group, "weight_names")
        # `conv2d/kernel:0` → `conv2d`; under TensorFlow the outer model's name may stand before it.
        inner = [name.rpartition("/")[0].rpartition("/")[2] for name in names]
        nested = len(set(inner)) > 1
        for name, own in zip(names, inner, strict=True):
            owner = own if nested else layer
            variable = name.rpartition("/")[2].partition(":")[0]
            yield f"{owner}/{_known(variable, owner)}", _array(h5py, path, group, name)


def _known(variable: str, layer: str) -> str:
    """`kernel` of `kernel`, of Keras 1's `convolution2d_1_W` and of `dense_1_b`."""
    endings = {"W": "kernel", "b": "bias", "running_mean": "moving_mean", "running_std": "moving_variance"}
    short = variable.removeprefix(f"{layer}_")
    return endings.get(short, short)


def _texts(group: Any, attribute: str) -> list[str]:
    """An attribute that lists names; long lists are split over `attribute0`, `attribute1`, …"""
    parts = [group.attrs[attribute]] if attribute in group.attrs else []
    while f"{attribute}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{attribute}{len(parts)}"])
    return [name.decode() if isinstance(name, bytes) else str(name) for part in parts for name in part]


def _numbered(h5py: Any, file: Any, path: Path) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """`layer/variable`, array; of Keras 3's form. Variables are numbered in the order that the layer made them."""
    yield from _numbered_layers(h5py, _group(h5py, path, file, "layers"), path, set())


def _numbered_layers(h5py: Any, layers: Any, path: Path, seen: set[Any]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    # Groups may be linked into a circle.
    if layers in seen:
        return
    seen.add(layers)
    for name in layers:
        group = _group(h5py, path, layers, name)
        if "layers" in group:
            yield from _numbered_layers(h5py, _group(h5py, path, group, "layers"), path, seen)
        if "vars" not in group or not len(variables := _group(h5py, path, group, "vars")):
            continue
        layer = variables.attrs.get("name")
        if layer is None:
            raise WeightsError(
                f"the weights {printable(path)} do not say which layer is which (the first versions of Keras 3 left the names out); "
                "load and save them once with a newer Keras, or save with model.save_weights('NAME.h5')"
            )
        layer = layer.decode() if isinstance(layer, bytes) else str(layer)
        for number, variable in enumerate(_variables(name, len(variables))):
            yield f"{layer}/{variable}", _array(h5py, path, variables, str(number))


def _variables(kind: str, count: int) -> list[str]:
    if kind.startswith("batch_normalization"):
        names = ["gamma", "beta", "moving_mean", "moving_variance"]
        return names[4 - count :] if count in (3, 4) else [f"variable_{number}" for number in range(count)]
    return ["kernel", "bias"][:count] + [f"variable_{number}" for number in range(2, count)]
