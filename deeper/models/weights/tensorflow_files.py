"""TensorFlow's checkpoints, without TensorFlow: what TF-Slim's published weights are.

Version 2 ("bundle"): `NAME.index`, a table of tensor names with where their bytes lie, and `NAME.data-00000-of-00001`
with the bytes (`tensorflow/core/util/tensor_bundle`, `core/protobuf/tensor_bundle.proto`). Version 1, of the weights
published in 2016: one file, a table that holds the tensors themselves (`core/util/saved_tensor_slice.proto`).
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from deeper.errors import WeightsError, printable
from deeper.models.weights.opened import LARGEST, Opened, damaged
from deeper.models.weights.protobuf import fields, of_bytes, of_number
from deeper.models.weights.table import ends_as_table, entries, masked_crc

# DataType of `core/framework/types.proto`; every type that a weight may have.
_TYPES = {1: torch.float32, 2: torch.float64, 3: torch.int32, 9: torch.int64, 14: torch.bfloat16, 19: torch.float16}
# Of an optimizer or of the training script: `weights/RMSProp_1`, `global_step`.
_NOT_WEIGHTS = re.compile(r"(^|/)(global_step|(RMSProp|Momentum|Adam|Adagrad|Ftrl)(_\d+)?|beta[12]_power)$")
_AVERAGE = "/ExponentialMovingAverage"
_SHARD = re.compile(r"(?P<stem>.+)\.data-(?P<number>\d{5})-of-(?P<count>\d{5})")


@dataclass(frozen=True)
class _Entry:
    """Where a tensor's bytes lie, and what they are (`BundleEntryProto`)."""

    dtype: int = 0
    shape: tuple[int, ...] = ()
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    sliced: bool = False


def is_tensorflow(path: Path, tail: bytes) -> bool:
    """Whether a file of that name, or with those last 8 bytes, belongs to a checkpoint."""
    return path.suffix == ".index" or bool(_SHARD.fullmatch(path.name)) or ends_as_table(tail)


def checkpoint_files(path: Path) -> list[Path]:
    """All files of the checkpoint that `path` names: its one file, or its prefix, its index or a part of its data.

    Raises: WeightsError, when parts are missing.
    """
    if path.suffix == ".index":
        stem = path.name.removesuffix(".index")
    elif match := _SHARD.fullmatch(path.name):
        stem = match["stem"]
    elif path.is_file():
        return [path]
    else:
        stem = path.name
    index = path.with_name(f"{stem}.index")
    shards = sorted(
        shard for shard in path.parent.iterdir() if (match := _SHARD.fullmatch(shard.name)) and match["stem"] == stem
    )
    count = int(_SHARD.fullmatch(shards[0].name)["count"]) if shards else 1  # type: ignore[index]
    if not index.is_file() or len(shards) != count:
        raise WeightsError(
            f"the checkpoint {printable(path.with_name(stem))} is not whole: wanted {printable(index.name)} and "
            f"{printable(stem)}.data-00000-of-{count:05d}{' and so on' if count > 1 else ''} in one folder; put them there"
        )
    return [index, *shards]


def read_tensorflow(path: Path) -> Opened:
    """Raises: WeightsError."""
    parts = checkpoint_files(path)
    left: dict[str, None] = {}

    def wanted(name: str) -> bool:
        if _NOT_WEIGHTS.search(name.removesuffix(_AVERAGE)):
            left[name] = None
            return False
        return True

    try:
        if len(parts) == 1:
            form, tensors = "TensorFlow checkpoint, version 1", dict(_version_1(parts[0], wanted))
        else:
            form, tensors = "TensorFlow checkpoint", dict(_version_2(parts[0], parts[1:], wanted))
    except (ValueError, struct.error, OverflowError, IndexError, MemoryError) as error:
        raise damaged(path, f"no sound TensorFlow checkpoint ({printable(error, 100)})") from None
    if any(name.startswith(("_CHECKPOINTABLE", "layer_with_weights-", "save_counter")) for name in [*tensors, *left]):
        raise WeightsError(
            f"the checkpoint {printable(path)} was written by Keras in TensorFlow's form, which has no layer names; "
            "save it with model.save_weights('NAME.weights.h5')"
        )
    # The averages are what slim evaluates where there are any.
    for name in [name for name in tensors if name.endswith(_AVERAGE)]:
        tensors[name.removesuffix(_AVERAGE)] = tensors.pop(name)
        left[name.removesuffix(_AVERAGE)] = None
    return Opened("tensorflow", form, tensors, tuple(left))


def _mapped(path: Path) -> memoryview:
    with open(path, "rb") as file:
        if not path.stat().st_size:
            raise ValueError(f"{printable(path.name)} is empty")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _tensor(data: memoryview, dtype: int, shape: tuple[int, ...], name: str) -> Tensor:
    """A copy of the bytes as a tensor. Raises: ValueError."""
    if dtype not in _TYPES:
        raise ValueError(f"{printable(name, 80)} has the type number {dtype}, which no weight has")
    kind = _TYPES[dtype]
    if any(not 0 <= size <= LARGEST for size in shape) or math.prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"{printable(name, 80)} has {len(data)} bytes for the shape {shape}")
    if not len(data):
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(bytearray(data), dtype=kind).reshape(shape)


def _shape(data: memoryview) -> tuple[int, ...]:
    """Of a `TensorShapeProto`."""
    sizes = []
    for number, value in fields(data):
        if number == 2:
            inner = dict(fields(of_bytes(value)))
            sizes.append(of_number(inner.get(1, 0)))
    return tuple(sizes)


def _text(data: memoryview) -> str:
    return bytes(data).decode("utf-8", "replace")


def _version_2(index: Path, shards: list[Path], wanted: Callable[[str], bool]) -> Iterator[tuple[str, Tensor]]:
    opened: dict[int, memoryview] = {}
    total = 0
    for key, value in entries(_mapped(index)):
        if not key:  # the header: how many parts, which byte order
            header = {number: of_number(field) for number, field in fields(value) if number in (1, 2)}
            if header.get(1, 1) != len(shards) or header.get(2, 0) != 0:
                raise ValueError(f"its header tells of {header.get(1, 1)} parts, {len(shards)} are there")
            continue
        name = key.decode("utf-8", "replace")
        if not wanted(name):
            continue
        entry = _entry(value)
        if entry.sliced:
            raise ValueError(f"{printable(name, 80)} is split into slices, which is not supported")
        if entry.dtype not in _TYPES and not name.startswith("Inception"):
            continue  # texts of the graph
        if entry.shard >= len(shards):
            raise ValueError(f"{printable(name, 80)} lies in a part that is not there")
        if entry.shard not in opened:
            opened[entry.shard] = _mapped(shards[entry.shard])
        # Many names may lie at one place.
        total += entry.size
        if total > LARGEST:
            raise ValueError("it claims to be larger than any Inception's")
        data = opened[entry.shard][entry.offset : entry.offset + entry.size]
        if len(data) != entry.size:
            raise ValueError(f"{printable(name, 80)} lies behind the end of the data, which is cut off")
        if masked_crc(data) != entry.crc:
            raise ValueError(f"{printable(name, 80)} has the wrong checksum")
        yield name, _tensor(data, entry.dtype, entry.shape, name)


def _entry(value: memoryview) -> _Entry:
    numbers = {1: 0, 3: 0, 4: 0, 5: 0}
    shape: tuple[int, ...] = ()
    crc, sliced = 0, False
    for number, field in fields(value):
        if number in numbers:
            numbers[number] = of_number(field)
        elif number == 2:
            shape = _shape(of_bytes(field))
        elif number == 6:
            crc = struct.unpack("<I", of_bytes(field))[0]
        elif number == 7:
            sliced = True
    return _Entry(numbers[1], shape, numbers[3], numbers[4], numbers[5], crc, sliced)


def _version_1(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Tensor]]:
    """`SavedTensorSlices`: the first has the shapes and types, each of the others a tensor."""
    known: dict[str, tuple[tuple[int, ...], int]] = {}
    data = _mapped(path)
    if len(data) > LARGEST:
        raise ValueError("it is larger than any Inception's")
    seen: set[str] = set()
    for _, value in entries(data):
        for number, field in fields(value):
            if number == 1:
                known.update(_version_1_shapes(of_bytes(field)))
            elif number == 2:
                slice_fields = dict(fields(of_bytes(field)))
                name = _text(of_bytes(slice_fields[1])) if 1 in slice_fields else ""
                if name not in known:
                    raise ValueError(f"{printable(name, 80)} is not in its list")
                if not wanted(name):
                    continue
                if name in seen:
                    raise ValueError(f"{printable(name, 80)} is split into slices, which is not supported")
                seen.add(name)
                shape, dtype = known[name]
                yield name, _tensor(_numbers(of_bytes(slice_fields.get(3, memoryview(b""))), dtype), dtype, shape, name)
    if lost := [name for name in known if name not in seen and wanted(name)]:
        raise ValueError(f"{printable(lost[0], 80)} is in its list and has no numbers")


def _version_1_shapes(meta: memoryview) -> Iterator[tuple[str, tuple[tuple[int, ...], int]]]:
    for number, field in fields(meta):
        if number == 1:
            inner = dict(fields(of_bytes(field)))
            shape = _shape(of_bytes(inner.get(2, memoryview(b""))))
            yield _text(of_bytes(inner[1])), (shape, of_number(inner.get(3, 0)))


def _numbers(proto: memoryview, dtype: int) -> memoryview:
    """The numbers of a `TensorProto` as bytes: packed floats (5) or doubles (6), or the plain content (4)."""
    where = {1: 5, 2: 6}.get(dtype)
    pieces = []
    for number, field in fields(proto):
        if number == 4 or (number == where and not isinstance(field, int)):
            pieces.append(of_bytes(field))
    return pieces[0] if len(pieces) == 1 else memoryview(b"".join(bytes(piece) for piece in pieces))
