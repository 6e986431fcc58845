"""The words and numbers of an architecture's drawing."""

from __future__ import annotations

from collections.abc import Sequence

from deeper.errors import printable
from deeper.models.dataflow import Operation
from deeper.models.structure import Block


def family_of(operation: Operation) -> str:
    if operation.kind == "convolution":
        height, width = operation.kernel or (1, 1)
        if height == width:
            return "1×1 convolution" if height == 1 else "convolution"
        return "1×n or n×1 convolution" if 1 in (height, width) else "convolution"
    families = {"max_pool": "max-pool", "linear": "fully connected"}
    if operation.kind in ("average_pool", "global_average"):
        return "average pool"
    return families.get(operation.kind, "joined")


def size_text(shape: Sequence[int]) -> str:
    """(288, 35, 35) → `35×35×288`, as papers and TF-Slim write it."""
    return "×".join(f"{side:,}" if len(shape) == 1 else str(side) for side in (*shape[1:], shape[0]))


def count_text(number: float) -> str:
    """`896`, `18.5 k`, `1.70 M`, `5.71 G`: three digits."""
    if number < 999.5:
        return f"{number:.0f}"
    unit, letter = next(
        ((unit, letter) for unit, letter in ((1e3, "k"), (1e6, "M")) if number < unit * 999.5), (1e9, "G")
    )
    return f"{number / unit:#.3g}".rstrip(".") + f" {letter}"


def words_of(operation: Operation) -> tuple[str, str]:
    """What a box says: (`3×3 /2`, `384`), kernel and stride at its left, output channels at its right."""
    kernel = "×".join(map(str, operation.kernel)) if operation.kernel else ""
    one, other = operation.stride
    stride = "" if (one, other) == (1, 1) else f" /{one}" if one == other else f" /{one}×{other}"
    channels = str(operation.shape[0])
    if operation.kind == "convolution":
        grouped = f" ÷{operation.groups}" if operation.groups > 1 else ""
        return f"{kernel}{stride}{grouped}", channels
    if operation.kind in ("max_pool", "average_pool"):
        name = "max" if operation.kind == "max_pool" else "avg"
        return operation.label or f"{name} {kernel}{stride}", ""
    if operation.kind == "global_average":
        return "global average", ""
    if operation.kind == "linear":
        return "full", f"{operation.shape[0]:,}"
    if operation.kind == "concatenate":
        return "concatenate", channels
    if operation.kind == "add":
        return "add" if operation.scale == 1 else f"add, branches × {operation.scale:g}", channels
    return {"mul": "multiply"}.get(operation.label, operation.label) or operation.kind, channels


def followers(operations: Sequence[Operation]) -> str | None:
    """What follows convolutions, in words, where it is the same for all that something follows; else None."""
    found = {" and ".join(dict.fromkeys(one.then)) for one in operations if one.kind == "convolution" and one.then}
    return found.pop().replace("_", " ").replace("relu", "ReLU") if len(found) == 1 else None


def sum_text(numbers: Sequence[int], total: bool) -> str:
    """`0.28 M`, `4 × 0.32 M`, or a sum where they differ."""
    texts = [count_text(number) for number in numbers]
    if total or len(numbers) == 1:
        return count_text(sum(numbers))
    return (
        f"{len(numbers)} × {texts[0]}"
        if len(set(texts)) == 1
        else " + ".join(texts[:3])
        if len(texts) < 4
        else (f"together {count_text(sum(numbers))}")
    )


def name_text(blocks: Sequence[Block]) -> str:
    names = [printable(name, 60) for block in blocks for name in block.names]
    if len(names) == 1:
        return names[0]
    first, last = names[0], names[-1]
    return f"{first}, {last.rpartition('/')[2]}" if len(names) == 2 else f"{first} … {last.rpartition('/')[2]}"


def inner_name(operation: Operation, block: Block) -> str:
    """Scope inside the block, up to the module that its author named."""
    inside = operation.scope.removeprefix("module/").removeprefix(f"{block.names[0]}/")
    return "" if inside == block.names[0] else printable(inside.partition("/")[0], 40)
