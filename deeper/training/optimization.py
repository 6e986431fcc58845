"""From optimizer options to a torch optimizer, and TensorFlow's RMSProp."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import nn

from deeper.errors import UsageError
from deeper.training.optimizers import AdamW, AnyOptimizer, RmsProp, Sgd


class TensorFlowRmsProp(torch.optim.Optimizer):
    """RMSProp of TensorFlow 1 (`tensorflow/core/kernels/training_ops`, `ApplyRMSProp`):

        accumulator ← decay · accumulator + (1 − decay) · gradient²          (starts at ones)
        buffer      ← momentum · buffer + rate · gradient / √(accumulator + epsilon)
        weight      ← weight − buffer

    `weight_decay` is coupled: it is added to the gradient as `weight_decay · weight`.
    """

    def __init__(
        self,
        parameters: Iterable[dict[str, Any]],
        *,
        lr: float,
        decay: float,
        momentum: float,
        epsilon: float,
    ) -> None:
        defaults = {"lr": lr, "decay": decay, "momentum": momentum, "epsilon": epsilon, "weight_decay": 0.0}
        super().__init__(parameters, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            for weight in weights:
                if "accumulator" not in self.state[weight]:
                    self.state[weight]["accumulator"] = torch.ones_like(weight)
                    self.state[weight]["buffer"] = torch.zeros_like(weight)
            gradients = [weight.grad for weight in weights]
            accumulators = [self.state[weight]["accumulator"] for weight in weights]
            buffers = [self.state[weight]["buffer"] for weight in weights]
            if group["weight_decay"]:
                gradients = list(torch._foreach_add(gradients, weights, alpha=group["weight_decay"]))
            torch._foreach_mul_(accumulators, group["decay"])
            torch._foreach_addcmul_(accumulators, gradients, gradients, value=1 - group["decay"])
            roots = torch._foreach_add(accumulators, group["epsilon"])
            torch._foreach_sqrt_(roots)
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_addcdiv_(buffers, gradients, roots, value=group["lr"])
            torch._foreach_sub_(weights, buffers)
        return loss


class _Sgd(torch.optim.SGD):
    """torch's, for networks too in which a layer does not run in every step: where some weights have a momentum, it
    wants one of all that have a gradient. Beginning at zero is what it does itself in the first step."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for weight in group["params"] if group["momentum"] else ():
                if weight.grad is not None and self.state[weight].get("momentum_buffer") is None:
                    self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        return super().step(closure)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices and filters, which decay, and biases and batch-norm parameters, which do not."""
    decaying = [weight for weight in model.parameters() if weight.requires_grad and weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.requires_grad and weight.ndim <= 1]
    groups = [{"params": decaying, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def build_optimizer(
    model: nn.Module, options: AnyOptimizer, groups: list[dict[str, Any]] | None = None
) -> torch.optim.Optimizer:
    """The torch optimizer that `options` describe, over all parameters of `model` that want gradients, or over `groups`
    of them. A group's `scale` is for whoever sets the rates. Raises: UsageError, where nothing trains."""
    groups = parameter_groups(model, options.weight_decay) if groups is None else groups
    if not groups:
        raise UsageError(
            "the network has no weight that trains: there are none, or all have requires_grad=False; leave at least its "
            "last layer trainable"
        )
    if isinstance(options, Sgd):
        return _Sgd(groups, lr=options.rate, momentum=options.momentum, nesterov=options.nesterov, fused=True)
    if isinstance(options, AdamW):
        return torch.optim.AdamW(
            groups, lr=options.rate, betas=(options.beta1, options.beta2), eps=options.epsilon, fused=True
        )
    assert isinstance(options, RmsProp)
    return TensorFlowRmsProp(
        groups, lr=options.rate, decay=options.decay, momentum=options.momentum, epsilon=options.epsilon
    )


def regularisation(model: nn.Module, options: AnyOptimizer) -> float:
    """The L2 term of the loss, `weight_decay / 2 · ‖w‖²` over decaying weights; 0 for decoupled decay (AdamW)."""
    if isinstance(options, AdamW) or not options.weight_decay:
        return 0.0
    total = torch.zeros((), dtype=torch.float64)
    for weight in model.parameters():
        if weight.requires_grad and weight.ndim > 1:
            total += weight.detach().double().square().sum().cpu()
    return float(total) * options.weight_decay / 2
