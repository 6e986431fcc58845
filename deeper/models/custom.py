"""A user's own network by import path: `--model my_package.nets:MyNet`."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deeper.errors import UsageError, nearest, printable
from deeper.models.output import Output


class Wrapped(nn.Module):
    """A plain module made to return an `Output`.

    The module may return the logits, or a tuple or list whose first tensor is the logits and whose further ones are
    those of auxiliary heads, or an `Output`. `features` are the input of the `nn.Linear` whose output is the logits
    (`probe` finds it; until then the last one of the logits' width); the logits themselves where there is none.

    Raises: UsageError, when it returns anything else.
    """

    def __init__(self, name: str, module: nn.Module, classes: int) -> None:
        super().__init__()
        self.name, self.classes = name, classes
        self.module = module
        self._features: Tensor | None = None
        # Not attributes of their own: the layers would bear two names.
        self._heads = tuple(
            layer for layer in module.modules() if isinstance(layer, nn.Linear) and layer.out_features == classes
        )
        self._head: tuple[nn.Linear, ...] = ()
        self._watched = self._heads[-1:]
        self._hook = self._watched[0].register_forward_pre_hook(self._keep) if self._watched else None

    @property
    def head(self) -> nn.Linear | None:
        """The layer that gives the logits; None where no `nn.Linear` does, or nobody has looked (`find_head`)."""
        return self._head[0] if self._head else None

    def find_head(self, images: Tensor) -> Output:
        """Run `images`, and see which of the layers gives the logits: the order in which a network registers its layers
        need not be that in which they run."""
        made: dict[int, Tensor] = {}

        def note(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            made.pop(id(layer), None)  # in the order in which they ran last
            made[id(layer)] = output

        weighted = [layer for layer in self.module.modules() if any(True for _ in layer.parameters(recurse=False))]
        hooks = [layer.register_forward_hook(note) for layer in weighted]
        try:
            output: Output = self(images)
        finally:
            for hook in hooks:
                hook.remove()
        known = {id(layer): layer for layer in self._heads}
        giving = [number for number, tensor in made.items() if tensor is output.logits]
        self._head = tuple(known[number] for number in giving if number in known)[-1:]
        # Where something is done to the logits after it, features are of the layer that ran last, if it can be the one.
        watched = self._head or tuple(known[number] for number in [*made][-1:] if number in known)
        if watched == self._watched:
            return output
        if self._hook is not None:
            self._hook.remove()
        self._watched = watched
        self._hook = watched[0].register_forward_pre_hook(self._keep) if watched else None
        again: Output = self(images)
        return again

    def _keep(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._features = inputs[0]

    def forward(self, images: Tensor) -> Output:
        self._features = None
        returned = self.module(images)
        features, self._features = self._features, None
        if isinstance(returned, Output):
            self._check(returned.logits, *returned.aux)
            auxiliary = returned.aux if self.training else ()
            return Output(returned.logits, auxiliary, returned.features.flatten(1))
        tensors = tuple(returned) if isinstance(returned, (tuple, list)) else (returned,)
        tensors = tuple(tensor for tensor in tensors if tensor is not None)
        if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
            kinds = ", ".join(type(tensor).__name__ for tensor in tensors) or "nothing"
            raise UsageError(f"{self.name} returned {kinds}; wanted a tensor of logits, or a tuple of such tensors")
        self._check(*tensors)
        features = tensors[0] if features is None else features.flatten(1)
        return Output(tensors[0], tensors[1:] if self.training else (), features)

    def _check(self, *logits: Tensor) -> None:
        for tensor in logits:
            if tensor.ndim != 2 or tensor.shape[1] != self.classes:
                given = " × ".join(map(str, tensor.shape))
                raise UsageError(
                    f"{self.name} returned a tensor of {given}; wanted logits of N × {self.classes} classes"
                )


def load_class(path: str) -> type[nn.Module]:
    """What `package.module:Class` names; the working directory is searched too.

    Importing runs the module's code: it is the user's own, named on the command line. Raises: UsageError.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name:
        raise UsageError(
            f"{printable(path)!r} is no import path; wanted package.module:Class, e.g. my_package.nets:MyNet"
        )
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the user's module does while it is imported
        advice = "run from the folder that holds it, or install it"
        if module_name.endswith(".py"):
            advice = (
                f"wanted a module's name, not its file's: {module_name.removesuffix('.py').replace('/', '.')}:{name}"
            )
        elif isinstance(error, SystemExit):
            advice = 'what a script does when it is run belongs under `if __name__ == "__main__":`'
        raise UsageError(
            f"{printable(path)}: importing {module_name} failed: {type(error).__name__}: {printable(error)}; {advice}"
        ) from error
    finally:
        if added:
            sys.path.remove(here)
    public = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
    if not hasattr(module, name):
        raise UsageError(f"{module_name} has no {printable(name)!r}{nearest(name, public)}")
    found = getattr(module, name)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        # Nothing else is ever called: a run folder of somebody else must not make us call what it likes.
        what = found.__name__ if isinstance(found, type) else f"a {type(found).__name__}"
        raise UsageError(f"{printable(path)} is {what}; wanted a class derived from torch.nn.Module")
    return found


def load_custom(path: str, sizes: Mapping[str, int], arguments: Mapping[str, Any]) -> nn.Module:
    """Build the user's network: those of `sizes` (classes, channels, height, width) that it takes, and `arguments`.

    Raises: UsageError, when it cannot be imported or built, is no `nn.Module`, or cannot take such pictures.
    """
    build = load_class(path)
    try:
        parameters: Mapping[str, inspect.Parameter] = inspect.signature(build).parameters
    except (TypeError, ValueError):
        parameters = {}
    open_ended = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    if not open_ended:
        for name in arguments:
            if name not in parameters:
                raise UsageError(f"{printable(path)} takes no argument {printable(name)!r}{nearest(name, parameters)}")
    taken = {name: value for name, value in sizes.items() if open_ended or name in parameters}
    try:
        module = build(**{**taken, **arguments})
    except Exception as error:  # the user's constructor may raise anything
        given = ", ".join(f"{name}={value!r}" for name, value in {**taken, **arguments}.items())
        raise UsageError(
            f"{printable(path)}({given}) failed: {type(error).__name__}: {printable(error)}; it should take classes=, "
            "and channels=, height=, width= where it needs them"
        ) from error
    wrapped = Wrapped(path, module, sizes["classes"])
    # One picture now tells what is wrong before any training, and gives lazy layers their shapes.
    probe(wrapped, sizes["channels"], sizes["height"], sizes["width"])
    return wrapped


def probe(model: Wrapped, channels: int, height: int, width: int) -> None:
    """Run one zero picture through `model` in evaluation mode. Raises: UsageError."""
    training = model.training
    try:
        with torch.no_grad():
            output = model.eval().find_head(torch.zeros(1, channels, height, width))
    except UsageError:
        raise
    except Exception as error:  # a user's forward may raise anything
        raise UsageError(
            f"{printable(model.name)} cannot take 1 × {channels} × {height} × {width}: "
            f"{type(error).__name__}: {printable(error)}"
        ) from error
    finally:
        model.train(training)
    if len(output.logits) != 1 or len(output.features) != 1:
        raise UsageError(
            f"{printable(model.name)} made {len(output.logits)} answers and {len(output.features)} rows of features of 1 × "
            f"{channels} × {height} × {width}; wanted one of each: a view or reshape takes pictures for more (flatten(1) "
            "keeps them apart)"
        )
