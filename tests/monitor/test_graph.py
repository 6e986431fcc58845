"""What stands in a network's graph, and that drawing it leaves nothing behind."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from deeper.models import MODELS, Architecture, create
from deeper.monitor.activations import watched
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


class Gathers(nn.Module):
    """Its features come through hooks of its own, which belong to the live network."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.first, self.second = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 3)
        for layer in (self.first, self.second):
            layer.register_forward_hook(lambda module, inputs, output: self.seen.append(output.mean((2, 3))))
        self.norm, self.logits = nn.BatchNorm1d(5), nn.Linear(5, 2)
        self.own = torch.Generator().manual_seed(3)

    def forward(self, images: Tensor) -> Tensor:
        self.second(self.first(images.mul_(1)))
        found, self.seen = torch.cat(self.seen, 1), []
        return self.logits(self.norm(found) + torch.rand(5, generator=self.own))

    def __deepcopy__(self, memo: Any) -> Any:
        raise RuntimeError("cannot be copied")


def test_the_live_network_is_left_as_it_was() -> None:
    model = Gathers().train()
    sample, state = torch.rand(1, 1, 8, 8), model.own.get_state()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    graph = graph_of(model, sample)
    assert "Gathers/cat" in {node.name for node in graph.node}
    assert model.seen == [] and model.norm.training and torch.equal(model.own.get_state(), state)
    assert all(torch.equal(one, before[name]) for name, one in model.state_dict().items())
    assert [len(part._forward_hooks) for part in model.modules()] == [0, 1, 1, 0, 0]
    assert not any(part._forward_pre_hooks for part in model.modules())


class Doubles(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images * 2


def test_compiled_parts_are_passed_over() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), torch.jit.script(Doubles()), nn.Flatten(), nn.Linear(8, 2))
    nodes = nodes_of(model, 1, 4, 4)
    assert "images" in ways_back(nodes, "Sequential/0/conv2d") and list(nodes["output"].input) == [
        "Sequential/3/linear"
    ]
    event = SimpleNamespace(model=model, again=lambda: model(torch.rand(2, 1, 4, 4)))
    seen, _ = watched(event)  # type: ignore[arg-type]
    assert any("0" in name for name in seen)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


def test_hooks_are_taken_away_where_watching_fails() -> None:
    """One more pair stayed at every look, each with copies of all activations."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3))

    def fails(*hook: object) -> None:
        raise RuntimeError("no hooks here")

    model[0].register_forward_pre_hook = fails  # type: ignore[assignment]
    event = SimpleNamespace(model=model, again=lambda: None)
    with pytest.raises(RuntimeError, match="no hooks here"):
        watched(event)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="no hooks here"):
        graph_of(model, torch.rand(1, 1, 4, 4))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
