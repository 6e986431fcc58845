"""What stands in a network's graph, and that drawing it leaves nothing behind."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeper.models import MODELS, Architecture, create
from deeper.monitor.graph import graph_of


def nodes_of(model: nn.Module, *shape: int) -> dict[str, Any]:
    graph = graph_of(model, torch.rand(1, *shape))
    nodes = {node.name: node for node in graph.node}
    assert len(nodes) == len(graph.node)
    assert all(source in nodes for node in graph.node for source in node.input)
    return nodes


def ways_back(nodes: dict[str, Any], name: str) -> set[str]:
    seen: set[str] = set()
    todo = [name]
    while todo:
        if (one := todo.pop()) not in seen:
            seen.add(one)
            todo += nodes[one].input
    return seen


@pytest.mark.parametrize("name", MODELS)
def test_every_convolution_lies_between_the_pictures_and_an_answer(name: str) -> None:
    side = MODELS[name].smallest
    model = create(Architecture(model=name, classes=5, channels=3, height=side, width=side))
    nodes = nodes_of(model, 3, side, side)
    convolutions = {node.name.rpartition("/")[0] for node in nodes.values() if node.op == "conv2d"}
    root = type(model).__name__
    wanted = {f"{root}/{n.replace('.', '/')}" for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    assert convolutions == wanted
    reached = set().union(*(ways_back(nodes, node.name) for node in nodes.values() if node.op == "Output"))
    assert "images" in reached and {node.name for node in nodes.values() if node.op == "conv2d"} <= reached


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


class Odd(nn.Module):
    """What tracing could not follow: a branch on a number, an operator of one's own, a shared layer, in-place work."""

    def __init__(self) -> None:
        super().__init__()
        self.once = nn.Conv2d(1, 1, 3, padding=1)
        self.doubled = _Applied()
        self.logits = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.once(images)
        if x.mean().item() > -100:
            x = self.once(x)
        x += self.doubled(x)
        left, right = x.flatten(1).chunk(2, dim=1)
        return self.logits(torch.cat([right, left], 1))


class _Applied(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Doubled.apply(x)


def test_operators_are_named_as_they_are_written() -> None:
    nodes = nodes_of(Odd(), 1, 4, 4)
    assert list(nodes["Odd/once/conv2d"].input) == ["images", "Odd/once/weight", "Odd/once/bias"]
    assert nodes["Odd/once/conv2d_1"].input[0] == "Odd/once/conv2d"
    assert nodes["Odd/once/weight"].op == "Parameter"
    (by_module,) = [node for node in nodes.values() if node.name.startswith("Odd/doubled/")]
    assert list(by_module.input) == ["Odd/once/conv2d_1"]
    assert list(nodes["Odd/add"].input) == ["Odd/once/conv2d_1", by_module.name]
    assert [[side.size for side in one.dim] for one in nodes["Odd/chunk"].attr["_output_shapes"].list.shape] == [
        [1, 8]
    ] * 2
    assert nodes["Odd/chunk"].attr["arguments"].s == b"2, dim=1"
    assert list(nodes["output"].input) == ["Odd/logits/linear"]


def test_nothing_is_left_and_nothing_changed() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten(), nn.Linear(16, 2)).eval()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    sample, state = torch.rand(1, 1, 4, 4), torch.random.get_rng_state()
    graph_of(model, sample)
    assert torch.equal(torch.random.get_rng_state(), state) and not model.training
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    gone = weakref.ref(sample)
    del sample
    gc.collect()
    assert gone() is None
