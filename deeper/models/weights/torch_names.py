"""torchvision's and timm's names for weights → ours.

Each source has a function from the name of one of their layers to the scope of ours. Branches are addressed by number
and position (`Mixed_5b`, branch 1, second convolution), which all the sources agree on, whatever they call them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from deeper.errors import WeightsError, nearest, printable
from deeper.models.blocks import Convolution
from deeper.models.mixed import Branch
from deeper.models.weights.placed import Placed, check

Rename = Callable[[str], str | None]


def branch_scope(model: nn.Module, block: str, branch: int, position: int) -> str:
    """The scope of a branch's convolution, counted from 0 and without pools: `Mixed_5b.Branch_1.Conv2d_0b_5x5`."""
    path = f"{block}.Branch_{branch}"
    try:
        module = model.get_submodule(path)
    except AttributeError:
        path = f"{block}.mixed.Branch_{branch}"
        module = model.get_submodule(path)
    assert isinstance(module, Branch)
    names = [name for name, layer in module.named_children() if isinstance(layer, Convolution)]
    return f"{path}.{names[position]}"


def _place(model: nn.Module, table: Mapping[str, str], block: str, layer: str) -> str | None:
    """`table`: their name of a layer in a block → "branch.position"."""
    if layer not in table:
        return None
    branch, position = table[layer].split(".")
    return branch_scope(model, block, int(branch), int(position))


def _numbered(**stems: str) -> dict[str, str]:
    """`branch7x7_="1.3"` stands for branch7x7_1 → 1.0, branch7x7_2 → 1.1, branch7x7_3 → 1.2."""
    return {
        f"{stem}{number + 1}": f"{place[0]}.{number}"
        for stem, place in stems.items()
        for number in range(int(place[2]))
    }


_A = {"branch1x1": "0.0", **_numbered(branch5x5_="1.2", branch3x3dbl_="2.3"), "branch_pool": "3.0"}
_B = {"branch3x3": "0.0", **_numbered(branch3x3dbl_="1.3")}
_C = {"branch1x1": "0.0", **_numbered(branch7x7_="1.3", branch7x7dbl_="2.5"), "branch_pool": "3.0"}
_D = _numbered(branch3x3_="0.2", branch7x7x3_="1.4")
_E = {
    "branch1x1": "0.0",
    "branch3x3_1": "1.0",
    "branch3x3_2a": "1.1",
    "branch3x3_2b": "1.2",
    "branch3x3dbl_1": "2.0",
    "branch3x3dbl_2": "2.1",
    "branch3x3dbl_3a": "2.2",
    "branch3x3dbl_3b": "2.3",
    "branch_pool": "3.0",
}
_V3_TORCHVISION = {
    **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d"), _A),
    "Mixed_6a": _B,
    **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), _C),
    "Mixed_7a": _D,
    **dict.fromkeys(("Mixed_7b", "Mixed_7c"), _E),
}


def torchvision_v3(model: nn.Module) -> Rename:
    """torchvision's `inception_v3` (timm's has the same names)."""
    fixed = {
        "fc": "Logits",
        "AuxLogits.conv0": "AuxLogits.Conv2d_1b_1x1",
        "AuxLogits.conv1": "AuxLogits.Conv2d_2a_5x5",
        "AuxLogits.fc": "AuxLogits.Logits",
    }

    def rename(layer: str) -> str | None:
        if layer in fixed:
            return fixed[layer]
        if layer.startswith("Conv2d_"):
            return layer
        block, _, rest = layer.partition(".")
        return _place(model, _V3_TORCHVISION.get(block, {}), block, rest)

    return rename


def torchvision_v1(model: nn.Module) -> Rename:
    """torchvision's `googlenet`: its inception3a is Mixed_3b."""
    fixed = {"conv1": "Conv2d_1a_7x7", "conv2": "Conv2d_2b_1x1", "conv3": "Conv2d_2c_3x3", "fc": "Logits"}
    for theirs, ours in (("aux1", "AuxLogits_4b"), ("aux2", "AuxLogits_4e")):
        fixed |= {f"{theirs}.conv": f"{ours}.Conv2d_1b_1x1", f"{theirs}.fc1": f"{ours}.Full_2a"}
        fixed |= {f"{theirs}.fc2": f"{ours}.Logits"}
    table = {"branch1": "0.0", "branch2.0": "1.0", "branch2.1": "1.1", "branch3.0": "2.0", "branch3.1": "2.1"}
    table |= {"branch4.1": "3.0"}

    def rename(layer: str) -> str | None:
        if layer in fixed:
            return fixed[layer]
        match = re.fullmatch(r"inception(\d)([a-e])\.(.+)", layer)
        return _place(model, table, f"Mixed_{match[1]}{chr(ord(match[2]) + 1)}", match[3]) if match else None

    return rename


def _timm_branch(model: nn.Module, block: str, rest: str) -> str | None:
    """`branch1.2`, `branch0`, `branch2_3a`, or `conv` (the one convolution of v4's Mixed_3a and Mixed_5a)."""
    if rest == "conv":
        return branch_scope(model, block, 1 if block == "Mixed_3a" else 0, 0)
    if match := re.fullmatch(r"branch(\d)(?:\.(\d))?", rest):
        path = f"{block}.Branch_{match[1]}" if block.startswith("Mixed") else f"{block}.mixed.Branch_{match[1]}"
        names = [name for name, _ in model.get_submodule(path).named_children()]
        return f"{path}.{names[int(match[2] or 0)]}"
    if match := re.fullmatch(r"branch(\d)_(\d)([ab]?)", rest):
        return branch_scope(model, block, int(match[1]), int(match[2]) + (match[3] == "b"))
    return None


def timm_v4(model: nn.Module) -> Rename:
    """timm's `inception_v4`: numbered features in the order of our scopes."""
    skipped = ("AuxLogits", "Dropout_1b", "Logits")
    blocks = [name for name, _ in model.named_children() if name not in skipped]

    def rename(layer: str) -> str | None:
        if layer == "last_linear":
            return "Logits"
        match = re.fullmatch(r"features\.(\d+)(?:\.(.+))?", layer)
        if not match:
            return None
        block = blocks[int(match[1])]
        return _timm_branch(model, block, match[2]) if match[2] else block

    return rename


def timm_resnet(model: nn.Module) -> Rename:
    """timm's `inception_resnet_v2`."""
    stem = {name.lower().rpartition("_")[0]: name for name, _ in model.named_children() if name.startswith("Conv2d")}
    repeats = {"repeat": ("Repeat", "block35"), "repeat_1": ("Repeat_1", "block17"), "repeat_2": ("Repeat_2", "block8")}

    def rename(layer: str) -> str | None:
        if layer in ("classif", "last_linear"):
            return "Logits"
        if layer in stem:
            return stem[layer]
        block, _, rest = layer.partition(".")
        if block in repeats:
            number, _, rest = rest.partition(".")
            ours, kind = repeats[block]
            block = f"{ours}.{kind}_{int(number) + 1}"
        elif block.startswith(("mixed", "block8")):
            block = block.capitalize()
        else:
            return None
        return f"{block}.Conv2d_1x1" if rest == "conv2d" else _timm_branch(model, block, rest)

    return rename


SOURCES: dict[tuple[str, str], Callable[[nn.Module], Rename]] = {
    ("torchvision", "inception_v1"): torchvision_v1,
    ("torchvision", "inception_v3"): torchvision_v3,
    ("timm", "inception_v3"): torchvision_v3,
    ("timm", "inception_v4"): timm_v4,
    ("timm", "inception_resnet_v2"): timm_resnet,
}


def _leaf(scope: str, part: str, kind: str, model: nn.Module) -> str:
    """Their `conv.weight`, `bn.bias`, or `weight` of a plain layer, at our `scope`."""
    inner = {"conv": "convolution", "bn": "norm"}.get(part)
    if inner is None:
        inner = "convolution" if isinstance(model.get_submodule(scope), Convolution) else ""
    return ".".join(piece for piece in (scope, inner, kind) if piece)


def place(model: nn.Module, name: str, state: Mapping[str, Tensor], source: str) -> Placed:
    """The tensors of a state dict of `source` (torchvision or timm) under the names of `model`, the catalog's `name`.

    Raises: WeightsError, for a network that `source` has not.
    """
    if (source, name) not in SOURCES:
        known = [f"{theirs} {model_name}" for theirs, model_name in SOURCES]
        raise WeightsError(f"no weights of {printable(source)} for {name}{nearest(f'{source} {name}', known)}")
    rename = SOURCES[source, name](model)
    wanted = model.state_dict()
    placed = Placed()
    for key, tensor in state.items():
        layer, _, kind = key.rpartition(".")
        owner, _, part = layer.rpartition(".")
        target = None
        # A number that the network has not, in a name made up to look like one of its own.
        with contextlib.suppress(AttributeError, IndexError, AssertionError, ValueError):
            layer, part = (owner, part) if part in ("conv", "bn") and rename(owner) else (layer, "")
            scope = rename(layer)
            target = _leaf(scope, part, kind, model) if scope else None
        placed.put(key, target if target in wanted else None, tensor)
    return placed


def translate(model: nn.Module, name: str, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """`place`, with every key of `state` and every weight of `model` accounted for.

    Raises: WeightsError, for keys without a place, missing weights and wrong shapes.
    """
    placed = place(model, name, state, source)
    check(name, source, placed, model.state_dict())
    return placed.tensors
