"""How much of the picture one value of a layer sees, found by following the picture through the network."""

from __future__ import annotations

import torch

from deeper.models.architecture import Architecture
from deeper.models.dataflow import Operation, follow
from deeper.models.describe import build
from deeper.models.structure import structure

# (pixels seen, pixels between two neighbouring values), for rows and for columns.
_Reach = tuple[tuple[int, int], tuple[int, int]]


def receptive_fields(architecture: Architecture) -> dict[str, tuple[int, int]]:
    """Block → (height, width) in pixels of what one value of its output can depend on, by the longest way through its
    branches; the edge of the picture, which may cut it off, left aside. Auxiliary heads are not in it, nor is anything
    behind the global average, which sees everything.

    A kernel of k over values that stand j pixels apart adds (k − 1)·j to what is seen; a stride s makes j·s of j
    (Araujo et al., Computing Receptive Fields of Convolutional Neural Networks, Distill 2019). Much of the field
    hardly counts: what lies in its middle is used by more paths (Luo et al. 2016, arXiv 1701.04128).

    Raises: UsageError, as `catalog.create`.
    """
    model, device = build(architecture)
    picture = torch.zeros(2, architecture.channels, architecture.height, architecture.width, device=device)
    operations, _ = follow(model.eval(), picture)
    reaches: list[_Reach | None] = []
    for operation in operations:
        reaches.append(_reach(operation, [reaches[number] for number in operation.inputs]))
    found: dict[str, tuple[int, int]] = {}
    for block in structure(architecture).blocks:
        for name in block.names:
            inside = [
                reach
                for operation, reach in zip(operations, reaches, strict=True)
                if reach is not None and f"{operation.scope}/".startswith(f"{name}/")
            ]
            if inside:
                found[name] = (max(rows for (rows, _), _ in inside), max(columns for _, (columns, _) in inside))
    return found


def _reach(operation: Operation, before: list[_Reach | None]) -> _Reach | None:
    """None: everything, or what positions no longer mean anything for."""
    if operation.kind == "input":
        return (1, 1), (1, 1)
    if None in before or not before or operation.kind in ("global_average", "linear"):
        return None
    known = [one for one in before if one is not None]
    rows, columns = ((max(one[axis][0] for one in known), max(one[axis][1] for one in known)) for axis in (0, 1))
    kernel = operation.kernel or (1, 1)
    return _wider(rows, kernel[0], operation.stride[0]), _wider(columns, kernel[1], operation.stride[1])


def _wider(before: tuple[int, int], kernel: int, stride: int) -> tuple[int, int]:
    seen, apart = before
    return seen + (kernel - 1) * apart, apart * stride
