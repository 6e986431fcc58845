"""A network's structure: the blocks it is made of, and how operations run inside them, one after the other or side by side.

Found by running it (`dataflow`, `nesting`) and from how its modules are held, so it holds for a user's own network too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from deeper.models.architecture import Architecture
from deeper.models.custom import Wrapped
from deeper.models.dataflow import Operation, follow
from deeper.models.describe import build
from deeper.models.nesting import Parallel, Series, nest, operations_of, signature

Role = Literal["layer", "stem", "mixed", "residual", "reduction", "auxiliary", "classifier"]


@dataclass(kw_only=True)
class Block:
    """What one module of the network computes: a mixed block, an auxiliary head, or a single layer.

    `names`: its scopes, TF-Slim's endpoint names for the networks of the catalog; several where blocks of one structure
    follow one another (`count` of them, the numbers of each in `parameters` and `multiply_adds`). `shape`: of its
    output without the batch, (C, H, W) or (C,). `attached_to`: name of the block that an auxiliary head hangs on.
    """

    role: Role
    names: list[str]
    series: Series
    shape: tuple[int, ...]
    parameters: list[int]
    multiply_adds: list[int]
    attached_to: str | None = None

    @property
    def count(self) -> int:
        return len(self.names)


@dataclass(frozen=True, kw_only=True)
class Structure:
    """`parameters`: all that are trained. `multiply_adds`: of one picture in evaluation, auxiliary heads left out."""

    architecture: Architecture
    blocks: tuple[Block, ...]
    parameters: int
    multiply_adds: int

    def to_plain(self) -> dict[str, Any]:
        """For --json: every block by itself, with its operations nested."""
        return {
            "architecture": self.architecture.to_plain(),
            "parameters": self.parameters,
            "multiply_adds": self.multiply_adds,
            "blocks": [
                {
                    "name": block.names[0],
                    "role": block.role,
                    "shape": list(block.shape),
                    "parameters": block.parameters[0],
                    "multiply_adds": block.multiply_adds[0],
                    "attached_to": block.attached_to,
                    "operations": _plain(block.series),
                }
                for block in self.blocks
            ],
        }


def _plain(series: Series) -> list[Any]:
    """Operations one after the other; a list of lists where branches run side by side."""
    return [
        [_plain(branch) for branch in item.branches]
        if isinstance(item, Parallel)
        else {
            "kind": item.kind,
            "scope": item.scope,
            "shape": list(item.shape),
            "kernel": list(item.kernel) if item.kernel else None,
            "stride": list(item.stride),
            "groups": item.groups,
            "then": item.then,
            "multiply_adds": item.multiply_adds,
        }
        for item in series
    ]


def _containers(model: nn.Module, scopes: Sequence[str]) -> set[str]:
    """Scopes that only hold others together: sequences, and modules that hold most of all there is."""
    found = {name.replace(".", "/") for name, module in model.named_modules() if type(module) in _HOLDERS}
    if isinstance(model, Wrapped):
        found.add("module")
    for name, module in model.named_modules():
        scope = name.replace(".", "/")
        inside = sum(one.startswith(f"{scope}/") for one in scopes)
        if scope and inside > 0.6 * len(scopes) and sum(1 for _ in module.children()) > 1 and len(scopes) > 3:
            found.add(scope)
    return found


_HOLDERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def _block_name(scope: str, containers: set[str]) -> str:
    """The outermost part of a scope that is a module of its own."""
    parts = scope.split("/")
    for length in range(1, len(parts) + 1):
        head = "/".join(parts[:length])
        if head not in containers:
            return head
    return ""


def _common(scopes: Sequence[str]) -> str:
    parts = [scope.split("/") for scope in scopes]
    shared = []
    for words in zip(*parts, strict=False):
        if len(set(words)) > 1:
            break
        shared.append(words[0])
    return "/".join(shared)


def _item_scope(item: Operation | Parallel) -> str:
    if isinstance(item, Operation):
        return item.scope
    return _common([one.scope for branch in item.branches for one in operations_of(branch)])


def _grouped(series: Series, name_of: Callable[[str], str]) -> list[tuple[str, list[Operation | Parallel]]]:
    """Items that belong to one module, with its name; branches and what joins them stay together."""
    groups: list[tuple[str, list[Operation | Parallel]]] = []
    for item in series:
        name = name_of(_item_scope(item))
        joins = bool(groups) and isinstance(groups[-1][1][-1], Parallel)
        if groups and (joins or (name and groups[-1][0] == name)):
            groups[-1][1].append(item)
        else:
            groups.append((name, [item]))
    return groups


def _end(series: Sequence[Operation | Parallel]) -> tuple[int, ...]:
    """Shape of what comes out: branches are always followed by what joins them."""
    last = series[-1]
    assert isinstance(last, Operation)
    return last.shape


def _role(series: Series, before: tuple[int, ...], inside_stem: bool) -> Role:
    shape = _end(series)
    shrinks = before[1:] != shape[1:]
    last = series[-1]
    kinds = {one.kind for one in operations_of(series)}
    if len(shape) == 1 or kinds == {"global_average"}:
        return "classifier"
    if inside_stem:
        return "stem"
    if not any(isinstance(item, Parallel) for item in series):
        return "reduction" if shrinks and kinds <= {"max_pool", "average_pool"} else "layer"
    if isinstance(last, Operation) and last.kind == "add":
        return "residual"
    return "reduction" if shrinks else "mixed"


def _name(name: str, series: Series, name_of: Callable[[str], str]) -> str:
    """A block's name: its module's; of what the network's own forward joins, the modules inside."""
    if name:
        return name.removeprefix("module/")
    inside = [one for item in series for one in operations_of((item,))]
    modules = list(dict.fromkeys(found.removeprefix("module/") for one in inside if (found := name_of(one.scope))))
    if not modules:
        return inside[0].label or inside[0].kind
    return modules[0] if len(modules) == 1 else f"{modules[0]} … {modules[-1]}"


def _block(
    name: str, items: Sequence[Operation | Parallel], role: Role, model: nn.Module, name_of: Callable[[str], str]
) -> Block:
    series = tuple(items)
    # Where a network keeps norms beside its convolutions, they count with the block whose output they change.
    owners = {scope for one in operations_of(series) for scope in (one.scope, *one.passed)}
    parameters = 0
    for key, weight in model.named_parameters():
        owner = key.rpartition(".")[0].replace(".", "/")
        own = owner in owners or (bool(name) and f"{owner}/".startswith(f"{name}/"))
        parameters += weight.numel() if own and weight.requires_grad else 0
    return Block(
        role=role,
        names=[_name(name, series, name_of)],
        series=series,
        shape=_end(series),
        parameters=[parameters],
        multiply_adds=[sum(one.multiply_adds for one in operations_of(series))],
    )


def structure(architecture: Architecture) -> Structure:
    """Build the network, run a picture without data through it, and find its blocks.

    Auxiliary heads, which only run in training, come right after the block they hang on.

    Raises: UsageError, as `catalog.create`.
    """
    model, device = build(architecture)
    picture = torch.zeros(2, architecture.channels, architecture.height, architecture.width, device=device)
    operations, makers = follow(model.eval(), picture)
    last = next((maker for maker in makers if maker), len(operations) - 1)
    series = nest(operations, last)
    containers = _containers(model, [one.scope for one in operations_of(series)])

    def name_of(scope: str) -> str:
        return _block_name(scope, containers)

    blocks: list[Block] = []
    shape = operations[0].shape
    groups = _grouped(series, name_of)
    stem = _stem_length(groups, shape)
    for position, (name, items) in enumerate(groups):
        blocks.append(_block(name, items, _role(tuple(items), shape, position < stem), model, name_of))
        shape = blocks[-1].shape
    _attach_auxiliary(blocks, model, picture, {one.scope for one in operations}, name_of)
    total = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    cost = sum(one.multiply_adds for one in operations_of(series))
    return Structure(architecture=architecture, blocks=tuple(blocks), parameters=total, multiply_adds=cost)


def _stem_length(groups: Sequence[tuple[str, Sequence[Operation | Parallel]]], shape: tuple[int, ...]) -> int:
    """How many groups stand before the first block of branches that keeps the grid: 0 where there is none."""
    for position, (_, items) in enumerate(groups):
        after = _end(items)
        if after[1:] == shape[1:] and any(isinstance(item, Parallel) for item in items):
            return position
        shape = after
    return 0


def _attach_auxiliary(
    blocks: list[Block],
    model: nn.Module,
    picture: torch.Tensor,
    known: set[str],
    name_of: Callable[[str], str],
) -> None:
    """Run once more in training mode; modules that ran only now are auxiliary heads."""
    try:
        operations, _ = follow(model.train(), picture)
    except Exception:  # a user's network may not train on two blank pictures; then it is drawn without heads
        return
    ran = {name_of(scope) for scope in known}
    heads: dict[str, list[int]] = {}
    for number, one in enumerate(operations):
        name = name_of(one.scope)
        if one.scope and name and name not in ran:
            heads.setdefault(name, []).append(number)
    for name, numbers in heads.items():
        source = operations[operations[numbers[0]].inputs[0]]
        series = tuple(operations[number] for number in numbers)
        head = _block(name, series, "auxiliary", model, name_of)
        at = name_of(source.scope).removeprefix("module/")
        place = next((index for index, block in enumerate(blocks) if at in block.names), len(blocks) - 1)
        head.attached_to = blocks[place].names[-1]
        blocks.insert(place + 1, head)


def collapsed(blocks: Sequence[Block]) -> list[Block]:
    """Blocks of one structure that follow one another as one, with all their names."""
    result: list[Block] = []
    for block in blocks:
        before = result[-1] if result else None
        if (
            before is not None
            and block.role in ("mixed", "residual")
            and before.role == block.role
            and _home(before.names[-1]) == _home(block.names[0])
            and signature(before.series) == signature(block.series)
            and before.attached_to is None
        ):
            result[-1] = Block(
                role=before.role,
                names=before.names + block.names,
                series=before.series,
                shape=before.shape,
                parameters=before.parameters + block.parameters,
                multiply_adds=before.multiply_adds + block.multiply_adds,
            )
        else:
            result.append(block)
    return result


def _home(name: str) -> str:
    return name.rpartition("/")[0]
