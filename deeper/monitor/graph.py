"""A network's graph for TensorBoard, with the names that its author gave its parts: `NielsenNet/conv1/convolution/conv2d`.

The network runs once, on one picture, while every call of an operator is watched: what it is given and what it returns,
told by the tensors' identity, and which module is running. So there is nothing that a network must do without to be
drawn, and nothing stays behind: `torch.jit.trace`, by which torch's own exporter goes, keeps every graph that it has
seen for as long as the process lives, and is deprecated.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from deeper.models import kernels
from deeper.models.noise import Dropout
from deeper.models.untouched import untouched
from deeper.monitor.scopes import layer_name, own_part

if TYPE_CHECKING:
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from torch.utils.tensorboard import SummaryWriter

# Of an operator's other arguments so many characters are shown.
_LONGEST = 200


class _Recorder(TorchFunctionMode):
    """The graph of what runs while this mode is on: `graph`, and `makers`, the node behind each tensor.

    `scopes`: the modules that run now, outermost first.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        from tensorboard.compat.proto.graph_pb2 import GraphDef
        from tensorboard.compat.proto.versions_pb2 import VersionDef

        self.graph = GraphDef(versions=VersionDef(producer=22))
        self.scopes: list[str] = [type(model).__name__]
        # The tensors are held, so that none takes the identity of another one.
        self.makers: dict[int, tuple[str, Tensor]] = {}
        self._names: dict[str, int] = {}
        self._weights = {
            id(tensor): (f"{self.scopes[0]}/{layer_name(name)}", kind)
            for kind, tensors in (("Parameter", model.named_parameters()), ("Buffer", model.named_buffers()))
            for name, tensor in tensors
        }

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # Asked before it runs: what works in place gives back the tensor that it was given.
        given = list(dict.fromkeys(self._sources((args, kwargs))))
        result = func(*args, **(kwargs or {}))
        made = list(_tensors(result))
        if made:
            self.add(f"{self.scopes[-1]}/{_operator(func)}", _operator(func), given, made, _others(args, kwargs))
        return result

    def add(self, name: str, kind: str, given: Sequence[str], made: Sequence[Tensor], others: str = "") -> None:
        """A node, numbered where there is one of its name, that makes these tensors of those nodes'."""
        from tensorboard.compat.proto.attr_value_pb2 import AttrValue
        from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

        number = self._names.get(name, 0)
        self._names[name] = number + 1
        node = self.graph.node.add(name=f"{name}_{number}" if number else name, op=kind, input=given)
        shapes = [TensorShapeProto(dim=[TensorShapeProto.Dim(size=side) for side in one.shape]) for one in made]
        node.attr["_output_shapes"].CopyFrom(AttrValue(list=AttrValue.ListValue(shape=shapes)))
        if others:
            node.attr["arguments"].s = others.encode()
        self.makers.update({id(one): (node.name, one) for one in made})

    def _sources(self, values: Any) -> Iterator[str]:
        """The nodes that made these tensors. What nobody made is a weight, or a number of the network's own."""
        for tensor in _tensors(values):
            if id(tensor) not in self.makers and id(tensor) in self._weights:
                self.add(*self._weights[id(tensor)], [], [tensor])
            if id(tensor) in self.makers:
                yield self.makers[id(tensor)][0]

    # What modules are told when they begin and end

    def enter(self, name: str) -> None:
        self.scopes.append("/".join([self.scopes[0], layer_name(name)]) if name else self.scopes[0])

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """What a module returns that no operator was seen to make, such as one of compiled code, the module makes."""
        unseen = [tensor for tensor in _tensors(output) if id(tensor) not in self.makers]
        if unseen:
            kind = type(module).__name__
            self.add(f"{self.scopes[-1]}/{kind}", kind, list(dict.fromkeys(self._sources(inputs))), unseen)
        self.scopes.pop()


def graph_of(model: nn.Module, sample: Tensor) -> GraphDef:
    """The graph of `model` on `sample` (normalised, 1 × C × H × W). The model and the generators stay untouched.

    Raises: whatever the network raises for one picture alone.
    """
    own, picture = own_part(model), sample.clone()  # a network may begin in place
    recorder = _Recorder(own)
    recorder.add("images", "Input", [], [picture])
    devices = [sample.device] if sample.is_cuda else []
    with untouched(model), contextlib.ExitStack() as hooks:
        for name, module in own.named_modules():
            if isinstance(module, torch.jit.ScriptModule):  # compiled: what it returns, the module around it makes
                continue
            before = module.register_forward_pre_hook(lambda _module, _inputs, name=name: recorder.enter(name))
            hooks.callback(before.remove)
            hooks.callback(module.register_forward_hook(recorder.leave).remove)
        _quieten(model)
        with torch.random.fork_rng(devices), torch.no_grad(), kernels.switched_off(), recorder:
            output = model(picture)
    for answer in (output,) if isinstance(output, Tensor) else (output.logits, *output.aux):
        if id(answer) in recorder.makers:
            recorder.add("output", "Output", [recorder.makers[id(answer)][0]], [answer])
    return recorder.graph


def _quieten(model: nn.Module) -> None:
    """Training mode, so that auxiliary heads and dropout are there; batch norm, which in training mode refuses a single
    picture, in evaluation mode."""
    for module in model.modules():
        module.training = not isinstance(module, nn.modules.batchnorm._BatchNorm)
        if isinstance(module, Dropout):
            module._key = None  # torch's own dropout, one node, instead of drawing the mask in NumPy


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in a value, through lists, mappings and named tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _tensors(one)


def _operator(func: Any) -> str:
    """`conv2d`, `relu`; `add` for `+`; `shape` for what reads an attribute."""
    name = getattr(func, "__name__", type(func).__name__)
    if name == "__get__":
        name = getattr(func.__self__, "__name__", name)
    return str(name).strip("_") or "call"


def _others(args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> str:
    """The arguments that are no tensors, in short: strides, paddings, axes. Not in which mode it ran: see `_quieten`."""
    plain = [repr(one) for one in args if one is not None and not list(_tensors(one))]
    kept = {name: one for name, one in (kwargs or {}).items() if name != "training"}
    named = [f"{name}={one!r}" for name, one in kept.items() if not list(_tensors(one))]
    return ", ".join(plain + named)[:_LONGEST]


def write_graph(writer: SummaryWriter, model: nn.Module, sample: Tensor) -> None:
    """Draw `model` and add it to the writer's event file."""
    from tensorboard.compat.proto.event_pb2 import Event

    event = Event(graph_def=graph_of(model, sample).SerializeToString())
    writer._get_file_writer().add_event(event)  # type: ignore[no-untyped-call]
