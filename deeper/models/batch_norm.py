"""Batch norm computes two things: in training it normalises by each batch's own statistics, in evaluation by running
averages of them. Where the averages are not what the batches have, a network that trains well answers badly.

`gap` shows the difference on the same pictures. `recalibrate` replaces the averages by exact statistics, over many
batches, of the weights as they are now (Wu and Johnson, Rethinking "Batch" in BatchNorm, arXiv 2105.07576, section 3).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from deeper.errors import UsageError

# Evaluation differs from training when it gets this share of the pictures wrong that the batch's statistics get right,
# more than it wins back, and that is hardly chance: more than so many standard errors of the paired difference. One is
# little, because a false alarm costs a minute, and a gap that is missed costs the training.
LEAST_LOSS, LEAST_CERTAINTY = 0.01, 1.0


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far a layer's running statistics are from those of the pictures, in the channel where it is farthest.

    `mean`: |mean − running mean| in running standard deviations. `variance`: the larger of the two variances over the
    smaller, from 1 on. Both with the layer's epsilon.
    """

    layer: str
    mean: float
    variance: float

    @property
    def size(self) -> float:
        """One number to sort by: deviations, and a doubled variance counts like one."""
        return max(self.mean, math.log2(self.variance))

    def to_plain(self) -> dict[str, Any]:
        return {"layer": self.layer, "mean": self.mean, "variance": self.variance}


@dataclass(frozen=True, kw_only=True)
class Gap:
    """The same `pictures` answered with the statistics of batches of `batch` of them, and with running statistics.

    `lost`: right by the batch's statistics alone; `won`: right by the running ones alone. `logit_difference`: mean
    absolute difference. `drifts`: one per layer that ran, in their order in the network.
    """

    pictures: int
    batch: int
    batch_right: int
    running_right: int
    lost: int
    won: int
    logit_difference: float
    drifts: tuple[Drift, ...]

    @property
    def batch_accuracy(self) -> float:
        return self.batch_right / self.pictures

    @property
    def running_accuracy(self) -> float:
        return self.running_right / self.pictures

    @property
    def differs(self) -> bool:
        """Whether evaluation is clearly worse than training would make one believe."""
        worse = self.lost - self.won
        certain = worse > LEAST_CERTAINTY * math.sqrt(self.lost + self.won)
        return worse >= LEAST_LOSS * self.pictures and certain

    @property
    def farthest(self) -> Drift:
        """The layer that has drifted most."""
        return max(self.drifts, key=lambda drift: drift.size)

    def describe(self) -> str:
        """One line for people."""
        far = self.farthest
        return (
            f"of {self.pictures:,} pictures {self.batch_accuracy:.1%} are right with the batch's own statistics and "
            f"{self.running_accuracy:.1%} with batch norm's running ones; farthest off: {far.layer} "
            f"(mean by {far.mean:.2g} deviations, variance by {far.variance:.2g}×)"
        )

    def to_plain(self) -> dict[str, Any]:
        """What JSON can hold, without the layers."""
        return {
            "pictures": self.pictures,
            "batch": self.batch,
            "batch_accuracy": self.batch_accuracy,
            "running_accuracy": self.running_accuracy,
            "logit_difference": self.logit_difference,
            "differs": self.differs,
            "farthest": self.farthest.to_plain(),
        }


def layers_of(model: nn.Module, names: Collection[str] | None = None) -> dict[str, _BatchNorm]:
    """The batch-norm layers of `model` that keep running statistics, by name; of those only `names`, where given."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm)
        and module.running_mean is not None
        and module.running_var is not None
        and (names is None or name in names)
    }


class _Moments:
    """Mean and variance of what went into a layer, over everything it saw, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: Tensor | None = None
        self.squares: Tensor | None = None

    @torch.no_grad()
    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0]
        count = values.numel() // values.shape[1]
        dimensions = [number for number in range(values.ndim) if number != 1]
        variance, mean = torch.var_mean(values.float(), dimensions, correction=0)
        # Of each batch in float32, about its own mean; added up in float64, where nothing is lost.
        mean, variance = mean.double(), variance.double()
        sums, squares = count * mean, count * (variance + mean.square())
        self.sums = sums if self.sums is None else self.sums + sums
        self.squares = squares if self.squares is None else self.squares + squares
        self.count += count

    def mean_variance(self) -> tuple[Tensor, Tensor]:
        """The mean, and the variance as PyTorch's running one: with n − 1."""
        assert self.sums is not None and self.squares is not None
        mean = self.sums / self.count
        variance = (self.squares / self.count - mean.square()).clamp_(min=0)
        return mean, variance * (self.count / max(1, self.count - 1))


@contextlib.contextmanager
def by_batch(model: nn.Module, names: Collection[str] | None = None) -> Iterator[None]:
    """Within the block `model` evaluates (no dropout, no auxiliary heads) but these batch-norm layers normalise by the
    batch's own statistics. Afterwards everything is as it was, running statistics and modes included."""
    layers = layers_of(model, names)
    modes = [(module, module.training) for module in model.modules()]
    momenta = {name: layer.momentum for name, layer in layers.items()}
    kept = {name: [tensor.clone() for tensor in layer.buffers()] for name, layer in layers.items()}
    model.eval()
    for layer in layers.values():
        layer.train()
        layer.momentum = 0.0
    try:
        yield
    finally:
        with torch.no_grad():
            for name, layer in layers.items():
                layer.momentum = momenta[name]
                for tensor, before in zip(layer.buffers(), kept[name], strict=True):
                    tensor.copy_(before)
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def _measured(model: nn.Module, names: Collection[str] | None) -> Iterator[dict[str, _Moments]]:
    """As `by_batch`, and what goes into each layer is measured; layers that never ran are missing at the end."""
    found = {name: _Moments() for name in layers_of(model, names)}
    hooks = [layer.register_forward_pre_hook(found[name]) for name, layer in layers_of(model, names).items()]
    try:
        with by_batch(model, names):
            yield found
    finally:
        for hook in hooks:
            hook.remove()
        for name in [name for name, moments in found.items() if not moments.count]:
            del found[name]


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    output = model(images)
    logits: Tensor = output if isinstance(output, Tensor) else output.logits
    return logits.float()


@torch.no_grad()
def gap(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], *, layers: Collection[str] | None = None
) -> Gap | None:
    """Answer pictures with both kinds of statistics and compare.

    `batches`: (images as the model takes them, float N × C × H × W; labels, int64 N), on the model's device, shuffled
    and about as large as in training: statistics of a batch of one class tell that class. Batches of one picture are
    left out. `layers`: only these batch-norm layers change; all that keep running statistics when None. The model is
    left as it was.

    None, where there are no such layers, or none of them runs in evaluation (auxiliary heads). Raises: UsageError, when there is no batch of two pictures.
    """
    if not layers_of(model, layers):
        return None
    count = groups = batch_right = running_right = lost = won = 0
    difference = 0.0
    with _measured(model, layers) as found:
        for images, labels in batches:
            if len(labels) < 2:
                continue
            own = _logits(model, images)
            with _running(model):
                running = _logits(model, images)
            right, right_running = own.argmax(1) == labels, running.argmax(1) == labels
            batch_right += int(right.sum())
            running_right += int(right_running.sum())
            lost += int((right & ~right_running).sum())
            won += int((right_running & ~right).sum())
            difference += float((own - running).abs().mean()) * len(labels)
            count, groups = count + len(labels), groups + 1
    if not count:
        raise UsageError("the batch-norm gap needs a batch of at least two pictures")
    if not found:
        return None
    return Gap(
        pictures=count,
        batch=round(count / groups),
        batch_right=batch_right,
        running_right=running_right,
        lost=lost,
        won=won,
        logit_difference=difference / count,
        drifts=_drifts(model, found),
    )


@torch.no_grad()
def right(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> int:
    """How many of the pictures `gap` would look at are right in evaluation; the model's mode stays as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        return sum(
            int((_logits(model, images).argmax(1) == labels).sum()) for images, labels in batches if len(labels) >= 2
        )
    finally:
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def _running(model: nn.Module) -> Iterator[None]:
    """Plain evaluation for a moment, measured by nobody."""
    layers = [layer for layer in layers_of(model).values() if layer.training]
    hooks = [dict(layer._forward_pre_hooks) for layer in layers]
    for layer in layers:
        layer.training = False
        layer._forward_pre_hooks.clear()
    try:
        yield
    finally:
        for layer, own in zip(layers, hooks, strict=True):
            layer.training = True
            layer._forward_pre_hooks.update(own)


def _drifts(model: nn.Module, found: dict[str, _Moments]) -> tuple[Drift, ...]:
    drifts = []
    for name, layer in layers_of(model, found).items():
        mean, variance = found[name].mean_variance()
        assert layer.running_mean is not None and layer.running_var is not None
        running = layer.running_var.double() + layer.eps
        off = (mean - layer.running_mean.double()).abs() / running.sqrt()
        ratio = (variance + layer.eps) / running
        drifts.append(Drift(layer=name, mean=float(off.max()), variance=float(torch.maximum(ratio, 1 / ratio).max())))
    return tuple(drifts)


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Iterable[Tensor], *, layers: Collection[str] | None = None) -> int:
    """Set running statistics to the exact ones of `batches`, each normalised as in training; returns the pictures used.

    `batches`: images as the model takes them, on its device, about as large as in training; batches of one picture are
    left out. The result is a function of the weights and the batches in their order. Weights and modes stay as they
    are; layers that do not run in evaluation (auxiliary heads) keep their statistics.

    Raises: UsageError, when there is no batch of two pictures; nothing is changed then.
    """
    pictures = 0
    with _measured(model, layers) as found:
        for images in batches:
            if len(images) >= 2:
                _logits(model, images)
                pictures += len(images)
    if not pictures:
        raise UsageError("recalibrating batch norm needs a batch of at least two pictures")
    for name, layer in layers_of(model, found).items():
        mean, variance = found[name].mean_variance()
        assert layer.running_mean is not None and layer.running_var is not None
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)
    return pictures
