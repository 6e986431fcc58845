"""Other people's names for weights → ours.

Each source has a function from the name of one of their layers to the scope of ours. Branches are addressed by number
and position (`Mixed_5b`, branch 1, second convolution), which all the sources agree on, whatever they call them.
Nothing is guessed: a name without a place, a place without a weight and a wrong shape are errors that say which.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from deeper.errors import UsageError, nearest, printable
from deeper.models.blocks import Convolution
from deeper.models.mixed import Branch

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
        if layer == "classif":
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


def translate(model: nn.Module, name: str, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """A state dict of `source` (torchvision or timm) under the names of `model`, which is the catalog's `name`.

    Every key of `state` is placed or named in an error; so is every weight of `model` that gets none.

    Raises: UsageError, for keys without a place, missing weights and wrong shapes.
    """
    if (source, name) not in SOURCES:
        known = [f"{theirs} {model_name}" for theirs, model_name in SOURCES]
        raise UsageError(f"no weights of {printable(source)} for {name}{nearest(f'{source} {name}', known)}")
    rename = SOURCES[source, name](model)
    wanted = model.state_dict()
    placed: dict[str, Tensor] = {}
    unplaced: list[str] = []
    for key, tensor in state.items():
        layer, _, kind = key.rpartition(".")
        owner, _, part = layer.rpartition(".")
        layer, part = (owner, part) if part in ("conv", "bn") and rename(owner) else (layer, "")
        scope = rename(layer)
        target = _leaf(scope, part, kind, model) if scope else None
        if target is None or target not in wanted:
            unplaced.append(key)
        else:
            placed[target] = tensor
    check(name, source, unplaced, placed, wanted)
    return placed


def check(
    name: str, source: str, unplaced: list[str], placed: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> None:
    """Raises: UsageError, unless everything is placed, with the right shape."""
    missing = [key for key in wanted if key not in placed and not key.endswith("num_batches_tracked")]
    for key, tensor in placed.items():
        if tensor.shape != wanted[key].shape:
            given, shape = (" × ".join(map(str, value.shape)) for value in (tensor, wanted[key]))
            raise UsageError(f"{source} weights for {name}: {key} is {given}, wanted {shape}")
    if unplaced or missing:
        parts = [f"no place for {', '.join(unplaced[:3])}{' …' * (len(unplaced) > 3)}"] if unplaced else []
        parts += [f"nothing for {', '.join(missing[:3])}{' …' * (len(missing) > 3)}"] if missing else []
        raise UsageError(
            f"{source} weights do not fit {name}: {'; '.join(parts)} "
            f"({len(unplaced)} and {len(missing)} names); build it with the preset {source!r}"
        )


def in_order(model: nn.Module) -> Iterator[tuple[str, Convolution]]:
    """The convolutions of the trunk in the order of the figure, which is the order in which Keras creates its own."""
    for scope, module in model.named_modules():
        if isinstance(module, Convolution) and not scope.startswith("AuxLogits"):
            yield scope, module


def from_keras_arrays(model: nn.Module, name: str, layers: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Keras' weights under the names of `model`. `layers`: layer name → variable name → array, as its `.h5` files have.

    Keras numbers its layers as they are created (conv2d, conv2d_1, …; the count need not begin at 0), so they are
    taken in that order. Kernels come as height × width × inputs × outputs.

    Raises: UsageError, for layers without a place, missing weights and wrong shapes.
    """

    def numbered(stem: str) -> list[str]:
        found = [layer for layer in layers if re.fullmatch(rf"{stem}(_\d+)?", layer)]
        return sorted(found, key=lambda layer: int(layer[len(stem) + 1 :] or 0))

    wanted = model.state_dict()
    placed: dict[str, Tensor] = {}
    used: set[str] = set()

    def put(layer: str, scope: str, names: Mapping[str, str]) -> None:
        used.add(layer)
        for theirs, ours in names.items():
            if theirs in layers.get(layer, {}):
                tensor = torch.as_tensor(layers[layer][theirs])
                axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(tensor.ndim, (0,))
                placed[f"{scope}.{ours}"] = tensor.permute(axes).contiguous()

    norm = {"beta": "norm.bias", "moving_mean": "norm.running_mean", "moving_variance": "norm.running_var"}
    convolutions, norms = numbered("conv2d"), numbered("batch_normalization")
    plain = zip(convolutions, norms, strict=False)
    for scope, _ in in_order(model):
        residual = re.search(r"(block\d+_\d+|Block8)\.Conv2d_1x1$", scope)
        if residual:
            block = residual[1].replace("Block8", "block8_10")
            put(f"{block}_conv", scope, {"kernel": "convolution.weight", "bias": "convolution.bias"})
        elif scope == "Conv2d_7b_1x1":
            put("conv_7b", scope, {"kernel": "convolution.weight"})
            put("conv_7b_bn", scope, norm)
        elif pair := next(plain, None):
            put(pair[0], scope, {"kernel": "convolution.weight"})
            put(pair[1], scope, norm)
    put("predictions", "Logits", {"kernel": "weight", "bias": "bias"})
    check(name, "keras", [layer for layer in layers if layer not in used], placed, wanted)
    return placed
