"""A network's graph for TensorBoard, with the names that the network's author gave its parts.

torch's exporter names a node `Wrapper/Sequential[body]/Conv2d[first]/input.3`. Here it is
`NielsenNet/body/first/convolution`; constants, list builders and the like, which make up half of the nodes and say
nothing, are left out.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from deeper.models.noise import Dropout
from deeper.monitor.scopes import own_part

if TYPE_CHECKING:
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from torch.utils.tensorboard import SummaryWriter

_SCOPE = re.compile(r"^.*\[(.*)\]$")
# Nodes of these kinds carry no work. What they feed keeps its other inputs.
_SILENT = (
    "prim::Constant",
    "prim::ListConstruct",
    "prim::TupleConstruct",
    "prim::NumToTensor",
    "aten::Int",
    "aten::size",
)


class _Tensors(nn.Module):
    """A network that returns plain tensors, which is all that tracing takes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        output = self.model(images)
        if isinstance(output, Tensor):
            return (output,)
        return (output.logits, *output.aux)


def _still(model: nn.Module) -> nn.Module:
    """A copy in training mode, so that auxiliary heads and dropout are there; batch norm, which in training mode
    refuses a single picture, is in evaluation mode."""
    duplicate = copy.deepcopy(model).train()
    for module in duplicate.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
        elif isinstance(module, Dropout):
            module._key = None  # torch's own dropout, one node, instead of drawing the mask in NumPy
    return duplicate


def graph_of(model: nn.Module, sample: Tensor) -> GraphDef:
    """The graph of `model` on `sample` (normalised, 1 × C × H × W). The model and the generators stay untouched.

    Raises: whatever tracing raises for a network that cannot be traced.
    """
    # torch's own exporter without the part that runs the network four times and prints its warnings.
    from torch.utils.tensorboard._pytorch_graph import parse

    devices = [sample.device] if sample.is_cuda else []
    with torch.random.fork_rng(devices), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(_Tensors(_still(model)), (sample,), check_trace=False, strict=False)  # type: ignore[no-untyped-call]
        inlined = traced.inlined_graph
        # An `Output` is packed and unpacked on the way: of no interest.
        torch._C._jit_pass_lower_all_tuples(inlined)
        nodes = parse(inlined, traced, (sample,))  # type: ignore[no-untyped-call]
    # Above the network's own scopes stand our wrappers': `_Tensors`, and `Wrapped` around a user's network.
    wrappers = 2 if own_part(model) is model else 3
    return _readable(nodes, type(own_part(model)).__name__, wrappers)


def _readable(nodes: Sequence[Any], root: str, wrappers: int) -> GraphDef:
    """Shorter names, and every silent node replaced by what feeds it."""
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.compat.proto.versions_pb2 import VersionDef

    silent = {node.name: list(node.input) for node in nodes if node.op in _SILENT}
    kept = [node for node in nodes if node.name not in silent]
    names: dict[str, str] = {}
    taken: dict[str, int] = {}
    for node in kept:
        wanted = _name(node.name, node.op, root, wrappers)
        count = taken.get(wanted, 0)
        taken[wanted] = count + 1
        names[node.name] = wanted if count == 0 else f"{wanted}_{count}"

    def sources(name: str) -> Iterator[str]:
        if name in names:
            yield names[name]
        for behind in silent.get(name, ()):
            yield from sources(behind)

    for node in kept:
        inputs = list(dict.fromkeys(source for name in node.input for source in sources(name)))
        del node.input[:]
        node.input.extend(inputs)
        node.name = names[node.name]
    return GraphDef(node=kept, versions=VersionDef(producer=22))


def _name(name: str, kind: str, root: str, wrappers: int) -> str:
    *scopes, last = name.split("/")
    if kind == "IO Node":
        return "output" if "output" in (last.split(".")[0], *scopes) else "images"
    parts = [match.group(1) if (match := _SCOPE.match(scope)) else scope for scope in scopes]
    inner = parts[wrappers:] if parts[:1] == [_Tensors.__name__] else parts
    if kind == "prim::GetAttr":  # a parameter: its last scope is its name
        return "/".join([root, *inner])
    operation = kind.removeprefix("aten::").removeprefix("prim::").strip("_")
    return "/".join([root, *inner, operation])


def write_graph(writer: SummaryWriter, model: nn.Module, sample: Tensor) -> None:
    """Draw `model` and add it to the writer's event file."""
    from tensorboard.compat.proto.event_pb2 import Event

    event = Event(graph_def=graph_of(model, sample).SerializeToString())
    writer._get_file_writer().add_event(event)  # type: ignore[no-untyped-call]
