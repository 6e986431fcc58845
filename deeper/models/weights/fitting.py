"""Weights into a network of another last layer, other channels, with or without auxiliary heads; all accounted for."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deeper.errors import WeightsError, printable
from deeper.models.custom import Wrapped
from deeper.models.weights.foreign import Weights
from deeper.models.weights.placed import HEAD, shape_text

_AUXILIARY = re.compile(r"AuxLogits\w*\.")


@dataclass(frozen=True)
class Fitted:
    """What became of every weight: names of ours, each in one of these.

    `loaded`: as it was. `adapted`: the input layer, for another number of channels. `replaced`: last layers of another
    class count, which begin at random. `begun`: what the file has not and begins as the network makes it. `dropped`:
    what the network has no place for (auxiliary heads that it is built without).
    """

    loaded: tuple[str, ...]
    adapted: tuple[str, ...]
    replaced: tuple[str, ...]
    begun: tuple[str, ...]
    dropped: tuple[str, ...]

    def describe(self, weights: Weights, classes: int, channels: int) -> str:
        """One line for people."""
        parts = [f"{len(self.loaded)} loaded"]
        if self.replaced:
            # Auxiliary heads may be for other classes than the last layer.
            given_heads = [weights.tensors[name] for name in self.replaced if HEAD.fullmatch(name)]
            counts = sorted({len(tensor) for tensor in given_heads if tensor.ndim} or {weights.classes or classes})
            given = f"{' and '.join(map(str, counts))} class{'es' * (counts != [1])}"
            heads = sorted({name.rpartition(".")[0] for name in self.replaced})
            parts.append(f"{', '.join(heads)} replaced ({given} → {classes})")
        if self.adapted:
            way = "summed" if channels < weights.channels else "spread evenly"
            parts.append(f"{self.adapted[0]} {way} for {channels} instead of {weights.channels} channels")
        for what, names in (("begun anew", self.begun), ("not used", self.dropped)):
            if names:
                scopes = sorted({name.partition(".")[0] for name in names})
                parts.append(f"{', '.join(scopes[:3])}{' …' * (len(scopes) > 3)} {what}")
        return f"weights of {weights.model} by {weights.source}: {'; '.join(parts)}"


@torch.no_grad()
def fit(model: nn.Module, weights: Weights, *, classes: int, channels: int, head: bool = True) -> Fitted:
    """Load `weights` into `model`, a network of `classes` and `channels`; what it has beyond them stays as it is.

    `head`: whether a last layer of the right class count is loaded; it is not where the classes are known to be others.

    Raises: WeightsError, naming a weight that has no place, no value or the wrong shape; `model` is unchanged then.
    """
    own = model.state_dict()
    last = set() if head else _last_layer(model, classes)
    state: dict[str, Tensor] = {}
    loaded, adapted, replaced, dropped = [], [], [], []
    for name, tensor in weights.tensors.items():
        if name not in own:
            if not _AUXILIARY.match(name):
                raise _misfit(weights, f"the network has no {printable(name, 80)}")
            dropped.append(name)
            continue
        wanted = own[name]
        if name in last or (not head and HEAD.fullmatch(name)):
            replaced.append(name)
        elif tensor.shape == wanted.shape:
            state[name] = tensor
            loaded.append(name)
        elif _is_head(name, tensor, wanted, weights.classes, classes):
            replaced.append(name)
        elif (turned := _for_channels(tensor, wanted, weights.channels, channels)) is not None:
            state[name] = turned
            adapted.append(name)
        else:
            what = f"{name} is {shape_text(tensor)}, the network's {shape_text(wanted)}"
            if weights.channels != channels and wanted.ndim == 4 and wanted.shape[1] == channels:
                what += (
                    f": it takes {channels} channels, they {weights.channels}, and only 1 and 3 are made of one another"
                )
            raise _misfit(weights, what)
    begun = []
    for name in own:
        if name in state or name in replaced:
            continue
        # A scale that they have not is the 1 that ours begins at.
        if not (_AUXILIARY.match(name) or HEAD.fullmatch(name) or name.endswith(("norm.weight", "_tracked"))):
            raise _misfit(weights, f"they have no {name}")
        begun.append(name)
    for name, tensor in state.items():
        own[name].copy_(tensor)
    return Fitted(tuple(loaded), tuple(adapted), tuple(replaced), tuple(begun), tuple(dropped))


def _misfit(weights: Weights, what: str) -> WeightsError:
    return WeightsError(
        f"the weights {printable(weights.name)} ({weights.model} by {weights.source}) do not fit the network: {what}; "
        "build it with their arguments, which it gets when none are set, and at the size and channels that they were "
        "trained at"
    )


def _is_head(name: str, given: Tensor, wanted: Tensor, theirs: int | None, ours: int) -> bool:
    """Whether this is a last layer that differs in the number of classes alone."""
    same_inputs = given.shape[1:] == wanted.shape[1:]
    if not given.ndim or not wanted.ndim or wanted.shape[0] != ours or not same_inputs:
        return False
    # A network of someone's own may name its last layer as it likes.
    return bool(HEAD.fullmatch(name)) or given.shape[0] == theirs


def _last_layer(model: nn.Module, classes: int) -> set[str]:
    """Names in the state dict of what belongs to the last layer, whatever it is called: the last `nn.Linear` with an
    output per class (of somebody's own network the one that gives the logits), else the last layer with a matrix or kernel of as many rows; empty where there is neither."""
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer.out_features == classes]
    if linear:
        layer = (model.head if isinstance(model, Wrapped) else None) or linear[-1]
        held = [*layer.parameters(), *layer.buffers()]
    else:
        own = [[*layer.parameters(recurse=False)] for layer in model.modules()]
        with_rows = [found for found in own if any(weight.ndim > 1 and len(weight) == classes for weight in found)]
        held = [weight for weight in with_rows[-1] if weight.ndim and len(weight) == classes] if with_rows else []
    # A layer may be reached under several names.
    wanted = {id(tensor) for tensor in held}
    named = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    return {name for name, tensor in named if id(tensor) in wanted}


def _for_channels(given: Tensor, wanted: Tensor, theirs: int, ours: int) -> Tensor | None:
    """An input layer's kernels for another number of channels: summed for one, which answers a grey picture as theirs
    did a colour picture of three equal channels; spread evenly from one to three. None where neither applies."""
    if given.ndim != 4 or wanted.ndim != 4 or given.shape[1] != theirs or wanted.shape[1] != ours:
        return None
    if given.shape[0] != wanted.shape[0] or given.shape[2:] != wanted.shape[2:]:
        return None
    if ours == 1:
        return given.sum(1, keepdim=True)
    return given.expand(-1, ours, -1, -1) / ours if theirs == 1 else None
