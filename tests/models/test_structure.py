"""The blocks that a network is found to be made of, against what its paper and TF-Slim's endpoints say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from deeper.errors import UsageError
from deeper.models import MODELS, Architecture
from deeper.models.dataflow import Operation, follow
from deeper.models.describe import describe
from deeper.models.nesting import Parallel, Series, nest, operations_of
from deeper.models.structure import Structure, collapsed, structure


def of(name: str, size: int | None = None) -> Structure:
    side = size or MODELS[name].native
    return structure(Architecture(model=name, classes=1000, channels=3, height=side, width=side))


def shown(series: Series) -> str:
    """`[1x1:64 | 1x1:48 5x5:64] cat`."""
    words = []
    for item in series:
        if isinstance(item, Parallel):
            words.append("[" + " | ".join(shown(branch) or "same" for branch in item.branches) + "]")
        elif item.kind == "convolution":
            stride = f"/{item.stride[0]}" if item.stride[0] > 1 else ""
            words.append(f"{item.kernel[0]}x{item.kernel[1]}{stride}:{item.shape[0]}")
        else:
            words.append(item.kind[:3])
    return " ".join(words)


@pytest.mark.parametrize("name", MODELS)
def test_it_agrees_with_the_layer_table(name: str) -> None:
    side = MODELS[name].native
    architecture = Architecture(model=name, classes=10, channels=3, height=side, width=side)
    found, table = structure(architecture), describe(architecture)
    assert found.parameters == table.parameters and found.multiply_adds == table.multiply_adds
    assert sum(sum(block.parameters) for block in found.blocks) == found.parameters
    ways = [block for block in found.blocks if block.role != "auxiliary"]
    assert sum(sum(block.multiply_adds) for block in ways) == found.multiply_adds
    assert ways[-1].shape == (10,)


def test_inception_v3_is_the_one_of_the_paper() -> None:
    found = of("inception_v3")
    # research/slim/nets/inception_v3_test.py, testBuildAndCheckAllEndPointsUptoMixed7c.
    shapes = {block.names[0]: block.shape for block in found.blocks}
    assert shapes["Conv2d_1a_3x3"] == (32, 149, 149) and shapes["MaxPool_5a_3x3"] == (192, 35, 35)
    assert shapes["Mixed_5b"] == (256, 35, 35) and shapes["Mixed_6e"] == (768, 17, 17)
    assert shapes["Mixed_7c"] == (2048, 8, 8)
    roles = {block.names[0]: block.role for block in found.blocks}
    assert [name for name, role in roles.items() if role == "stem"][-1] == "MaxPool_5a_3x3"
    assert [name for name, role in roles.items() if role == "reduction"] == ["Mixed_6a", "Mixed_7a"]
    assert [name for name, role in roles.items() if role == "classifier"] == ["global_average", "Logits"]
    by_name = {block.names[0]: block for block in found.blocks}
    assert shown(by_name["Mixed_5b"].series) == "[1x1:64 | 1x1:48 5x5:64 | 1x1:64 3x3:96 3x3:96 | ave 1x1:32] con"
    assert shown(by_name["Mixed_6a"].series) == "[3x3/2:384 | 1x1:64 3x3:96 3x3/2:96 | max] con"
    fork = "[1x3:384 | 3x1:384] con"
    assert shown(by_name["Mixed_7b"].series) == f"[1x1:320 | 1x1:384 {fork} | 1x1:448 3x3:384 {fork} | ave 1x1:192] con"
    head = by_name["AuxLogits"]
    assert head.role == "auxiliary" and head.attached_to == "Mixed_6e"
    assert shown(head.series) == "ave 1x1:128 5x5:768 glo lin"


def test_heads_and_residuals_of_the_others() -> None:
    assert [block.attached_to for block in of("inception_v1").blocks if block.attached_to] == ["Mixed_4b", "Mixed_4e"]
    found = of("inception_resnet_v2")
    counts = {block.names[0]: block.count for block in collapsed(found.blocks) if block.role == "residual"}
    assert counts == {"Repeat/block35_1": 10, "Repeat_1/block17_1": 20, "Repeat_2/block8_1": 9, "Block8": 1}
    block = next(block for block in found.blocks if block.names[0] == "Repeat/block35_1")
    branches = "[1x1:32 | 1x1:32 3x3:32 | 1x1:32 3x3:48 3x3:64]"
    assert shown(block.series) == f"[{branches} con 1x1:320 | same] add"
    assert isinstance(block.series[-1], Operation) and block.series[-1].scale == 0.17
    stem = [block.names[0] for block in of("inception_v4").blocks if block.role == "stem"]
    assert stem[-3:] == ["Mixed_3a", "Mixed_4a", "Mixed_5a"], "figure 3 of the paper"


def test_a_head_can_be_left_out_and_sizes_are_those_asked_for() -> None:
    one = Architecture(model="inception_v3", classes=5, channels=1, height=75, width=75, arguments={"auxiliary": False})
    found = structure(one)
    assert all(block.role != "auxiliary" for block in found.blocks)
    assert {block.names[0]: block.shape for block in found.blocks}["Mixed_7c"] == (2048, 1, 1)


NETS = """
import torch
from torch import nn
from torch.nn import functional as F

class Residual(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.inside = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Linear(8, classes)

    def forward(self, x):
        x = F.relu(self.first(x))
        x = x + F.relu(self.norm(self.inside(x)))
        return self.last(x.mean((2, 3)))

class Dense(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(3 + 4 * number, 4, 3, padding=1) for number in range(4))
        self.last = nn.Linear(19, classes)

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, torch.relu(layer(x))], 1)
        return self.last(x.mean((2, 3)))

class Crossed(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.c, self.d = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.last = nn.Linear(4, classes)

    def forward(self, x):
        a, b = self.a(x), self.b(x)
        return self.last((self.c(a + b) + self.d(a) + b).mean((2, 3)))

class Picky(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(classes))

    def forward(self, x):
        if self.training:
            raise RuntimeError("only in batches of 64")
        return self.layers(x)
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module with networks of one's own."""
    name = f"nets_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize(
    ("net", "names"),
    [
        ("Residual", ["first", "inside", "global_average", "last"]),
        ("Dense", None),
        ("Crossed", None),
        ("Picky", ["layers/0", "layers/3"]),
    ],
)
def test_networks_of_ones_own(nets: str, net: str, names: list[str] | None) -> None:
    found = structure(Architecture(model=f"{nets}:{net}", classes=7, channels=3, height=16, width=16))
    assert sum(sum(block.parameters) for block in found.blocks) == found.parameters
    assert found.blocks[-1].shape == (7,)
    if names is not None:
        assert [block.names[0] for block in found.blocks] == names
    if net == "Residual":
        assert found.blocks[1].role == "residual" and shown(found.blocks[1].series) == "[3x3:8 | same] add"


def test_paths_that_cross_become_a_list_of_all_operations() -> None:
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.start, self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
            self.c, self.d = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.start(x)
            a, b = self.a(x), self.b(x)
            return self.c(a + b) + self.d(a)

    operations, (last,) = follow(Crossed().eval(), torch.zeros(1, 3, 8, 8))
    series = nest(operations, last)
    assert all(isinstance(item, Operation) for item in series)
    assert [item.kind for item in series if isinstance(item, Operation)].count("convolution") == 5
    assert len(series) == len(operations) - 1


def test_hooks_are_taken_away_again() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    follow(model, torch.zeros(1, 3, 8, 8))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'inception_v3'"):
        structure(Architecture(model="inception_v33", classes=2, channels=3, height=99, width=99))


def test_paths_that_cross_in_a_branch_of_a_fork_are_listed_once() -> None:
    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.b, self.c, self.d = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
            self.e = nn.Conv2d(8, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            c, b = self.c(x), self.b(x)
            return torch.cat([self.d(b), self.e(torch.cat([b, c], 1))], 1)

    operations, (last,) = follow(Crossed().eval(), torch.zeros(1, 3, 8, 8))
    scopes = [one.scope for one in operations_of(nest(operations, last)) if one.kind == "convolution"]
    assert sorted(scopes) == ["b", "c", "d", "e"]


def test_multiply_adds_of_tokens_are_those_of_a_picture() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mixed = nn.Linear(3, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.mixed(x.flatten(2).transpose(1, 2))

    operations, _ = follow(Tokens().eval(), torch.zeros(2, 3, 4, 4))
    assert [one.multiply_adds for one in operations if one.kind == "linear"] == [16 * 3 * 5]
