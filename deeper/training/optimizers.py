"""Optimizers as frozen options. `build.py` turns them into torch's; this module knows no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from deeper.errors import UsageError


def _positive(where: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise UsageError(f"{where}: {name} must be above 0 and finite, got {value}")


def _fraction(where: str, **values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise UsageError(f"{where}: {name} must be in [0, 1), got {value}")


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """Stochastic gradient descent with momentum; the guide's NielsenNet used rate 0.01, momentum 0.5."""

    name: ClassVar[str] = "sgd"
    rate: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    """Coupled: `weight_decay / 2 · ‖w‖²` is part of the loss. Never on biases and batch norm."""

    def __post_init__(self) -> None:
        _positive("sgd", rate=self.rate)
        _fraction("sgd", momentum=self.momentum, weight_decay=self.weight_decay)
        if self.nesterov and self.momentum == 0:
            raise UsageError("sgd: nesterov needs a momentum above 0")


@dataclass(frozen=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101)."""

    name: ClassVar[str] = "adamw"
    rate: float = 0.002
    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.01
    """Decoupled: weights shrink by rate · weight_decay a step; not part of the loss. Never on biases and batch norm."""

    def __post_init__(self) -> None:
        _positive("adamw", rate=self.rate, epsilon=self.epsilon)
        _fraction("adamw", beta1=self.beta1, beta2=self.beta2)
        if not 0 <= self.weight_decay < math.inf:
            raise UsageError(f"adamw: weight_decay must be finite and not negative, got {self.weight_decay}")


@dataclass(frozen=True, kw_only=True)
class RmsProp:
    """RMSProp as TensorFlow 1 computes it: epsilon inside the root, accumulator from ones, rate inside the momentum.

    Constants of `research/inception/inception/inception_train.py`. `torch.optim.RMSprop` is another optimizer: it adds
    epsilon outside the root and starts the accumulator at zeros, which at epsilon = 1.0 changes every step.
    """

    name: ClassVar[str] = "rmsprop"
    rate: float = 0.1
    decay: float = 0.9
    momentum: float = 0.9
    epsilon: float = 1.0
    weight_decay: float = 0.0
    """Coupled, as in `Sgd`."""

    def __post_init__(self) -> None:
        _positive("rmsprop", rate=self.rate, epsilon=self.epsilon)
        _fraction("rmsprop", decay=self.decay, momentum=self.momentum, weight_decay=self.weight_decay)


AnyOptimizer: TypeAlias = Sgd | AdamW | RmsProp
