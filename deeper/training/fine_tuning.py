"""Weights that were trained before, trained on: layers that are frozen and thaw, lower rates for early layers, and what
batch norm does meanwhile. What the options mean stands at `deeper.training.options.FineTuning`.

The blocks of a network are taken in the order in which it registers them, which for every network of the catalog is
their order from input to output; a network of one's own should be written so too. What a container has of parameters
itself (an embedding of positions) comes before the layers in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from deeper.errors import UsageError, nearest
from deeper.models.custom import Wrapped
from deeper.training.course import Course
from deeper.training.options import FineTuning

# A module that holds more than this share of a network's layers is a container, and what it holds are the blocks.
_CONTAINER = 0.6
_AUXILIARY = re.compile(r"AuxLogits\w*")


@dataclass(frozen=True)
class Block:
    """A part of a network that is frozen and thawed as a whole. `name`: its path, with dots."""

    name: str
    module: nn.Module
    head: bool


def blocks(model: nn.Module) -> tuple[Block, ...]:
    """The parts of `model` that have parameters, from input to output: for the Inceptions their endpoints.

    The head is the last of them (of somebody's own network the one that gives the logits), and every auxiliary head.
    """
    found = list(_children(model, "", sum(1 for _ in _layers(model))))
    last = len(found) - 1
    if isinstance(model, Wrapped) and (giving := model.head) is not None:
        # Of somebody's own network the layer that gives the logits is known.
        holding = [number for number, (_, module) in enumerate(found) if giving in module.modules()]
        last = holding[-1] if holding else last
    return tuple(
        Block(name, module, head=number == last or bool(_AUXILIARY.fullmatch(name.removeprefix("module."))))
        for number, (name, module) in enumerate(found)
    )


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The modules that hold parameters themselves."""
    return (inner for inner in module.modules() if next(inner.parameters(recurse=False), None) is not None)


def _children(module: nn.Module, path: str, layers: int) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        inside = sum(1 for _ in _layers(child))
        own = [*child.parameters(recurse=False)]
        # A layer of PyTorch's is one piece, also where it has parts (attention).
        whole = bool(own) and (inside == 1 or type(child).__module__.startswith("torch.nn."))
        if inside > _CONTAINER * layers and not whole:
            if own:
                yield f"{path}{name}", nn.ParameterList(own)
            yield from _children(child, f"{path}{name}.", layers)
        elif inside:
            yield f"{path}{name}", child


class Freezing:
    """Which layers train at a step, and how batch norm behaves in it.

    Raises: UsageError, for a `freeze_until` that is no layer of the network.
    """

    def __init__(self, model: nn.Module, options: FineTuning) -> None:
        self.model, self.options = model, options
        self.blocks = blocks(model)
        # Whoever made the network may have frozen something for good.
        self._trainable = [weight for weight in model.parameters() if weight.requires_grad]
        self._norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        never = self._before(options.freeze_until)
        body = {id(weight) for block in self.blocks if not block.head for weight in block.module.parameters()}
        heads = {id(weight) for block in self.blocks if block.head for weight in block.module.parameters()}
        self._never = never - heads
        self._late = body - heads
        self._asleep: bool | None = None
        self._still: list[nn.Module] = []

    def _before(self, endpoint: str | None) -> set[int]:
        """The parameters that are registered before those of `endpoint`."""
        if endpoint is None:
            return set()
        path = endpoint.replace("/", ".")
        prefix = "module." if isinstance(self.model, Wrapped) else ""
        modules = dict(self.model.named_modules())
        module = modules.get(path) or modules.get(prefix + path)
        first = next(module.parameters(), None) if module is not None and path else None
        if first is None:
            names = [block.name.removeprefix(prefix) for block in self.blocks]
            raise UsageError(f"--freeze-until: the network has no layer {endpoint!r}{nearest(endpoint, names)}")
        before: set[int] = set()
        for weight in self.model.parameters():
            if weight is first:
                break
            before.add(id(weight))
        return before

    @property
    def thaws(self) -> bool:
        """Whether a training begins with steps of the head alone."""
        if self.options.freeze_epochs is not None:
            return self.options.freeze_epochs > 0
        return self.options.freeze_share > 0

    def frozen_steps(self, course: Course) -> int:
        """How many steps at the beginning of a training train only the head."""
        if self.options.freeze_epochs is not None:
            return course.steps_for(self.options.freeze_epochs)
        return round(self.options.freeze_share * course.steps)

    def begin(self, head_only: bool) -> None:
        """Put the network into training mode for a step; what is frozen computes as in evaluation."""
        self.model.train()
        if head_only is not self._asleep:
            self._apply(head_only)
        for module in self._still:
            module.training = False

    def _apply(self, head_only: bool) -> None:
        self._asleep = head_only
        frozen = self._never | self._late if head_only else self._never
        norms_frozen = self.options.batch_norm == "frozen"
        in_norms = {id(weight) for norm in self._norms for weight in norm.parameters(recurse=False)}
        for weight in self._trainable:
            weight.requires_grad_(id(weight) not in frozen and not (norms_frozen and id(weight) in in_norms))
            if not weight.requires_grad:
                weight.grad = None
        still = list(self._frozen_modules(frozen))
        if self.options.batch_norm != "train":
            still += self._norms
        self._still = list(dict.fromkeys(still))

    def _frozen_modules(self, frozen: set[int]) -> Iterator[nn.Module]:
        """Every module whose parameters are all frozen, with the modules in it. Those without any go with what is
        around them."""
        if not frozen:
            return
        for module in self.model.modules():
            weights = [id(weight) for weight in module.parameters()]
            if weights and all(weight in frozen for weight in weights):
                yield from module.modules()

    def by_batch(self, *, head_only: bool = False) -> tuple[str, ...]:
        """Names of the batch-norm layers that use each batch's own statistics at the end of a training; `head_only`:
        of one that ended before the body thawed."""
        if self.options.batch_norm != "train":
            return ()
        still = {id(module) for module in self._frozen_modules(self._never | self._late if head_only else self._never)}
        return tuple(
            name
            for name, module in self.model.named_modules()
            if isinstance(module, _BatchNorm) and id(module) not in still
        )

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Parameter groups for an optimizer. `scale` multiplies the rate; weights in one group thaw together.

        Biases and batch-norm parameters do not decay. Without any option of fine-tuning: the decaying weights, then the
        others, as if there were no fine-tuning.
        """
        scales = self._scales()
        groups: dict[tuple[Any, ...], dict[str, Any]] = {}
        for decays in (True, False):
            for weight in self._trainable:
                if (weight.ndim > 1) is not decays:
                    continue
                scale = scales.get(id(weight), 1.0)
                key = (decays, id(weight) in self._never, self.thaws and id(weight) in self._late, scale)
                group = {"params": [], "weight_decay": weight_decay if decays else 0.0}
                if scale != 1.0:
                    group["scale"] = scale
                groups.setdefault(key, group)["params"].append(weight)
        return list(groups.values())

    def _scales(self) -> dict[int, float]:
        """Of each parameter, what its rate is multiplied with: 1 at the head, `layer_decay` once more for each block
        towards the input."""
        body = [block for block in self.blocks if not block.head]
        scales: dict[int, float] = {}
        for above, block in enumerate(reversed(body), 1):
            for weight in block.module.parameters():
                scales[id(weight)] = self.options.layer_decay**above
        return scales
